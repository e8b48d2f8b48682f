"""`rlrun check`: what a command would train, found out without training and without a trace."""

import json
import shlex

import pytest

from rlrun.cli import main
from rlrun.compose import as_words, compose
from rlrun.inspection import advice, speed
from rlrun.inspection.advice import step_seconds
from rlrun.launch import prepare
from rlrun.verbs import completion
from rlrun.verbs.check import duration, size

PPO = ["algo=ppo", "env=CartPole-v1", "preset=none", "num_envs=2", "total_timesteps=130"]
PPO += ["algo.n_steps=16", "algo.batch_size=16", "algo.n_epochs=3", "log_every=50"]
SAC = ["algo=sac", "env=Pendulum-v1", "preset=none", "total_timesteps=100", "log_every=50"]
SAC += ["algo.learning_starts=50", "algo.buffer_size=1000", "algo.batch_size=4"]
SAC += ["network.sizes=[8]"]


@pytest.fixture(autouse=True)
def _quick_and_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed.measure, "__defaults__", (0.02,))
    monkeypatch.setattr(advice, "step_seconds", lambda recipe: 0.0005)


def check(capsys, *words):
    assert main(["check", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def keys(report):
    return [each["key"] for each in report["warnings"]]


@pytest.mark.parametrize("name", ["trpo/LunarLanderContinuous-v3", "ppo/HalfCheetah-v5"])
def test_what_a_preset_changes_can_be_written_in_its_place(name):
    algo, _, env = name.partition("/")
    made = compose([f"algo={algo}", f"env={env}"], [])
    assert made.preset == name
    words = shlex.split(as_words(made.preset_changes))
    again = compose([f"algo={algo}", f"env={env}", "preset=none", *words], [])
    assert {**again.values, "preset": name} == made.values


def test_on_policy_counts_and_leaves_nothing_behind(capsys, tmp_path):
    report = check(capsys, *PPO, "eval_every=40", "save_every=64")

    # 2 environments x 16 steps; five updates are needed for 130 steps, each of 3 x 2 minibatches
    assert report["plan"] == {
        "steps_per_update": 32,
        "updates": 5,
        "learning_updates": 5,
        "steps": 160,
        "evaluations": 4,  # at 64, 96 and 128 steps, and at the end
        "checkpoints": 3,  # at 64 and 128 steps, and at the end
        "gradient_steps": {"optimizer": 30},
    }
    # (4 + 1) 64 + (64 + 1) 64, and 65 an output
    assert report["network"]["parameters"] == {"policy": 4480 + 130, "value": 4480 + 65}
    assert sum(row["parameters"] for row in report["network"]["layers"]) == 9155
    first, *_, last = report["network"]["layers"]
    assert first["shapes"] == {"weights": [2, 4, 64], "biases": [2, 1, 64]}
    assert (last["name"], last["shapes"]["weight"], last["output"]) == ("value_head", [1, 64], [1])
    assert report["environment"]["action_space"] == "Discrete(2)"
    assert report["environment"]["backend"] == "sync"
    assert report["memory"]["replay"] == 0
    assert list(tmp_path.iterdir()) == []


def test_off_policy_counts_without_waiting_for_learning_to_start(capsys):
    report = check(capsys, *SAC)

    # the 50th of 100 updates is the first that learns
    assert report["plan"]["learning_updates"] == 51
    names = ("actor_optimizer", "critic_optimizer", "ent_coef_optimizer")
    assert report["plan"]["gradient_steps"] == dict.fromkeys(names, 51)
    # actor 4 x 8 + 9 x 2; two critics of 5 x 8 + 9
    sizes = {"policy": 50, "critics": 98, "target": 98, "temperature": 1}
    assert report["network"]["parameters"] == sizes
    # 1001 entries of 3 + 1 + 4 numbers: observation, action, reward, discount, end (of 8 bytes)
    assert report["memory"]["replay"] == 1001 * 32
    # parameters thrice, Adam's two moments of those learned, and the 101 entries of 100 steps
    assert report["memory"]["checkpoint"] >= 4 * (247 + 2 * 149) + 101 * 32
    assert report["memory"]["checkpoint"] < 4 * (247 + 2 * 149) + 101 * 32 + 200
    assert keys(report) == ["preset", "algo.buffer_size"]


def test_the_estimate_is_the_sum_of_its_parts(capsys):
    estimate = check(capsys, *SAC)["estimate"]

    assert set(estimate["parts"]) == {"environment", "act", "store", "update"}
    assert all(seconds > 0 for seconds in estimate["parts"].values())
    assert estimate["seconds"] == pytest.approx(sum(estimate["parts"].values()))
    assert estimate["steps_per_second"] == pytest.approx(100 / estimate["seconds"])
    assert estimate["updates_measured"] >= 1


def test_planning_and_tables_have_no_gradients(capsys):
    report = check(capsys, "algo=value_iteration", "env=FrozenLake-v1", "total_timesteps=1000")

    assert report["network"]["name"] == "table"
    assert report["plan"]["gradient_steps"] == {}
    assert report["accel"]["choice"] == "off"
    assert report["estimate"]["at_most"]


def test_workers_update_by_themselves(capsys):
    report = check(capsys, "algo=a3c", "env=CartPole-v1", "num_envs=3", "total_timesteps=100")

    assert report["environment"]["backend"] == "workers"
    assert report["plan"]["steps_per_update"] == 5
    assert report["plan"]["gradient_steps"] == {"optimizer": 20}


@pytest.mark.parametrize(
    ("words", "key", "message"),
    [
        (["total_timesteps=31"], "total_timesteps", "31 is less than one update's 32 steps"),
        (["eval_every=161"], "eval_every", "161 is never due within 160 steps"),
        (["log_every=161"], "log_every", "161 is never due within 160 steps"),
        (["network.sizes=[]"], "network.sizes", "no hidden layers"),
        ([], "preset", "ppo/CartPole-v1 exists, and is not applied"),
    ],
)
def test_what_is_doubtful_on_policy(words, key, message, capsys):
    report = check(capsys, *PPO, *words)
    assert message in {each["key"]: each["message"] for each in report["warnings"]}[key]


@pytest.mark.parametrize(
    ("words", "key", "message"),
    [
        (["algo.learning_starts=100"], "algo.learning_starts", "100 is not below total_timesteps"),
        (["algo.buffer_size=101"], "algo.buffer_size", "101 is more than total_timesteps = 100"),
        (
            ["algo=dqn", "env=CartPole-v1", "~algo.buffer_size", "algo.buffer_size=100"],
            "algo.target_update_interval",
            "the target never moves",
        ),
    ],
)
def test_what_is_doubtful_off_policy(words, key, message, capsys):
    report = check(capsys, *SAC, *words)
    assert message in {each["key"]: each["message"] for each in report["warnings"]}[key]


def test_nothing_is_doubtful_about_a_preset(capsys):
    words = ["algo=ppo", "env=CartPole-v1"]
    assert check(capsys, *words)["warnings"] == []
    assert main(["check", *words]) == 0

    out = capsys.readouterr().out
    for text in ("ppo on CartPole-v1", "num_envs=32", "Discrete(2)", "policy 4,610, value 4,545"):
        assert text in out
    assert "25, each on 2,048 new steps; 51,200 steps in all" in out
    assert "2x4x64" in out
    assert "nothing doubtful" in out


@pytest.mark.parametrize(
    ("words", "seconds", "message"),
    [
        ([], 0.002, "a step of CartPole-v1 takes 2000 us; async would step 2 side by side"),
        (["env.vectorization=torch"], 0.002, None),
        (["env.vectorization=async"], 0.002, None),
        (
            ["env.vectorization=async"],
            0.00005,
            "a step of CartPole-v1 takes 50 us, less than asking another process; use sync or auto",
        ),
    ],
)
def test_how_environments_are_stepped_is_judged_by_their_cost(
    words, seconds, message, capsys, monkeypatch
):
    monkeypatch.setattr(advice, "step_seconds", lambda recipe: seconds)
    monkeypatch.setattr("rlrun.inspection.advice.cores", lambda: 4)
    found = {each["key"]: each["message"] for each in check(capsys, *PPO, *words)["warnings"]}
    assert found.get("env.vectorization") == message


def test_more_threads_than_cores(capsys, monkeypatch):
    monkeypatch.setattr("rlrun.inspection.advice.cores", lambda: 1)
    assert "threads" in keys(check(capsys, *PPO, "threads=2"))


def test_the_cost_of_a_step_is_the_median(monkeypatch):
    ticks = iter([0.0, 1.0, 1.0, 1.5, 2.0, 11.0])  # steps of 1, 0.5 and 9 seconds
    monkeypatch.setattr(advice.time, "perf_counter", lambda: next(ticks))
    recipe = prepare(["env=CartPole-v1", "preset=none"], []).recipe
    assert step_seconds(recipe, 2.0) == 1.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["algo.gama=0.9"], "algo.gama: unknown key; did you mean algo.gamma?"),
        (["env=CartPole-v9"], "did you mean CartPole-v1?"),
        (["env=Pendulum-v1", "algo=dqn"], "dqn needs Discrete actions"),
        (["seed=1,2", "-m"], "check looks at one run"),
        (["--fast"], "unknown option"),
    ],
)
def test_a_mistake_ends_as_in_train(words, message, capsys, tmp_path):
    assert main(["check", *words]) == 2

    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert len(output.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_train_prints_the_counts_and_warns_of_a_linear_network(capsys, monkeypatch):
    monkeypatch.setattr("rlrun.launch.drive", lambda recipe, parts, *rest: parts.env.close() or 0)
    assert main(["train", *PPO]) == 0
    out = capsys.readouterr().out
    assert "network mlp: policy 4,610, value 4,545 parameters\n" in out
    assert "warning" not in out

    assert main(["train", *PPO, "network.sizes=[]"]) == 0
    out = capsys.readouterr().out
    assert "network mlp: policy 10, value 5 parameters\n" in out  # of 4 inputs, and a bias each
    assert "warning: network.sizes: no hidden layers" in out


@pytest.mark.parametrize(("faster", "lines"), [(True, 1), (False, 0)])
def test_train_says_which_library_makes_large_products(faster, lines, capsys, monkeypatch):
    monkeypatch.setattr("rlrun.launch.drive", lambda recipe, parts, *rest: parts.env.close() or 0)
    monkeypatch.setattr("rlrun.accel.precision.onednn_is_faster", lambda: faster)
    assert main(["train", *PPO]) == 0
    out = capsys.readouterr().out
    assert out.count("\nnumbers float32: large products by oneDNN") == lines


def test_no_experiment_is_a_choice(capsys):
    assert check(capsys, *PPO, "experiment=null")["plan"]["steps"] == 160


def test_completion_knows_its_words():
    assert "check " in completion.suggest("rlrun ch", "ch")
    assert completion.suggest("rlrun check algo=pp", "pp") == ["ppo"]


def test_sizes_and_times_are_written_for_people():
    assert [size(each) for each in (999, 1500, 2.5e6, 7.48e9)] == [
        *("999 bytes", "1.5 kB", "2.5 MB", "7.5 GB")
    ]
    assert [duration(each) for each in (1.25, 42.4, 150, 5400)] == [
        *("1.2 s", "42 s", "2 min", "1 h 30 min")
    ]
