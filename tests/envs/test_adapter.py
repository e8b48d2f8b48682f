import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv

from rlrun.config import ConfigError
from rlrun.envs.adapter import EnvConfig, GymnasiumEnv
from rlrun.envs.base import spread_seed
from rlrun.envs.in_process import InProcessEnvs
from rlrun.envs.wrappers.chain import Wrappers
from rlrun.types import map_obs
from tests.envs.conformance import check_vec_env, random_action
from tests.envs.tiny import ACTIONS, DISCRETE, OBS, WIDE

TINY = "tests.envs.tiny:Spaces-v0"
REAL = {
    "CartPole-v1": 100,
    "Pendulum-v1": 250,
    "FrozenLake-v1": 60,
    "Taxi-v4": 250,
    "Blackjack-v1": 20,
}
"""From id to how many steps see some episodes end."""


def make(env_id, num_envs=2, vectorization="sync", **kwargs):
    options = {"drop": (), "success": "info", "wrappers": Wrappers()}
    config = EnvConfig(
        name=env_id, id=env_id, kwargs=kwargs, vectorization=vectorization, **options
    )
    return GymnasiumEnv(config, num_envs)


def same(obs, other) -> bool:
    if isinstance(obs, dict):
        return obs.keys() == other.keys() and all(same(obs[key], other[key]) for key in obs)
    return torch.equal(obs, other)


@pytest.mark.parametrize("env_id", REAL)
def test_real_environments_conform(env_id):
    check_vec_env(lambda count: make(env_id, count), steps=REAL[env_id])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Blackjack-v1"])
def test_environments_in_processes_conform(env_id):
    check_vec_env(lambda count: make(env_id, count, "async"), steps=REAL[env_id])


@pytest.mark.parametrize(
    ("vectorization", "kind"),
    [("auto", InProcessEnvs), ("sync", InProcessEnvs), ("async", AsyncVectorEnv)],
)
def test_processes_are_used_where_they_are_asked_for(vectorization, kind):
    env = make("CartPole-v1", 2, vectorization)
    assert type(env._env) is kind
    env.close()


@pytest.mark.parametrize("name", OBS)
def test_every_observation_space_conforms(name):
    check_vec_env(lambda count: make(TINY, count, obs=name), steps=10, random=False)


def test_nested_observations_conform_in_processes():
    check_vec_env(lambda count: make(TINY, count, "async", obs="nested"), steps=10, random=False)


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_space_conforms(name):
    check_vec_env(lambda count: make(TINY, count, action=name), steps=10, random=False)


@pytest.mark.parametrize(
    ("env_id", "vectorization"),
    [*((name, "sync") for name in REAL), ("Pendulum-v1", "async"), ("FrozenLake-v1", "async")],
)
def test_a_batch_is_the_same_as_single_environments_side_by_side(env_id, vectorization):
    env, alone = make(env_id, 2, vectorization), [gym.make(env_id) for _ in range(2)]
    generator = torch.Generator().manual_seed(0)
    env.reset(9)
    for single, seed in zip(alone, spread_seed(9, 2), strict=True):
        single.reset(seed=seed)
    ends = 0
    for _ in range(REAL[env_id]):
        action = random_action(env, generator)
        step = env.step(action)
        for n, (single, taken) in enumerate(zip(alone, env._write(action), strict=True)):
            obs, reward, terminated, truncated, _ = single.step(taken)
            row = map_obs(lambda leaf, n=n: leaf[n], step.next_obs)
            assert same(row, as_tensor(obs)), "not the true successor"
            assert step.reward[n].item() == np.float32(reward)
            flags = (step.terminated[n].item(), step.truncated[n].item())
            assert flags == (terminated, truncated)
            if terminated or truncated:
                ends += 1
                first, _ = single.reset()
                row = map_obs(lambda leaf, n=n: leaf[n], step.obs)
                assert same(row, as_tensor(first)), "not the next episode's first"
    assert ends > 0
    env.close()


def as_tensor(obs):
    if isinstance(obs, tuple):
        return {str(k): torch.tensor(part) for k, part in enumerate(obs)}
    return torch.tensor(obs)


@pytest.mark.parametrize(
    ("name", "vectorization"),
    [
        *((name, "sync") for name in OBS),
        ("start", "async"),
        ("tuple", "async"),
        ("nested", "async"),
    ],
)
def test_observations_are_read_as_worked_out_by_hand(name, vectorization):
    case = OBS[name]
    env = make(TINY, 2, vectorization, obs=name)
    first, second, last = case.read or case.shown

    def check(obs, expected):
        if isinstance(expected, dict):
            assert sorted(obs) == sorted(expected)
            for key, part in expected.items():
                torch.testing.assert_close(obs[key], torch.tensor([part] * 2, dtype=obs[key].dtype))
        else:
            dtype = getattr(torch, case.dtype)
            torch.testing.assert_close(obs, torch.tensor([expected] * 2, dtype=dtype))

    assert env.spec.obs_space == case.adapted
    check(env.reset(0), first)
    ways = []
    for _ in range(2):
        step = env.step(torch.zeros(2).long())
        check(step.obs, second)
        assert step.next_obs is step.obs
        step = env.step(torch.zeros(2).long())
        check(step.next_obs, last)
        check(step.obs, first)
        ways.append((step.terminated.all().item(), step.truncated.all().item()))
    assert ways == [(True, False), (False, True)]
    env.close()


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_are_written_as_worked_out_by_hand(name):
    space, handed, wanted = ACTIONS[name]
    env = make(TINY, 2, action=name)
    assert env.spec.action_space == space
    env.reset(0)
    env.step(torch.tensor(handed))
    for inner, action in zip(env._env.envs, wanted, strict=True):
        np.testing.assert_allclose(inner.unwrapped.action, action)
        assert space.contains(inner.unwrapped.action)


def test_only_the_rows_of_episodes_that_ended_get_another_successor():
    env = make("CartPole-v1", 8)
    env.reset(0)
    for _ in range(60):
        step = env.step(torch.tensor([0, 0, 0, 0, 0, 1, 0, 1]))
        done = step.terminated | step.truncated
        if done.any() and not done.all():
            break
    apart = (step.obs != step.next_obs).any(1)
    assert torch.equal(apart, done)
    assert (step.obs[done].abs() <= 0.05).all()  # where CartPole begins
    assert (step.next_obs[done].abs() > 0.2).any(1).all()  # where it fell


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"obs": spaces.Text(4)}, "observation space Text is not supported"),
        ({"obs": spaces.Sequence(WIDE)}, "observation space Sequence is not supported"),
        ({"obs": spaces.Dict({"a": WIDE, "b": spaces.Text(4)})}, "space Text is not supported"),
        ({"obs": spaces.MultiDiscrete([[2], [3]])}, "space MultiDiscrete is not supported"),
        ({"action": spaces.Text(4)}, "action space Text is not supported"),
        ({"action": spaces.Dict({"a": DISCRETE})}, "action space Dict is not supported"),
    ],
)
def test_spaces_without_tensors_are_refused_by_name(changes, reason):
    with pytest.raises(ConfigError, match=f"env: .*{reason}"):
        make("tests.envs.tiny:Wrong-v0", **changes)


@pytest.mark.parametrize(
    ("kwargs", "vectorization", "count"),
    [
        ({}, "sync", 3),
        ({"around": "limit"}, "sync", 3),
        ({"around": "limit"}, "async", 3),
        ({"around": "turned"}, "sync", 1),
        ({"obs": "multibinary"}, "sync", 1),
        ({"obs": "box"}, "sync", 1),
    ],
)
def test_stacks_of_frames_are_seen_from_their_wrapper(kwargs, vectorization, count):
    env = make("tests.envs.tiny:Stacked-v0", 2, vectorization, **kwargs)
    assert env.spec.frame_stack == count
    assert make(TINY, 2, obs="image").spec.frame_stack == 1
    env.close()


def test_success_is_told_where_an_episode_ended():
    env = make("tests.envs.tiny:Goal-v0", 3)
    env.reset(0)
    assert env.step(torch.tensor([1, 0, 1])).success.tolist() == [True, False, True]
    quiet = make(TINY, 2)
    quiet.reset(0)
    quiet.step(torch.zeros(2).long())
    assert quiet.step(torch.zeros(2).long()).success is None


def test_a_model_is_read_from_the_table():
    model = make("FrozenLake-v1", 1).spec.model
    assert model is not None
    torch.testing.assert_close(model.probability.sum(-1), torch.ones(16, 4, dtype=torch.float64))
    # from 14 the goal, 15, is one of three places to slip to when moving down, right or up
    assert model.reward[14].tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert model.continuation[14, :, 15].tolist() == [0.0] * 4
    assert model.continuation[0].sum(-1).tolist() == pytest.approx([1.0] * 4)
    assert make("CartPole-v1", 1).spec.model is None


@pytest.mark.parametrize(
    ("env_id", "kwargs", "reason"),
    [
        ("CartPole-v9", {}, "no environment 'CartPole-v9' is installed; did you mean CartPole-v1?"),
        ("CartPole-v1", {"gravity": 3}, "env.kwargs: CartPole-v1 cannot be made: .*gravity"),
        ("no_such_module:Env-v0", {}, "needs the module 'no_such_module'"),
        ("tests.envs.tiny:Space-v0", {}, "did you mean Spaces-v0"),
    ],
)
def test_what_cannot_be_made_is_explained(env_id, kwargs, reason):
    with pytest.raises(ConfigError, match=reason.replace("?", r"\?")):
        make(env_id, **kwargs)


def test_seeds_are_spread():
    near = [set(spread_seed(seed, 50)) for seed in range(20)]
    assert all(len(seeds) == 50 for seeds in near)
    assert len(set().union(*near)) == 1000
    assert all(0 <= seed < 2**31 for seeds in near for seed in seeds)
    assert spread_seed(3, 5) == spread_seed(3, 50)[:5] == spread_seed(3, 5)


def test_an_observation_that_reset_overwrites_is_still_the_true_successor():
    env = make("tests.envs.tiny:OneBuffer-v0", 2)
    env.reset(0)
    step = env.step(torch.zeros(2).long())
    assert step.next_obs.flatten().tolist() == [3.0, 3.0]
    assert step.obs.flatten().tolist() == [0.0, 0.0]
