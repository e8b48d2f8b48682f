"""The verbs, end to end and in-process: train, resume, eval, list, completion, sweeps."""

import csv
import json
import os
import signal

import pytest

from rlrun.cli import VERBS, main
from rlrun.logger import jsonl
from rlrun.verbs import completion

SMALL = ["preset=none", "num_envs=2", "algo.n_steps=16", "algo.batch_size=32", "algo.n_epochs=1"]
BRIEF = [*SMALL, "total_timesteps=128", "log_every=32", "final_eval_episodes=3"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")


def train(*words):
    return main(["train", "algo=ppo", "env=CartPole-v1", *BRIEF, *words])


def runs(folder):
    return sorted(folder.glob("runs/ppo/CartPole-v1/*"))


def metrics(run):
    rows = jsonl.read(run / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in ("wall_time", "time/fps")} for row in rows]


def test_a_run_leaves_what_the_conventions_say(tmp_path, capsys):
    assert train("seed=3") == 0

    (run,) = runs(tmp_path)
    assert "_s3_" in run.name
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["config"]["seed"] == 3
    assert manifest["result"]["eval/episodes"] == 3
    assert {"torch", "gymnasium", "python", "rlrun"} <= set(manifest["versions"])
    assert "seed=3" in (run / "overrides.txt").read_text().split()
    assert "gamma: 0.99" in (run / "config.yaml").read_text()
    assert {"last", "best", "step-000000128"} <= set(os.listdir(run / "checkpoints"))
    rows = metrics(run)
    assert [row["step"] for row in rows] == [32, 64, 96, 128, 128]
    assert "train/policy_gradient_loss" in rows[0]
    assert rows[-1]["eval/mean_reward"] == manifest["result"]["eval/mean_reward"]
    assert f"run folder {run.relative_to(tmp_path)}" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_metrics_and_another_seed_others(tmp_path):
    for seed in (0, 0, 1):
        assert train(f"seed={seed}") == 0

    first, again, other = sorted(runs(tmp_path), key=lambda run: "_s1_" in run.name)
    assert metrics(first) == metrics(again)
    assert metrics(first) != metrics(other)


def test_evaluating_during_training_does_not_change_it(tmp_path):
    assert train() == 0
    assert train("eval_every=32", "eval_episodes=2") == 0

    plain, evaluated = sorted(runs(tmp_path), key=lambda run: len(metrics(run)))
    rows = [row for row in metrics(evaluated) if "train/loss" in row]
    assert rows == [row for row in metrics(plain) if "train/loss" in row]
    assert sum("eval/mean_reward" in row for row in metrics(evaluated)) == 4


def test_a_preset_is_applied_said_and_overridden(tmp_path, capsys):
    words = ["total_timesteps=2048", "algo.n_epochs=1", "final_eval_episodes=1"]
    assert main(["train", "algo=ppo", "env=CartPole-v1", *words]) == 0

    out = capsys.readouterr().out
    config = json.loads((runs(tmp_path)[0] / "manifest.json").read_text())["config"]
    assert config["preset"] == "ppo/CartPole-v1"
    assert "preset  ppo/CartPole-v1: num_envs=" in out
    assert "n_epochs=" not in out  # the command line's own value is not the preset's doing
    assert config["algo"]["n_epochs"] == 1


def test_a_network_chosen_by_hand_sets_the_presets_network_aside(tmp_path, capsys):
    folder = tmp_path / "mine" / "preset" / "ppo"
    folder.mkdir(parents=True)
    text = "# @package _global_\nnum_envs: 4\nnetwork:\n  sizes: [7]\n"
    (folder / "CartPole-v0.yaml").write_text(text)
    words = ["train", "env=CartPole-v0", "preset=ppo/CartPole-v0", "--config-dir", "mine", "--cfg"]

    assert main(words) == 0
    assert "sizes:\n  - 7\n" in capsys.readouterr().out
    assert main([*words, "network=mlp"]) == 0
    out = capsys.readouterr().out
    assert "sizes:\n  - 64\n  - 64\n" in out
    assert "num_envs: 4" in out


def test_an_interrupted_run_saves_and_resumes_in_its_folder(tmp_path, monkeypatch, capsys):
    from rlrun.algos.ppo import PPO

    update, calls = PPO.update, []

    def stop_at_the_third(self, fragment):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, fragment)

    monkeypatch.setattr(PPO, "update", stop_at_the_third)
    assert train("algo.learning_rate=lin_1e-3") == 128 + signal.SIGTERM
    (run,) = runs(tmp_path)
    assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"
    assert [row["step"] for row in metrics(run)] == [32, 64, 96]

    assert main(["resume", str(run)]) == 0
    rows = metrics(run)
    assert [row["step"] for row in rows] == [32, 64, 96, 128, 128]
    rates = [row["train/learning_rate"] for row in rows if "train/learning_rate" in row]
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert [row["time/iterations"] for row in rows if "time/iterations" in row] == [1, 2, 3, 4]
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    assert main(["resume", str(run)]) == 0
    assert "nothing to resume" in capsys.readouterr().err


def test_resume_restores_weights_optimizer_and_normalizers(tmp_path, monkeypatch):
    from rlrun.build import build_parts
    from rlrun.checkpoint import load_newest
    from rlrun.launch import prepare

    normalize = ["algo.policy.normalize_observation=true", "algo.policy.normalize_reward=true"]
    assert train(*normalize) == 0
    (run,) = runs(tmp_path)
    saved, warnings = load_newest(run / "checkpoints", with_resume=True)
    words = ["algo=ppo", "env=CartPole-v1", *BRIEF, *normalize]
    parts = build_parts(prepare(words, []).recipe)
    learner = parts.algorithm.parts()["optimizer"]
    parts.algorithm.parts()["policy"].load_state_dict(saved.policy)
    learner.load_state_dict(saved.resume["algorithm"]["optimizer"])

    assert warnings == []
    assert saved.policy["normalizer.moments.0.count"] == 128
    assert saved.policy["reward_scaler.moments.count"] == 128
    assert float(learner.state_dict()["step"]) == 4
    flat = parts.algorithm.learner.flat
    assert flat[0] == next(parts.algorithm.policy.parameters()).flatten()[0]


def test_eval_replays_a_run_and_films_it(tmp_path, capsys):
    assert train() == 0
    (run,) = runs(tmp_path)

    assert main(["eval", str(run), "episodes=4", "num_envs=3"]) == 0
    report = json.loads((run / "eval.json").read_text())
    assert len(report["returns"]) == 4
    assert report["metrics"]["eval/mean_reward"] == sum(report["returns"]) / 4
    assert not report["stochastic"]
    assert "eval/mean_reward" in capsys.readouterr().out

    assert main(["eval", str(run / "checkpoints" / "step-000000128"), "episodes=1", "--video"]) == 0
    (film,) = (run / "videos").iterdir()
    assert film.stat().st_size > 1000


def test_eval_repeats_the_runs_last_evaluation(tmp_path):
    assert train("seed=1") == 0
    (run,) = runs(tmp_path)
    assert main(["eval", str(run), "seed=7"]) == 0
    first = (run / "eval.json").read_text()
    assert main(["eval", str(run), "seed=7"]) == 0
    assert (run / "eval.json").read_text() == first
    assert main(["eval", str(run), "seed=8", "--stochastic"]) == 0
    assert (run / "eval.json").read_text() != first


def test_eval_opens_nothing_but_the_policy(tmp_path, monkeypatch):
    assert train() == 0
    (run,) = runs(tmp_path)
    (checkpoint,) = run.glob("checkpoints/step-*")
    for name in ("state.json", "state.safetensors"):
        (checkpoint / "resume" / name).unlink()

    assert main(["eval", str(run), "episodes=1"]) == 0


def test_a_sweep_runs_the_grid_and_averages_over_seeds(tmp_path, capsys):
    assert train("seed=0,1,2", "algo.gamma=0.95,0.99", "-m", "--jobs", "2") == 0

    (sweep,) = runs(tmp_path)
    with (sweep / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    jobs = [row for row in rows if row["row"] == "job"]
    means = [row for row in rows if row["row"] == "mean"]
    assert len(jobs) == 6
    assert [row["algo.gamma"] for row in means] == ["0.95", "0.99"]
    for mean in means:
        scores = [float(j["mean_reward"]) for j in jobs if j["algo.gamma"] == mean["algo.gamma"]]
        assert len(scores) == int(mean["seeds"]) == 3
        assert float(mean["mean_reward"]) == pytest.approx(sum(scores) / 3)
    assert (sweep / jobs[0]["job"] / "manifest.json").exists()
    ledger = json.loads((sweep / "sweep.json").read_text())
    assert [job["exit_code"] for job in ledger["jobs"]] == [0] * 6
    out = capsys.readouterr().out
    assert sum("│ 0.9" in line for line in out.splitlines()) == 2


def test_loggers_write_beside_metrics(tmp_path):
    words = ["logger=[tensorboard,wandb]", "logger.wandb.mode=offline"]
    assert train(*words) == 0

    (run,) = runs(tmp_path)
    assert list((run / "tb").glob("events.*"))
    assert list(run.glob("wandb/offline-run-*/*.wandb"))


def test_a_failing_logger_costs_one_warning_and_nothing_else(tmp_path, monkeypatch, capsys):
    from rlrun.logger.tensorboard import TensorBoard

    def broken(self, step, metrics):
        raise OSError("the folder is gone")

    monkeypatch.setattr(TensorBoard, "write", broken)
    assert train("logger=[tensorboard]") == 0

    assert capsys.readouterr().out.count("logger tensorboard failed") == 1
    assert [row["step"] for row in metrics(runs(tmp_path)[0])] == [32, 64, 96, 128, 128]


def test_a_gradient_that_is_not_finite_ends_with_code_3(tmp_path, monkeypatch, capsys):
    from rlrun.algos.ppo import PPO

    loss = PPO.loss

    def exploding(self, batch):
        value, metrics = loss(self, batch)
        return value * float("nan"), metrics

    monkeypatch.setattr(PPO, "loss", exploding)
    assert train() == 3
    assert "diverged" in capsys.readouterr().out
    assert json.loads((runs(tmp_path)[0] / "manifest.json").read_text())["status"] == "diverged"


def test_any_id_works_without_a_yaml_file(tmp_path):
    words = ["train", "algo=ppo", "env=MountainCarContinuous-v0", *BRIEF, "eval_max_steps=20"]
    assert main(words) == 0
    assert list(tmp_path.glob("runs/ppo/MountainCarContinuous-v0/*"))


def test_a_users_own_folder_of_yaml_is_searched(tmp_path, capsys):
    (tmp_path / "mine" / "env").mkdir(parents=True)
    text = "defaults: [_base, _self_]\nname: Slow\nid: CartPole-v1\n"
    text += "kwargs: {max_episode_steps: 10}\n"
    (tmp_path / "mine" / "env" / "Slow.yaml").write_text(text)

    words = ["train", "algo=ppo", "env=Slow", *BRIEF, "--config-dir", "mine"]
    assert main(words) == 0
    (run,) = tmp_path.glob("runs/ppo/Slow/*")
    assert json.loads((run / "manifest.json").read_text())["result"]["eval/mean_ep_length"] <= 10


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert "example" in capsys.readouterr().out


def test_list_shows_what_can_be_chosen(capsys):
    assert main(["list"]) == 0

    out = capsys.readouterr().out
    for word in ("ppo", "Discrete", "mlp", "ppo/CartPole-v1", "FrozenLake-v1"):
        assert word in out


@pytest.mark.parametrize(
    ("line", "word", "expected"),
    [
        ("rlrun tr", "tr", "train "),
        ("rlrun train env=CartPole-v", "CartPole-v", "CartPole-v1"),
        ("rlrun train algo=pp", "pp", "ppo"),
        ("rlrun train algo.gam", "algo.gam", "algo.gamma="),
    ],
)
def test_completion(line, word, expected):
    assert expected in completion.suggest(line, word)
