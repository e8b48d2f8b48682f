import itertools
import json
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlrun import rundir
from rlrun.config import ConfigError
from rlrun.rundir import RunFolder, check_writable, create, new_folder, read_manifest, safe_name


def test_fifty_folders_made_at_once_never_collide(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: new_folder(tmp_path / "a" / "b", "run"), range(50)))
    assert len(set(made)) == 50
    assert all(path.is_dir() and path.name.startswith("run_") for path in made)


def test_a_name_that_exists_is_never_reused(tmp_path, monkeypatch):
    words = itertools.chain(["aa", "aa", "aa", "bb"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(words))
    first = new_folder(tmp_path, "run")
    (first / "kept").write_text("")
    second = new_folder(tmp_path, "run")
    assert [first.name, second.name] == ["run_aa", "run_bb"]
    assert not (second / "kept").exists()


def test_a_second_process_is_refused_until_the_first_is_done(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(ConfigError, match="in use by another process"):
        RunFolder(tmp_path)
    folder.close()
    RunFolder(tmp_path).close()


def test_a_lock_holds_between_processes(tmp_path):
    folder = RunFolder(tmp_path)
    code = "import sys, pathlib, rlrun.rundir as r; r.RunFolder(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "in use by another process" in refused.stderr
    folder.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_a_lock_file_left_behind_locks_nothing(tmp_path):
    (tmp_path / ".lock").write_text("12345")
    RunFolder(tmp_path).close()
    assert (tmp_path / "log.txt").exists()


def test_a_read_only_output_is_refused_and_nothing_is_made(tmp_path, monkeypatch):
    # the modes are read by hand because the superuser may write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: bool(Path(path).stat().st_mode & 0o200))
    output = tmp_path / "closed"
    output.mkdir()
    check_writable(output / "runs" / "deep")
    output.chmod(0o500)
    with pytest.raises(ConfigError, match=rf"output_dir: {output} is not writable"):
        check_writable(output / "runs" / "deep")
    output.chmod(0o700)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("inside", ["", "runs"])
def test_an_output_that_is_a_file_is_refused(tmp_path, inside):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        check_writable(tmp_path / "file" / inside)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("CartPole-v1", "CartPole-v1"),
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("module:Env-v0", "module-Env-v0"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a b\n\0c", "a-b-c"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_name_becomes_one_path_component(name, safe):
    assert safe_name(name) == safe


def test_a_new_folder_says_what_it_was_made_from(tmp_path):
    config = {"seed": 3, "algo": {"name": "ppo"}}
    folder = create(tmp_path, config, "seed: 3\n", ["seed=3", "algo=ppo"], ["rlrun", "train"])
    folder.log("hello")
    folder.close()
    assert (tmp_path / "config.yaml").read_text() == "seed: 3\n"
    assert (tmp_path / "overrides.txt").read_text() == "seed=3\nalgo=ppo\n"
    assert (tmp_path / "log.txt").read_text().endswith("  hello\n")
    manifest = read_manifest(tmp_path)
    assert manifest["config"] == config
    assert (manifest["status"], manifest["command"]) == ("running", ["rlrun", "train"])
    assert {"rlrun", "python", "torch", "gymnasium", "hydra-core"} <= set(manifest["versions"])
    assert manifest["machine"]["cores"] == os.cpu_count()


def test_manifest_entries_are_added_and_replaced_in_one_step(tmp_path, monkeypatch):
    folder = create(tmp_path, {}, "", [], [])
    folder.update_manifest(status="finished", steps=10)
    assert (read_manifest(tmp_path)["status"], read_manifest(tmp_path)["steps"]) == ("finished", 10)

    def refuse(self, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk is full"):
        folder.update_manifest(status="other")
    assert read_manifest(tmp_path)["status"] == "finished"
    folder.close()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    folder = RunFolder(tmp_path)
    folder._log.close()
    folder._log = Full()
    folder.log("lost")
    assert (tmp_path / "log.txt").read_text() == ""


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", "{}", '{"config": 3}'])
def test_what_is_not_a_run_folder_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match="is not a run folder"):
        read_manifest(tmp_path)


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rundir._git_commit() is None
    folder = create(tmp_path, {}, "", [], [])
    folder.close()
    assert json.loads((tmp_path / "manifest.json").read_text())["git_commit"] is None
