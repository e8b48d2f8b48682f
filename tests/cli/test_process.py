"""`rlrun` as a process: its exit code, what it leaves behind, and who reads what it says."""

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tests.cli.test_verbs import BRIEF

ENDING = """
import sys
from rlrun import cli

class Holder:
    def __init__(self, path):
        self.file, self.own = open(path, "w"), self  # in a circle, so that only a search frees it
        self.file.write("kept")

OPEN, CLOSED = open("module.txt", "w"), open("closed.txt", "w")
CLOSED.close()

def verb():
    Holder("circle.txt")
    OPEN.write("kept")
    print("said", end="")
    {body}

cli.main = verb
sys.exit(cli.command())
"""


def run(*words, **options):
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.parametrize(("body", "code"), [("return 3", 3), ("raise LookupError('lost')", 1)])
def test_what_was_left_open_is_written_in_the_end(tmp_path, body, code):
    process = run("-c", ENDING.format(body=body), cwd=tmp_path)
    assert (process.returncode, process.stdout) == (code, "said")
    assert ("LookupError: lost" in process.stderr) is (code == 1)
    assert [(tmp_path / name).read_text() for name in ("circle.txt", "module.txt")] == ["kept"] * 2


def test_at_the_end_python_has_nothing_to_search():
    frozen = (
        "import gc, rlrun.cli as cli; cli.main = int; cli.command(); print(gc.get_freeze_count())"
    )
    assert int(run("-c", frozen).stdout) > 1000


def test_the_installed_command_ends_so():
    (script,) = [each for each in entry_points(group="console_scripts") if each.name == "rlrun"]
    assert script.value == "rlrun.cli:command"
    process = run("-m", "rlrun.cli", "trian")
    assert process.returncode == 2
    assert "did you mean train?" in process.stderr


def pipe_closed_after(lines, words, folder):
    """Return the exit code of a command whose reader leaves after some lines."""
    with subprocess.Popen(
        [sys.executable, "-m", "rlrun.cli", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        return process.wait(timeout=120)


def statuses(folder):
    manifests = [each.parent / "manifest.json" for each in folder.rglob("config.yaml")]
    return [json.loads(each.read_text())["status"] for each in manifests]


def test_who_stops_reading_does_not_stop_the_run(tmp_path):
    words = ["train", "algo=ppo", "env=CartPole-v1", *BRIEF, "total_timesteps=256"]
    assert pipe_closed_after(1, words, tmp_path) == 0
    assert statuses(tmp_path) == ["finished"]


def test_nor_does_it_stop_a_sweep(tmp_path):
    words = ["train", "algo=ppo", "env=CartPole-v1", *BRIEF, "seed=0,1", "-m"]
    assert pipe_closed_after(1, words, tmp_path) == 0
    assert statuses(tmp_path) == ["finished"] * 2
