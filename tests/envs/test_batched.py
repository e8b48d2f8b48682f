"""Batched environments are Gymnasium's: the same next state from the same state and action."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlrun.config import ConfigError
from rlrun.envs.adapter import EnvConfig, GymnasiumEnv
from rlrun.envs.batched.base import BatchedEnv
from rlrun.envs.batched.table import Table
from rlrun.envs.make import BATCHED, make_vec_env
from rlrun.envs.wrappers.chain import Wrappers
from tests.envs.conformance import check_vec_env, random_action

CPU = torch.device("cpu")
CLASSIC = [name for name, (kind, _) in BATCHED.items() if kind is not Table]
TABLES = [name for name, (kind, _) in BATCHED.items() if kind is Table]
LENGTH = 700  # beyond the longest time limit but one
ENOUGH = {  # steps in which episodes end under random actions; CliffWalking's never do
    **{"CartPole-v1": 60, "FrozenLake-v1": 60, "FrozenLake8x8-v1": 250, "Taxi-v4": 250},
    **{"MountainCar-v0": 250, "Pendulum-v1": 250, "Acrobot-v1": 600},
    "MountainCarContinuous-v0": 1100,
}
STARTS = {  # bounds of first states: low, high
    "CartPole-v1": ([-0.05] * 4, [0.05] * 4),
    "Acrobot-v1": ([-0.1] * 4, [0.1] * 4),
    "MountainCar-v0": ([-0.6, 0.0], [-0.4, 0.0]),
    "MountainCarContinuous-v0": ([-0.6, 0.0], [-0.4, 0.0]),
    "Pendulum-v1": ([-np.pi, -1.0], [np.pi, 1.0]),
}


def config(env_id: str, vectorization: str = "torch", **kwargs) -> EnvConfig:
    options = {"drop": (), "success": "info", "wrappers": Wrappers()}
    return EnvConfig(name=env_id, id=env_id, kwargs=kwargs, vectorization=vectorization, **options)


def batched(env_id: str, count: int, **kwargs) -> BatchedEnv:
    env = make_vec_env(config(env_id, **kwargs), count, CPU)
    assert isinstance(env, BatchedEnv)
    return env


@pytest.mark.parametrize(("env_id", "steps"), ENOUGH.items())
def test_batched_environments_conform(env_id, steps):
    check_vec_env(lambda count: batched(env_id, count), steps=steps)


@pytest.mark.parametrize("env_id", BATCHED)
def test_spaces_and_model_are_those_of_the_adapter(env_id):
    mine, theirs = batched(env_id, 3).spec, GymnasiumEnv(config(env_id, "sync"), 3).spec
    assert (mine.obs_space, mine.action_space) == (theirs.obs_space, theirs.action_space)
    assert (mine.model is None) == (theirs.model is None) == (env_id in CLASSIC)
    if mine.model is not None:
        assert torch.equal(mine.model.probability, theirs.model.probability)
        assert torch.equal(mine.model.continuation, theirs.model.continuation)
        assert torch.equal(mine.model.reward, theirs.model.reward)


@pytest.mark.parametrize("env_id", CLASSIC)
def test_long_runs_equal_those_of_gymnasium(env_id):
    env, ref = batched(env_id, 1), gym.make(env_id, disable_env_checker=True)
    env.reset(3)
    source = torch.Generator().manual_seed(0)
    compared = ended = 0
    fresh = True
    while compared < LENGTH:
        if fresh:
            ref.reset()
            put(ref, env._state[0].numpy())
        action = random_action(env, source)
        step = env.step(action)
        space = ref.action_space
        act = int(action[0]) if action.ndim == 1 else action[0].numpy().clip(space.low, space.high)
        obs, reward, terminated, truncated, _ = ref.step(act)
        np.testing.assert_allclose(step.next_obs[0], obs, rtol=1e-4, atol=1e-4)
        assert step.reward[0].item() == pytest.approx(float(reward), rel=1e-4, abs=1e-4)
        assert (bool(step.terminated), bool(step.truncated)) == (terminated, truncated)
        fresh = terminated or truncated
        ended += fresh
        compared += 1
    assert ended >= (env_id != "MountainCarContinuous-v0")


def put(env: gym.Env, state: np.ndarray) -> None:
    kind = np.float32 if "Continuous" in env.spec.id else np.float64
    env.unwrapped.state = state.astype(kind)


@pytest.mark.parametrize("env_id", CLASSIC)
def test_episodes_begin_where_gymnasiums_do(env_id):
    env = batched(env_id, 4096)
    env.reset(0)
    state, (low, high) = env._state, STARTS[env_id]
    low, high = torch.tensor(low).double(), torch.tensor(high).double()
    assert ((state >= low - 1e-6) & (state <= high + 1e-6)).all()
    width = high - low
    torch.testing.assert_close(state.mean(0), (low + high) / 2, rtol=0, atol=0.03 * width.max())
    torch.testing.assert_close(state.std(0), width / 12**0.5, rtol=0.05, atol=1e-9)


@pytest.mark.parametrize(
    ("env_id", "limit"), [("Pendulum-v1", 200), ("FrozenLake-v1", 100), ("Taxi-v4", 200)]
)
def test_time_limits_truncate_to_the_step(env_id, limit):
    env = batched(env_id, 2)
    env.reset(0)
    for count in range(1, limit + 1):
        step = env.step(torch.zeros(2, 1) if env_id == "Pendulum-v1" else torch.tensor([3, 3]))
        if step.terminated.any():
            pytest.skip("fell into a hole")
        assert step.truncated.all() == (count == limit)
    assert step.obs is not step.next_obs
    assert (env._age == 0).all()


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [*[(name, {}) for name in TABLES], ("FrozenLake-v1", {"is_slippery": False})],
)
def test_outcomes_follow_the_table(env_id, kwargs):
    count = 40_000
    env = batched(env_id, count, **kwargs)
    env.reset(0)
    table = gym.make(env_id, **kwargs).unwrapped.P
    source = np.random.default_rng(1)
    for state in source.choice(len(table), 6, replace=False):
        for action in range(len(table[0])):
            env._state = torch.full((count,), int(state))
            step = env.step(torch.full((count,), action))
            wanted: dict[tuple, float] = {}
            for p, following, reward, terminated in table[int(state)][action]:
                key = (int(following), float(np.float32(reward)), bool(terminated))
                wanted[key] = wanted.get(key, 0.0) + p
            columns = (step.next_obs, step.reward, step.terminated)
            seen, counts = np.unique(
                np.stack([each.double().numpy() for each in columns], 1), axis=0, return_counts=True
            )
            found = {
                (int(s), r, bool(e)): n / count for (s, r, e), n in zip(seen, counts, strict=True)
            }
            assert set(found) == {key for key, p in wanted.items() if p > 0}
            for key, share in found.items():
                assert abs(share - wanted[key]) < 5 * (0.25 / count) ** 0.5


def test_taxis_begin_in_every_start_alike():
    env = batched("Taxi-v4", 60_000)
    counts = torch.bincount(env.reset(0), minlength=500)
    starts = torch.as_tensor(gym.make("Taxi-v4").unwrapped.initial_state_distrib)
    assert torch.equal(counts > 0, starts > 0)
    assert (counts[starts > 0] - 200).abs().max() < 6 * 200**0.5


@pytest.mark.parametrize(
    ("env_id", "count", "kind"),
    [
        ("CartPole-v1", 1, GymnasiumEnv),
        ("CartPole-v1", BATCHED["CartPole-v1"][1], BatchedEnv),
        ("CartPole-v0", 512, GymnasiumEnv),
    ],
)
def test_auto_takes_the_batched_one_where_it_wins(env_id, count, kind):
    assert type(make_vec_env(config(env_id, "auto"), count, CPU)) is kind


def test_auto_leaves_options_it_has_not_to_gymnasium():
    asked = config("CartPole-v1", "auto", sutton_barto_reward=True)
    assert type(make_vec_env(asked, 512, CPU)) is GymnasiumEnv
    with pytest.raises(ConfigError, match=r"kwargs\.sutton_barto_reward: .*vectorization=sync"):
        make_vec_env(config("CartPole-v1", sutton_barto_reward=True), 2, CPU)
    with pytest.raises(ConfigError, match=r"no torch version of Blackjack-v1, only of CartPole-v1"):
        make_vec_env(config("Blackjack-v1"), 2, CPU)
