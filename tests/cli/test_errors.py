"""A mistake in a command: exit code 2, one message with the fix, no traceback, no folder."""

import pytest

from rlrun.cli import main

PPO = ["train", "algo=ppo", "env=CartPole-v1"]

MISTAKES = {
    "an id that does not exist": (["env=CartPole-v9"], "did you mean CartPole-v1?"),
    "an algorithm that does not exist": (["algo=pppo"], "did you mean ppo?"),
    "a misspelt key": (["algo.gama=0.9"], "algo.gama: unknown key; did you mean algo.gamma?"),
    "a key without its group": (["gamma=0.9"], "did you mean algo.gamma?"),
    "out of range": (["algo.gamma=2"], "algo.gamma: 2 is not in [0, 1]"),
    "planning without a model": (
        ["algo=value_iteration"],
        "value_iteration needs an environment with a known model; CartPole-v1 has none",
    ),
    "a table for a Box": (["algo=q_learning", "env=Pendulum-v1"], "needs Discrete"),
    "no environments": (["num_envs=0"], "num_envs: 0 is not in [1, inf)"),
    "a word for a number": (["total_timesteps=abc"], "'abc' is not a whole number"),
    "a batch that does not fit": (["algo.batch_size=100"], "100 does not divide"),
    "several values without -m": (["seed=0,1"], "add -m"),
    "no environment's id": (["env="], "env: is empty; name one id, such as env=CartPole-v1"),
    "null for an environment's id": (["env=null"], "env: is empty; name one id"),
    "a list of environments": (["env=[a,b]"], "env: is a list; name one id"),
    "a value without its key": (["=3"], "has no key before the '='; write key=value"),
    "a seed below 0": (["seed=-1"], "seed: -1 is not in [0, 2^63)"),
    "not an override": (["fast"], "write key=value"),
    "an unknown option": (["--fast"], "unknown option"),
    "an unknown network": (["network=mpl"], "did you mean mlp?"),
    "an unknown preset": (["preset=ppo/CartPol-v1"], "did you mean ppo/CartPole-v1?"),
    "an unknown logger": (["logger=[tensorbord]"], "did you mean tensorboard?"),
    "a key of an unknown logger": (["logger.wandbb.mode=offline"], "did you mean wandb?"),
    "a key below a number": (["seed.x=1"], "seed"),
    "removing what is not there": (["~algo.gama"], "there is no such key"),
    "an argument the environment does not take": (["env.kwargs.sped=1"], "env.kwargs"),
    "a module that is not installed": (["env=no_such_module:Foo-v0"], "no_such_module"),
    "no schedule": (["algo.learning_rate={lin: 2}"], "not a schedule"),
    "a trust region without room": (
        ["algo=trpo", "algo.target_kl=0"],
        "algo.target_kl: at 0 the policy never moves",
    ),
    "another algorithm's preset": (["preset=a2c/CartPole-v1"], "is for a2c, not for ppo"),
    "no batched version": (
        ["env=Blackjack-v1", "env.vectorization=torch"],
        "no torch version of Blackjack-v1",
    ),
    "a misspelt wrapper": (["env.wrappers=[framestack]"], "did you mean frame_stack?"),
    "a wrapper's misspelt option": (
        ["env.wrappers=[{name: frame_stack, sise: 2}]"],
        "env.wrappers: frame_stack.sise: unknown key; did you mean frame_stack.size?",
    ),
    "a wrapper that does not fit": (
        ["env.wrappers=[grayscale]"],
        "env.wrappers: grayscale on CartPole-v1 needs colour images",
    ),
    "a config folder that is not there": (["--config-dir", "nowhere"], "not a folder"),
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_message_and_no_folder(words, message, capsys, tmp_path):
    assert main([*PPO, *words]) == 2

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("rlrun: ")
    assert message in output.err
    assert "Traceback" not in output.err
    assert len(output.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_cuda_where_there_is_none(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    assert main([*PPO, "device=cuda"]) == 2
    assert "no CUDA device was found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_all_faults_come_at_once(capsys):
    words = ["algo.gama=1", "env=CartPole-v9", "seed=-1", "sed=3", "algo.clip_range=-0.2"]
    words += ["preset=none", "algo.batch_size=100"]

    assert main([*PPO, *words]) == 2

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "rlrun: 6 problems in the configuration:"
    keys = {line.split()[0] for line in lines[1:]}
    assert keys == {"algo.gama", "env", "seed", "sed", "algo.clip_range", "algo.batch_size"}


def test_the_keys_of_a_misspelt_algorithm_are_not_held_against_it(capsys):
    assert main(["train", "algo=pppo", "algo.nothing_of_ppo=3"]) == 2
    assert "nothing_of_ppo" not in capsys.readouterr().err


def test_a_wrong_value_stops_a_sweep_before_its_first_job(capsys, tmp_path):
    assert main([*PPO, "algo.gamma=0.9,0.99,9", "seed=range(3)", "-m"]) == 2

    error = capsys.readouterr().err
    assert error.count("9 is not in [0, 1]") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["resume", "eval"])
def test_a_folder_that_is_no_run(verb, capsys, tmp_path):
    (tmp_path / "empty").mkdir()

    assert main([verb, "empty"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_output_folder_that_is_a_file(capsys, tmp_path):
    (tmp_path / "taken").write_text("")

    assert main([*PPO, "output_dir=taken/runs"]) == 2
    assert "is a file" in capsys.readouterr().err


def test_an_unknown_verb(capsys):
    assert main(["trian"]) == 2
    assert "did you mean train?" in capsys.readouterr().err
