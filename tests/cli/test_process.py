"""`rlrun` as a process: its exit code, what it says, and how it ends."""

import subprocess
import sys

WATCHED = """
import atexit, sys
from rlrun import cli

class Last:
    def __del__(self):
        print("taken apart")

kept = Last()

def verb():
    atexit.register(print, "closed")
    print("done", end="")
    {body}

cli.main = verb
sys.exit(cli.command())
"""


def ended(body, **options):
    return subprocess.run(
        [sys.executable, "-c", WATCHED.format(body=body)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **options,
    )  # fmt: skip


def test_what_is_said_and_closed_at_the_end_is_and_nothing_is_taken_apart():
    process = ended("return 3")
    assert (process.returncode, process.stdout) == (3, "doneclosed\n")


def test_a_fault_ends_as_python_ends():
    process = ended("raise LookupError('lost')")
    assert process.returncode == 1
    assert process.stdout == "doneclosed\ntaken apart\n"
    assert "LookupError: lost" in process.stderr


def test_the_verbs_are_run_so():
    process = subprocess.run(
        [sys.executable, "-m", "rlrun.cli", "trian"], capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 2
    assert "did you mean train?" in process.stderr
