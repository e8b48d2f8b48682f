import os
import signal
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from rlrun import checkpoint, runner
from rlrun.config import ConfigError
from rlrun.evaluate import Evaluation
from rlrun.logger.jsonl import read
from rlrun.rundir import RunFolder
from rlrun.runner import stop_on_signals, train
from rlrun.types import Diverged
from tests.recipes import changed, experiment, recipe, trained


def short(algo=None, **changes):
    """Return a run of 16 updates of 8 environments: 128 steps."""
    made = recipe("algo=q_learning", "env=FrozenLake-v1", "preset=none", "num_envs=8")
    periods = {"log_every": 32, "eval_every": 64, "save_every": 48, "total_timesteps": 128}
    sizes = {"eval_episodes": 2, "final_eval_episodes": 4, "keep_checkpoints": 10}
    return changed(made, algo, **{**periods, **sizes, **changes})


def steps_of(rows, key):
    return [row["step"] for row in rows if key in row]


def test_rows_evaluations_and_checkpoints_come_when_they_are_due(tmp_path):
    _, rows = trained(tmp_path / "run", short())
    assert steps_of(rows, "train/td_error") == [32, 64, 96, 128]
    assert steps_of(rows, "eval/mean_reward") == [64, 128]
    assert [row["eval/episodes"] for row in rows if "eval/episodes" in row] == [2.0, 4.0]
    saved = checkpoint.committed(tmp_path / "run" / "checkpoints")
    assert [int(path.name[5:]) for path in saved] == [48, 64, 96, 128]  # one for the best at 64


def test_evaluations_never_change_training(tmp_path):
    figures = []
    for every in (0, 16):
        _, rows = trained(tmp_path / str(every), short(eval_every=every))
        kept = [row for row in rows if "train/td_error" in row]
        figures.append([{k: v for k, v in row.items() if "time" not in k} for row in kept])
    assert figures[0] == figures[1]
    assert len(steps_of(rows, "eval/mean_reward")) == 8


def test_the_end_is_a_checkpoint_though_it_may_not_be_the_best(tmp_path):
    with experiment(tmp_path / "run", short(save_every=0, eval_every=0)) as run:
        run.best = float("inf")
        outcome = train(run)
        assert len(outcome.returns) == 4
        folder = run.folder.checkpoints
    assert [path.name for path in checkpoint.committed(folder)] == ["step-000000128"]
    assert checkpoint.pointed(folder, "best") is None


def test_the_best_checkpoint_is_that_of_the_best_evaluation(tmp_path, monkeypatch):
    means = iter([1.0, 5.0, 3.0, 5.0, *[2.0] * 12])

    def scored(*_, **__):
        return Evaluation(returns=[next(means)], lengths=[1])

    monkeypatch.setattr("rlrun.experiment.evaluate", scored)
    with experiment(tmp_path / "run", short(eval_every=8, keep_checkpoints=2)) as run:
        train(run)
        best = checkpoint.pointed(run.folder.checkpoints, "best")
    assert best is not None
    assert best.name == "step-000000032"  # the later of the two that scored 5
    assert run.best == 5.0


def test_who_asks_to_stop_gets_a_checkpoint_and_no_evaluation(tmp_path):
    with experiment(tmp_path / "run", short()) as run:
        update = run.algorithm.update

        def stopping(fragment):
            run.stop_signal = signal.SIGINT if run.clock.steps >= 40 else None
            return update(fragment)

        run.algorithm.update = stopping
        considered = []
        run.accelerator.consider = lambda progress: considered.append(run.clock.steps)
        assert train(run) is None
    assert considered == [32]  # nothing is compiled for a run that is over
    saved, _ = checkpoint.load_newest(tmp_path / "run" / "checkpoints", with_resume=True)
    assert saved.step == 48
    assert steps_of(read(tmp_path / "run" / "metrics.jsonl"), "eval/mean_reward") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_and_a_later_one_leaves(tmp_path, number, monkeypatch):
    before, now = signal.getsignal(number), [50.0]
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with experiment(tmp_path / "run", short()) as run, stop_on_signals(run):
        os.kill(os.getpid(), number)
        assert run.stop_signal == number
        now[0] += 0.9
        os.kill(os.getpid(), number)  # of the same request, as `timeout` sends it
        now[0] += 0.2
        with pytest.raises(SystemExit) as left:
            os.kill(os.getpid(), number)
        assert left.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_a_full_disk_costs_a_warning_until_the_last_checkpoint(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    said: list[str] = []
    with experiment(tmp_path / "run", short()) as run:
        run.say = said.append
        with pytest.raises(OSError, match="last checkpoint could not be saved"):
            train(run)
    assert run.clock.steps == 128
    assert "warning: the checkpoint at step 48 was not saved: [Errno 28] No space" in said[0]


def test_a_gradient_that_is_not_finite_ends_the_run(tmp_path):
    with experiment(tmp_path / "run", short()) as run:
        run.algorithm.update = lambda _: {"train/grad_norm": torch.tensor(float("nan"))}
        with pytest.raises(Diverged, match="gradient is not finite"):
            train(run)
    assert run.clock.steps == 32  # seen with the first row that was written


def test_a_logger_that_fails_is_left_out_and_training_goes_on(tmp_path):
    class Broken:
        def write(self, step, metrics):
            raise ConnectionError("no network")

        def close(self):
            raise AssertionError("it was left out")

    said: list[str] = []
    with experiment(tmp_path / "run", short()) as run:
        run.loggers._loggers["broken"] = Broken()
        run.loggers._warn = said.append
        train(run)
    assert said == ["logger broken failed and is off now: no network"]
    assert len(steps_of(read(tmp_path / "run" / "metrics.jsonl"), "train/td_error")) == 4


def first_obs(folder, seed, **options):
    made = changed(recipe("algo=a2c", "env=CartPole-v1", "preset=none"), seed=seed)
    with experiment(folder, made, **options) as run:
        return run.collector.collect(partial(run.algorithm.act, explore=False), 1).obs


def test_the_seed_and_the_number_of_resumes_decide_the_environments(tmp_path):
    choices = [{"seed": 0}, {"seed": 0}, {"seed": 1}, {"seed": 0, "resumes": 1}]
    seen = [first_obs(tmp_path / str(k), **choice) for k, choice in enumerate(choices)]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[3])


def test_a_restored_run_continues_its_counters_figures_and_random_numbers(tmp_path):
    with experiment(tmp_path / "first", short({"initial_value": 0.5})) as first:
        train(first)
        expected = torch.rand(3)
    saved, _ = checkpoint.load_newest(tmp_path / "first" / "checkpoints", with_resume=True)
    with experiment(tmp_path / "second", short(), resumes=1) as second:
        second.restore(saved)
        assert torch.equal(torch.rand(3), expected)
        assert (second.clock.steps, second.clock.updates) == (128, 16)
        assert second.collector.episodes() == first.collector.episodes() != {}
        assert second.best == first.best
        assert torch.equal(second.algorithm.policy.q, first.algorithm.policy.q)
        assert second.finished()


def test_leaving_releases_the_folder_and_the_environments(tmp_path):
    with experiment(tmp_path / "run", short()) as run:
        with pytest.raises(ConfigError, match="in use"):
            RunFolder(tmp_path / "run")
        closed: list[str] = []
        run.env.close = lambda: closed.append("env")
    RunFolder(tmp_path / "run").close()
    assert closed == ["env"]


def test_what_was_learned_is_saved_before_the_last_evaluation(tmp_path, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("the simulator fell over")

    with experiment(tmp_path / "run", short(eval_every=0, save_every=0)) as run:
        monkeypatch.setattr("rlrun.experiment.evaluate", failing)
        with pytest.raises(RuntimeError, match="simulator"):
            train(run)
    saved, _ = checkpoint.load_newest(tmp_path / "run" / "checkpoints", with_resume=True)
    assert saved.step == 128


def test_who_asks_to_stop_does_not_wait_for_an_evaluation(tmp_path):
    with experiment(tmp_path / "run", short(eval_every=0, final_eval_episodes=10**9)) as run:
        make = run.make_eval_env

        def stopping(count):
            env = make(count)
            step = env.step

            def stop(action):
                run.stop_signal = signal.SIGINT
                return step(action)

            env.step = stop
            return env

        run.make_eval_env = stopping
        assert train(run) is None
    saved, _ = checkpoint.load_newest(tmp_path / "run" / "checkpoints", with_resume=True)
    assert saved.step == 128


def test_a_reward_that_is_not_finite_ends_the_run_and_names_the_environment(tmp_path):
    with experiment(tmp_path / "run", short()) as run:
        step = run.env.step

        def bad(action):
            taken = step(action)
            return taken._replace(reward=taken.reward / 0.0)

        run.env.step = bad
        with pytest.raises(Diverged, match="FrozenLake-v1 gave a reward that is not finite"):
            train(run)


def test_a_logger_that_does_not_start_is_left_out(tmp_path, monkeypatch):
    def failing(*_):
        raise OSError("no login")

    monkeypatch.setattr("rlrun.build.build_logger", failing)
    made = changed(short(), logger={"tensorboard": {}})
    said = []
    with experiment(tmp_path / "run", made) as run:
        said = (tmp_path / "run" / "log.txt").read_text()
        assert train(run) is not None
    assert "logger tensorboard did not start and is off: no login" in said


@pytest.mark.parametrize("where", ["collect", "update"])
@pytest.mark.parametrize("inside", ["torch._dynamo.convert_frame", "rlrun.accel.ahead"])
def test_a_signal_while_the_compiler_works_does_not_wait_for_it(inside, where, tmp_path):
    compiler = {"__name__": inside, "kill": os.kill}
    text = "def _compile(*words):\n try:\n  kill(*words)\n except Exception:\n  pass\n return 5\n"
    exec(text, compiler)
    with experiment(tmp_path / "run", short(save_every=0, eval_every=0)) as run:
        owner = run.collector if where == "collect" else run.algorithm
        original, calls, compiled = getattr(owner, where), [], []

        def stop_in_the_third(*given):
            calls.append(1)
            if len(calls) == 3:
                compiled.append(compiler["_compile"](os.getpid(), signal.SIGINT))
            return original(*given)

        setattr(owner, where, stop_in_the_third)
        with stop_on_signals(run):
            assert train(run) is None
        assert run.stop_signal == signal.SIGINT
    assert (len(calls), compiled) == (3, [])
    (saved,) = checkpoint.committed(run.folder.checkpoints)
    assert saved.name == "step-000000016"  # two updates of 8 steps; the third is dropped
