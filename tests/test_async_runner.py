"""Workers in processes: what they leave behind, and that none outlives its run."""

import multiprocessing
import os
import signal
from contextlib import contextmanager
from functools import partial

import pytest
import torch

from rlrun import async_runner, rundir, runner
from rlrun.build import assemble, build_parts, build_worker
from rlrun.checkpoint import load_newest
from rlrun.logger.jsonl import read
from rlrun.types import Diverged
from tests.recipes import changed, recipe

ENDLESS = 10**9


@contextmanager
def experiment(folder, **run):
    options = {"num_envs": 2, "total_timesteps": 400, "log_every": 100, "final_eval_episodes": 2}
    made = recipe("algo=a3c", "env=CartPole-v1", "preset=none")
    made = changed(made, network={"sizes": (8,)}, **{**options, **run})
    place = rundir.create(folder, made.plain(), "", [], [])
    with assemble(made, build_parts(made), place, print, None) as made_run:
        yield made_run


def parameters(run):
    return torch.cat([each.detach().reshape(-1) for each in run.algorithm.learner.parameters])


def test_workers_learn_and_the_run_leaves_what_every_run_leaves(tmp_path):
    with experiment(tmp_path, eval_every=200, eval_episodes=2) as run:
        before = parameters(run)
        outcome = async_runner.train(run)
        assert multiprocessing.active_children() == []
        assert not torch.equal(parameters(run), before)
        assert len(outcome.returns) == 2
        assert 400 <= run.clock.steps < 400 + 2 * run.algorithm.horizon
        assert run.clock.updates * run.algorithm.horizon == run.clock.steps
        saved, warnings = load_newest(tmp_path / "checkpoints", with_resume=True)
        assert warnings == []
        assert saved.step == run.clock.steps
        for key, value in run.algorithm.policy.state_dict().items():
            assert torch.equal(saved.policy[key], value), key
        assert saved.resume["algorithm"]["optimizer"]["square_avg"].max() > 0
    rows = read(tmp_path / "metrics.jsonl")
    assert sum("eval/mean_reward" in row for row in rows) >= 1
    assert rows[-1]["step"] == saved.step
    assert any(row.get("train/value_loss", 0) > 0 for row in rows)


def test_both_workers_take_part_and_what_they_finish_is_counted(tmp_path):
    with experiment(tmp_path, total_timesteps=2000) as run:
        run.clock.advance_to(1000, 7)
        with async_runner.Workers(run) as workers:
            workers.start()
            while not run.finished():
                workers.listen(0.1)
                workers.count()
        first, second, resumed = workers.board.steps.tolist()
        assert resumed == 1000
        assert first > 0
        assert second > 0
        assert workers.board.updates.tolist() == [first // 5, second // 5, 7]
        assert run.collector.episodes()["rollout/ep_len_mean"] > 8
        assert workers.metrics["train/learning_rate"] == pytest.approx(7e-4)


def during_the_run(run, action):
    """Let `action` happen once, when the first workers have learned something."""
    log = run.log

    def acting(metrics):
        log(metrics)
        run.log = log
        action()

    run.log = acting


def test_a_signal_stops_all_and_saves(tmp_path):
    with experiment(tmp_path, total_timesteps=ENDLESS) as run, runner.stop_on_signals(run):
        workers = []

        def stop():
            workers.extend(multiprocessing.active_children())
            os.kill(os.getpid(), signal.SIGTERM)

        during_the_run(run, stop)
        assert async_runner.train(run) is None
        assert [worker.exitcode for worker in workers] == [0, 0]  # none had to be killed
        assert multiprocessing.active_children() == []
        saved, _ = load_newest(tmp_path / "checkpoints", with_resume=True)
        assert saved.step == run.clock.steps > 0


def test_a_worker_that_is_killed_ends_the_run(tmp_path):
    with experiment(tmp_path, total_timesteps=ENDLESS) as run:
        during_the_run(run, lambda: multiprocessing.active_children()[0].kill())
        with pytest.raises(RuntimeError, match="a worker ended with exit code -9"):
            async_runner.train(run)
        assert multiprocessing.active_children() == []


def faulty(fault, recipe, index):
    """Return a worker whose update fails."""
    algorithm, collector = build_worker(recipe, 0, index)

    def update(fragment):
        raise fault

    algorithm.update = update
    return algorithm, collector


@pytest.mark.parametrize(
    ("fault", "raised"), [(Diverged("the norm is nan"), Diverged), (ValueError("oh"), RuntimeError)]
)
def test_a_workers_fault_is_the_runs(tmp_path, fault, raised):
    with experiment(tmp_path) as run:
        run.make_worker = partial(faulty, fault, run.make_worker.args[0])
        with pytest.raises(raised, match=str(fault)):
            async_runner.train(run)
        assert multiprocessing.active_children() == []


def test_a_worker_that_nobody_listens_to_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with experiment(tmp_path, total_timesteps=ENDLESS) as run:
        workers = async_runner.Workers(run)
        job = async_runner.Job(
            0, run.make_worker, [run.algorithm.learner.memory], workers.board, ENDLESS
        )
        ours, theirs = multiprocessing.Pipe(duplex=False)
        ours.close()
        async_runner.work(job, theirs)
        assert 0 < workers.board.steps[0] < ENDLESS
