"""Several steps as one function are the steps they stand for."""

from functools import partial

import pytest
import torch

from rlrun.accel.ahead import Ahead
from rlrun.accel.compiler import ahead, compiled_steps, has_compiler
from rlrun.accel.programs import interpreted
from rlrun.build import build_parts
from rlrun.data import collector as collecting
from rlrun.data.collector import Collector
from rlrun.envs.batched import base as batched
from tests.recipes import recipe
from tests.test_accel import traced

ENVS, HORIZON = 5, 48
DYNAMICS = [
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
]


def collected(env_id, transform, explore, fragments=3, draw=None):
    """Fragments of a policy that was drawn at random, with first states made by `draw`."""
    words = (
        "preset=none",
        "env.vectorization=torch",
        f"num_envs={ENVS}",
        "seed=3",
        "algo.batch_size=5",
    )
    parts = build_parts(recipe("algo=ppo", f"env={env_id}", *words))
    parts.env._limit = 13  # so that some episodes are cut
    if draw is not None:
        parts.env._dynamics.draw = partial(draw, parts.env._dynamics.draw)
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, 0)
    assert collector.unrolls
    if transform is not None:
        collector.transform(transform)
    torch.manual_seed(0)
    found = []
    for _ in range(fragments):
        fragment = collector.collect(partial(algorithm.act, explore=explore), HORIZON)
        columns = [*fragment[:6]]
        found.append([column.clone() for column in columns])
    return found, collector


def constant(draw, count, generator):
    """The same first state every time, whatever was drawn before."""
    generator.manual_seed(7)
    return draw(1, generator).expand(count, *draw(1, generator).shape[1:]).clone()


@pytest.mark.parametrize("env_id", DYNAMICS)
@pytest.mark.parametrize("explore", [True, False])
def test_unrolled_is_stepwise(env_id, explore):
    stepwise, one = collected(env_id, None, explore, draw=constant)
    unrolled, other = collected(env_id, lambda function: function, explore, draw=constant)
    for expected, found in zip(stepwise, unrolled, strict=True):
        for column, same in zip(expected, found, strict=True):
            assert torch.equal(column, same)
    assert one.episodes() == other.episodes() != {}
    terminated, truncated = stepwise[1][4], stepwise[1][5]
    assert truncated.any()
    assert not torch.equal(stepwise[1][0][1:], stepwise[1][3][:-1])  # successors are not resets
    assert terminated.any() == (explore and env_id == "CartPole-v1")


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_generated_code_takes_the_same_steps(monkeypatch):
    monkeypatch.setattr(collecting, "LONGEST_STRIDE", 2)  # compiled sooner
    expected, _ = collected("CartPole-v1", lambda function: function, False, draw=constant)
    for way in (partial(ahead, say=pytest.fail), compiled_steps):
        found, _ = collected("CartPole-v1", way, False, draw=constant)
        for one, other in zip(expected[-1], found[-1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("algo", "env_id", "horizon"),
    [
        ("dqn", "CartPole-v1", 4),
        ("pqn", "CartPole-v1", 64),
        ("sac", "CartPole-v1", 1),
        ("sac", "Pendulum-v1", 1),
        ("td3", "Pendulum-v1", 1),
        ("ddpg", "Pendulum-v1", 1),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_explores_by_tensors_alone_is_one_graph(device, begun, algo, env_id, horizon):
    words = ("preset=none", "env.vectorization=torch", f"num_envs={ENVS}")
    rhythm = ("algo.batch_size=80",) if algo == "pqn" else ("algo.learning_starts=20",)
    rhythm += ("algo.train_freq=20",) if algo == "dqn" else ()
    parts = build_parts(recipe(f"algo={algo}", f"env={env_id}", *words, *rhythm))
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, 0)
    assert algorithm.steady
    assert collector.unrolls
    act, actions = partial(algorithm.act, explore=True), []
    if begun:  # as with accel=auto, after some steps of the other kind
        collector.collect(act, algorithm.horizon)
    found = []

    def noted(graph, given, *options):
        found.append(given)
        return interpreted(graph, given, *options) if options else graph

    on_cpu = partial(Ahead, backend=noted, options={}, say=pytest.fail)
    collector.transform(on_cpu if device == "cpu" else partial(compiled_steps, backend=noted))
    for progress in (0.0, 0.5, 1.0):
        algorithm.anneal(progress)
        for _ in range(8):
            fragment = collector.collect(act, algorithm.horizon)
            actions.append(fragment.action.flatten().clone())
            algorithm.update(fragment)
    assert algorithm.horizon == horizon
    assert torch.cat(actions).unique().numel() > 1
    assert len(found) == 1


def test_first_states_are_never_used_twice(monkeypatch):
    monkeypatch.setattr(batched, "POOL", 4 * ENVS)
    words = ("preset=none", "env.vectorization=torch", f"num_envs={ENVS}", "algo.batch_size=5")
    parts = build_parts(recipe("algo=ppo", "env=CartPole-v1", *words))
    seen = []

    def watched(function):
        def call(obs, state, age, fresh):
            seen.append(fresh.clone())
            return function(obs, state, age, fresh)

        return call

    parts.env.reset(0)
    unrolled = parts.env.unroll(partial(parts.algorithm.act, explore=True), 2, watched)
    obs = parts.env.reset(0)
    for _ in range(5):  # more than the two of one draw
        _, obs = unrolled(obs)
    first = torch.stack(seen).flatten(0, 2)
    assert len(first.unique(dim=0)) == len(first) == 5 * 2 * ENVS
    obs = parts.env.reset(0)
    unrolled(obs)
    assert torch.equal(seen[-1], seen[0])  # a reset with a seed begins anew


@pytest.mark.parametrize("way", [traced, partial(compiled_steps, backend="aot_eager")])
@pytest.mark.parametrize(("epsilon", "lowest", "highest"), [(0.0, 0.0, 0.0), (1.0, 0.4, 0.6)])
def test_a_compiled_policy_hears_of_a_new_epsilon(epsilon, lowest, highest, way):
    words = ("preset=none", "env.vectorization=torch", "algo.learning_starts=0")
    parts = build_parts(recipe("algo=dqn", "env=CartPole-v1", *words))
    policy = parts.algorithm.policy
    with torch.no_grad():
        policy.head.linear.weight.zero_()
        policy.head.linear.bias.copy_(torch.tensor([1.0, 0.0]))
    policy.warming = False
    act = way(lambda obs: policy.act(obs, (), True).action)
    obs = torch.zeros(1000, 4)
    policy.rate = 0.5
    assert 0.15 < act(obs).float().mean() < 0.35
    policy.rate = epsilon
    assert lowest <= act(obs).float().mean() <= highest
    policy.rate, policy.warming = 0.0, True
    assert 0.4 < act(obs).float().mean() < 0.6


def test_what_draws_at_every_step_or_remembers_does_not_unroll():
    torchy = ("preset=none", "env.vectorization=torch", "num_envs=4")
    for words in (
        ("algo=ppo", "env=FrozenLake-v1", *torchy),
        ("algo=ppo", "env=CartPole-v1", "network=gru", *torchy),
        ("algo=ppo", "env=CartPole-v1", "preset=none", "env.vectorization=sync"),
        ("algo=td3", "env=Pendulum-v1", "algo.action_noise=ornstein_uhlenbeck", *torchy),
    ):
        parts = build_parts(recipe(*words))
        collector = Collector(parts.env, parts.algorithm.initial_carry, parts.device, 0)
        assert not collector.unrolls
        parts.env.close()
