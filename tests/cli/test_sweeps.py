"""Sweeps that are stopped, empty, wrong or mixed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rlrun import sweep
from rlrun.cli import main

A2C = ["train", "algo=a2c", "env=CartPole-v1", "preset=none", "num_envs=2", "final_eval_episodes=2"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def wait_for(find, seconds=60.0):
    """Return what `find` returns once it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = find()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came of it")


@pytest.mark.parametrize(
    ("number", "everyone"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)]
)
def test_a_stopped_sweep_saves_its_job_and_starts_no_other(number, everyone, tmp_path):
    words = [*A2C, "total_timesteps=100000000", "log_every=100", "seed=0,1", "-m"]
    started = subprocess.Popen(
        [sys.executable, "-m", "rlrun.cli", *words],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: [f for f in tmp_path.rglob("metrics.jsonl") if f.stat().st_size])
        (os.killpg if everyone else os.kill)(started.pid, number)
        out, _ = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 128 + number
    (run,) = [path.parent for path in tmp_path.rglob("metrics.jsonl")]
    assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"
    assert list(run.glob("checkpoints/step-*"))
    assert f"continue with: rlrun resume {run.relative_to(tmp_path)}" in out
    codes = [
        job["exit_code"] for job in json.loads((run.parent / "sweep.json").read_text())["jobs"]
    ]
    assert codes == [128 + number, None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["algo.gamma=0.9", "seed=range(0)"], "the sweep has no jobs"),
        (["algo=a2c,dqn", "env=Pendulum-v1"], "dqn needs Discrete actions"),
        (["algo=ppo", "algo.batch_size=64,7"], "7 does not divide"),
    ],
)
def test_what_is_wrong_is_found_before_the_first_job(words, message, capsys, tmp_path):
    assert main(["train", *words, "preset=none", "-m"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_configurations_of_a_sweep_are_printed_and_nothing_runs(capsys, tmp_path):
    assert main([*A2C, "seed=3,4", "-m", "--cfg"]) == 0
    out = capsys.readouterr().out
    assert out.count("# 00") == 2
    assert "seed: 3\n" in out
    assert "seed: 4\n" in out
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_over_algorithms_has_a_place_of_its_own_and_one_seed_no_spread(tmp_path, capfd):
    words = ["total_timesteps=64", "num_envs=2", "preset=none", "final_eval_episodes=2"]
    assert main(["train", "algo=a2c,reinforce", "env=CartPole-v1", *words, "-m"]) == 0
    (folder,) = (tmp_path / "runs" / "sweeps").iterdir()
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert [row["std_over_seeds"] for row in rows if row["row"] == "mean"] == ["", ""]
    assert "| - | 1 |" in (folder / "summary.md").read_text()


@pytest.mark.parametrize(
    ("at_once", "asked", "expected"), [(1, "auto", "auto"), (2, "auto", 1), (2, "3", 3)]
)
def test_jobs_side_by_side_keep_to_one_thread(at_once, asked, expected, monkeypatch):
    seen = []
    monkeypatch.setattr(
        sweep, "_run_all", lambda jobs, *rest: seen.extend(each.prepared for each in jobs) or 0
    )
    sweep.run_sweep([*A2C[1:], "seed=0,1", f"threads={asked}"], [], at_once)
    assert [each.recipe.run.threads for each in seen] == [expected, expected]


def test_jobs_with_threads_of_their_own_do_not_wait_for_those_of_the_parent(tmp_path):
    words = ["preset=none", "threads=2", "total_timesteps=64", "final_eval_episodes=1"]
    program = "import sys; from rlrun.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "train", *A2C[1:], *words, "seed=0,1", "-m"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
