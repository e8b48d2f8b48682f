"""Keys left out of an observation, and success told by the reward."""

import gymnasium as gym
import pytest
import torch
from gymnasium import spaces

from rlrun.config import ConfigError
from rlrun.envs.adapter import EnvConfig, GymnasiumEnv, make_single
from rlrun.envs.make import make_vec_env
from rlrun.envs.wrappers.chain import Wrappers
from tests.envs.tiny import WIDE

CPU = torch.device("cpu")


def config(env_id="tests.envs.tiny:Prize-v0", **changes):
    options = {"kwargs": {}, "drop": ("said",), "success": "reward", "wrappers": Wrappers()}
    options["vectorization"] = "sync"
    return EnvConfig(name=env_id, id=env_id, **{**options, **changes})


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_success_is_an_end_with_a_reward_that_is_no_cut(vectorization):
    env = GymnasiumEnv(config(vectorization=vectorization), 3)
    env.reset(0)
    step = env.step(torch.tensor([0, 1, 2]))
    assert step.reward.tolist() == [0.0, 1.0, 1.0]
    assert step.terminated.tolist() == [True, True, False]
    assert step.success.tolist() == [False, True, False]
    env.close()


def test_what_the_environment_tells_counts_where_it_is_asked():
    env = GymnasiumEnv(config(success="info"), 3)
    env.reset(0)
    assert env.step(torch.tensor([0, 1, 2])).success.tolist() == [True, False, False]


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_a_dropped_key_is_neither_in_the_space_nor_in_what_is_seen(vectorization):
    env = GymnasiumEnv(config(vectorization=vectorization), 2)
    assert env.spec.obs_space == spaces.Dict({"seen": WIDE})
    first = env.reset(0)
    step = env.step(torch.tensor([0, 2]))
    assert {key: leaf.tolist() for key, leaf in first.items()} == {"seen": [[0.5], [0.5]]}
    assert {key: leaf.tolist() for key, leaf in step.next_obs.items()} == {"seen": [[2.0], [2.0]]}
    env.close()


def test_what_is_seen_without_a_key_belongs_to_the_space_without_it():
    env = make_single(config())
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    assert list(seen) == ["seen"]


def test_nothing_is_wrapped_where_nothing_is_asked():
    bare = make_single(config("CartPole-v1", drop=(), success="info"))
    assert type(bare) is type(gym.make("CartPole-v1", disable_env_checker=True))


@pytest.mark.parametrize(
    ("env_id", "drop", "reason"),
    [
        ("tests.envs.tiny:Prize-v0", ("sad",), "no key 'sad'; did you mean said"),
        ("tests.envs.tiny:Prize-v0", ("x",), "no key 'x'; there are said, seen"),
        ("tests.envs.tiny:Prize-v0", ("said", "seen"), "leaves nothing to observe"),
        ("CartPole-v1", ("said",), "only a Dict has keys"),
    ],
)
def test_what_cannot_be_dropped_is_refused(env_id, drop, reason):
    with pytest.raises(ConfigError, match=rf"env\.drop: .*{reason}"):
        make_vec_env(config(env_id, drop=drop, vectorization="auto"), 2, CPU)


def test_words_are_refused_with_the_key_to_leave_out():
    with pytest.raises(ConfigError, match=r"Text .*'said' is one; .* env\.drop=\[said\]"):
        GymnasiumEnv(config(drop=()), 1)


def test_batched_environments_tell_of_no_success():
    lake = config("FrozenLake-v1", drop=(), vectorization="auto")
    assert isinstance(make_vec_env(lake, 64, CPU), GymnasiumEnv)
    with pytest.raises(ConfigError, match=r"env\.success: .*env\.vectorization=sync"):
        make_vec_env(config("FrozenLake-v1", drop=(), vectorization="torch"), 64, CPU)
