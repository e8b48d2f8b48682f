from functools import partial

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.build import build_parts
from rlrun.config import ConfigError
from rlrun.data.collector import Collector
from rlrun.data.experience import Experience, ExperienceConfig
from rlrun.types import EnvSpec, Fragment
from tests.recipes import recipe

CPU = torch.device("cpu")


def spec(num_envs: int) -> EnvSpec:
    obs = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    return EnvSpec("hand", num_envs, obs, spaces.Box(-1, 1, (1,)))


def build(num_envs: int = 1, **changes) -> Experience:
    options = {"buffer_size": 100, "learning_starts": 0, "batch_size": 3, "gamma": 0.5}
    rhythm = {"train_freq": 1, "gradient_steps": 1, "n_step": 1}
    config = ExperienceConfig(**{**options, **rhythm, **changes})
    return Experience(config, spec(num_envs), CPU)


def fragment(steps: int, num_envs: int) -> Fragment:
    zeros, flags = torch.zeros(steps, num_envs), torch.zeros(steps, num_envs, dtype=torch.bool)
    column = zeros.unsqueeze(-1)
    return Fragment(column, column, zeros + 2.0, column, flags, flags, (), {})


@pytest.mark.parametrize(
    ("num_envs", "train_freq", "gradient_steps", "horizon", "updates"),
    [
        *[(1, 1, 1, 1, 1), (1, 4, 2, 4, 2), (8, 1, 1, 1, 8), (8, 16, 3, 2, 3)],
        *[(4, 2, 3, 1, 6), (4, 8, -1, 2, 8), (4, 1, -1, 1, 4)],
    ],
)
def test_the_rhythm_is_in_steps_over_all_environments(
    num_envs, train_freq, gradient_steps, horizon, updates
):
    memory = build(num_envs, train_freq=train_freq, gradient_steps=gradient_steps)
    assert memory.horizon == horizon
    batches = list(memory.absorb(fragment(horizon, num_envs)))
    assert len(batches) == updates == memory.updates
    assert all(len(batch.reward) == 3 for batch in batches)
    assert batches[0].discount.tolist() == [0.5] * 3


@pytest.mark.parametrize("name", ["dqn", "sac", "td3", "ddpg", "crossq"])
def test_every_algorithm_that_learns_from_memory_sums_as_many_rewards_as_asked(name):
    env = "CartPole-v1" if name == "dqn" else "Pendulum-v1"
    words = (f"algo={name}", f"env={env}", "preset=none", "algo.n_step=3", "algo.gamma=0.5")
    parts = build_parts(recipe(*words, "algo.buffer_size=64", "algo.batch_size=4"))
    act = partial(parts.algorithm.act, explore=True)
    collector = Collector(parts.env, parts.algorithm.initial_carry, CPU, seed=0)
    fragment = collector.collect(act, 8)
    replay = parts.algorithm.experience.replay
    replay.add(fragment)
    drawn = replay.sample(100)
    reward = fragment.reward[:, 0]
    sums = {round(float(reward[t] + reward[t + 1] / 2 + reward[t + 2] / 4), 3) for t in range(6)}
    whole = drawn.discount == 0.125
    assert whole.any()
    assert {round(float(each), 3) for each in drawn.reward[whole]} <= sums


@pytest.mark.parametrize(("num_envs", "train_freq"), [(8, 3), (3, 8), (4, 6)])
def test_a_rhythm_that_does_not_fit_is_refused(num_envs, train_freq):
    words = rf"algo\.train_freq: {train_freq} neither divides num_envs = {num_envs}"
    with pytest.raises(ConfigError, match=words):
        build(num_envs, train_freq=train_freq)


def test_a_batch_larger_than_the_memory_is_refused():
    with pytest.raises(ConfigError, match=r"algo\.batch_size: 101 .*buffer_size"):
        build(batch_size=101)


def test_learning_waits_for_its_start():
    memory = build(2, learning_starts=5)
    assert [len(list(memory.absorb(fragment(1, 2)))) for _ in range(4)] == [0, 0, 2, 2]
    assert memory.warm
    assert not build(learning_starts=1).warm
    assert build(learning_starts=0).warm


def test_a_loaded_memory_goes_on_where_it_was():
    memory, fresh = build(learning_starts=2), build(learning_starts=2)
    for _ in range(4):
        list(memory.absorb(fragment(1, 1)))
    fresh.load_state_dict(memory.state_dict())
    assert fresh.warm
    assert fresh.updates == 3
    assert len(fresh.replay) == 4
