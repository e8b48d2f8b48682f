"""The script that measures wrappers has the bare environments play the same again."""

import importlib

import pytest

from rlrun.compose import compose
from rlrun.conf_dir import conf_dir
from rlrun.envs.registry import make_env
from rlrun.schema import check


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(conf_dir().parent / "scripts"))
    module = importlib.import_module("wrappers_cost")
    for name, value in {"NUM_ENVS": 2, "TURNS": 5, "REPEATS": 1, "ALL": 100}.items():
        monkeypatch.setattr(module, name, value)
    return module


def env_config(env_id, wrappers):
    words = [f"env={env_id}", f"env.wrappers={wrappers}", "preset=none"]
    return check(compose(words, []).values).run.env


CASES = {
    "wrappers that draw random numbers too": ("CartPole-v1", "[sticky_action]", 1.0, 1.0),
    "steps that are several, until an end": (
        "CartPole-v1",
        "[{name:action_repeat,times:4}]",
        3.0,
        4.0,
    ),
    "a reset that takes a step of its own": ("LunarLander-v3", "[frame_stack]", 1.0, 1.0),
    "held frames and resets of a game": ("ALE/Breakout-v5", "[atari]", 3.9, 8.0),
}


@pytest.mark.parametrize("case", CASES)
def test_bare_environments_play_the_same_again(script, case):
    env_id, wrappers, least, most = CASES[case]
    cost = script.measure(env_config(env_id, wrappers))  # says so where they did not
    assert least <= cost.steps <= most
    assert cost.bare > 0


def test_what_was_played_otherwise_is_no_measurement(script, monkeypatch):
    def other(env_id, kwargs):
        env = make_env(env_id, kwargs)
        env.unwrapped.gravity = 5.0  # of what plays again, not of what is recorded
        return env

    config = env_config("CartPole-v1", "[frame_stack]")
    recording = script.record(config)
    monkeypatch.setattr(script, "record", lambda _: recording)
    monkeypatch.setattr(script, "make_env", other)
    with pytest.raises(SystemExit, match="CartPole-v1 did not play the same again"):
        script.measure(config)


def test_a_case_that_does_not_exist_is_said(script, monkeypatch):
    monkeypatch.setattr("sys.argv", ["wrappers_cost.py", "atary"])
    with pytest.raises(SystemExit, match="no case 'atary'; there are frame_stack"):
        script.main()
