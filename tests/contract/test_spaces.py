"""Every kind of space, observed and acted in: learned from, or refused by name."""

import math
from dataclasses import replace

import pytest
from gymnasium import spaces

import rlrun.algos
from rlrun.algos.base import Algorithm
from rlrun.build import build_parts
from rlrun.config import ConfigError
from rlrun.schema import find, names
from tests.envs.tiny import ACTIONS, DISCRETE, OBS, WIDE
from tests.recipes import changed, recipe, trained

SMALL = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, "learning_starts": 8, "buffer_size": 64}
SHORT = {"total_timesteps": 48, "log_every": 16, "final_eval_episodes": 1, "eval_num_envs": 1}
KINDS = ("dqn", "ppo", "q_learning", "sac", "td3")
"""An algorithm for each set of spaces that algorithms declare; composing all of them takes long."""

BOUNDED = {"sac", "td3"}
WITHOUT_TENSORS = {
    "text": spaces.Text(4),
    "sequence": spaces.Sequence(WIDE),
    "graph": spaces.Graph(WIDE, DISCRETE),
    "one of": spaces.OneOf([WIDE, DISCRETE]),
}


def made(algo, env, **kwargs):
    run = recipe(f"algo={algo}", "env=tests.envs.tiny:Spaces-v0", "device=cpu", "preset=none")
    changes = {"id": f"tests.envs.tiny:{env}-v0", "kwargs": kwargs}
    return changed(run, SMALL, env=replace(run.run.env, **changes), **SHORT)


@pytest.mark.parametrize("obs", OBS)
def test_every_observation_space_is_learned_from(obs, tmp_path):
    _, rows = trained(tmp_path / "run", made("ppo", "Spaces", obs=obs))
    assert rows[-1]["eval/mean_reward"] == 3.0  # the rewards are 1 and 2
    assert math.isfinite(rows[0]["train/loss"])


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_space_is_acted_in(action, tmp_path):
    _, rows = trained(tmp_path / "run", made("ppo", "Spaces", action=action))
    assert rows[-1]["eval/mean_reward"] == 3.0  # and Spaces checks that each action is one
    assert math.isfinite(rows[0]["train/loss"])


@pytest.mark.parametrize("kind", ["obs", "action"])
@pytest.mark.parametrize("algo", KINDS)
def test_an_algorithm_serves_a_space_or_refuses_it_by_name(algo, kind):
    algorithm = made(algo, "Spaces").algorithm
    served = {"obs": algorithm.obs_spaces, "action": algorithm.action_spaces}
    usual = {
        "obs": "box" if spaces.Box in served["obs"] else "discrete",
        "action": "discrete" if spaces.Discrete in served["action"] else "box",
    }
    for name in OBS if kind == "obs" else ACTIONS:
        space = OBS[name].adapted if kind == "obs" else ACTIONS[name][0]
        fits = isinstance(space, served[kind])
        if algo in BOUNDED and (kind, name) == ("action", "unbounded"):
            fits = False
        run = made(algo, "Spaces", **{**usual, kind: name})
        if fits:
            build_parts(run).env.close()
            continue
        with pytest.raises(ConfigError) as caught:
            build_parts(run)
        assert str(space) in str(caught.value), name


@pytest.mark.parametrize("name", WITHOUT_TENSORS)
@pytest.mark.parametrize("kind", ["obs", "action"])
def test_a_space_without_tensors_is_refused_by_name(kind, name):
    space = WITHOUT_TENSORS[name]
    with pytest.raises(ConfigError, match=rf"{type(space).__name__} is not supported"):
        build_parts(made("ppo", "Wrong", **{kind: space}))


@pytest.mark.parametrize("space", [spaces.Tuple([DISCRETE]), spaces.Dict({"a": DISCRETE})])
def test_several_actions_at_once_are_refused_by_name(space):
    with pytest.raises(ConfigError, match=f"action space {type(space).__name__} is not supported"):
        build_parts(made("ppo", "Wrong", action=space))


def test_no_algorithm_declares_other_spaces_than_those_tried():
    tried = {declared(made(algo, "Spaces").algorithm) for algo in KINDS}
    all_declared = {declared(find(rlrun.algos, name, Algorithm)) for name in names(rlrun.algos)}
    assert all_declared == tried


def declared(algorithm):
    return frozenset(algorithm.obs_spaces), frozenset(algorithm.action_spaces)
