"""Networks with memory: a step at a time says what a whole history says, whatever ends in it."""

import pytest
import torch
from gymnasium import spaces

from rlrun.data.collector import reset_carry
from rlrun.nets.actor_critic import ActorCritic
from rlrun.nets.memory import segments
from rlrun.nets.torsos.transformer import rotate
from rlrun.types import EnvSpec, Fragment, History
from tests.recipes import recipe

STEPS, ENVS, SIZE = 11, 3, 4
MEMORY = ["gru", "lstm", "transformer"]
SPACE = spaces.Box(-1.0, 1.0, (SIZE,))
SPEC = EnvSpec("x", ENVS, SPACE, spaces.Discrete(5))

every_memory = pytest.mark.parametrize("name", MEMORY)
both_shared = pytest.mark.parametrize("shared", ["true", "false"])


def network(name, *words):
    window = ["network.window=4", "network.layers=2"] if name == "transformer" else []
    return recipe("algo=ppo", f"network={name}", *window, *words).network


def policy(name, *words):
    config = recipe("algo=ppo", f"network={name}", "preset=none").algorithm_config
    torch.manual_seed(0)
    return ActorCritic(config.policy, SPEC, network(name, *words), 0.9)


def ends():
    """Ends of episodes: in a row, at the first step and at the last."""
    done = torch.zeros(STEPS, ENVS, dtype=torch.bool)
    for t, n in [(3, 0), (4, 0), (0, 1), (10, 1), (7, 2)]:
        done[t, n] = True
    return done


def walked(torso, obs, done, carry):
    """Features step by step, and the carry before and after each step."""
    features, before, after = [], [], []
    for t in range(len(obs)):
        before.append(carry)
        out, carry = torso.step(obs[t], carry)
        features.append(out)
        after.append(carry)
        carry = reset_carry(carry, done[t])
    return torch.stack(features), before, after


def started(done):
    return torch.cat([torch.zeros_like(done[:1]), done[:-1]])


@every_memory
def test_a_history_says_what_its_steps_say(name):
    torch.manual_seed(1)
    torso = network(name).build(SPACE)
    obs, done = torch.randn(STEPS, ENVS, SIZE), ends()
    _, before, _ = walked(
        torso, torch.randn(6, ENVS, SIZE), torch.zeros(6, ENVS).bool(), torso.initial_carry(ENVS)
    )
    carry = before[-1]
    assert all(part.abs().sum() > 0 for part in carry)
    stepwise, _, after = walked(torso, obs, done, carry)
    features, carries = torso.unroll(History(obs, started(done), carry))
    torch.testing.assert_close(features, stepwise, atol=1e-5, rtol=1e-5)
    found = segments(started(done))
    assert len(found.env) == 7
    for part, whole in zip(carries, zip(*after, strict=True), strict=True):
        expected = torch.stack(list(whole))[found.last, found.env]
        torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-5)


@every_memory
def test_an_end_empties_the_memory_and_no_other(name):
    torch.manual_seed(1)
    torso = network(name).build(SPACE)
    obs, done = torch.randn(STEPS, ENVS, SIZE), ends()
    other = obs.clone()
    other[:4, 0] += 1.0  # before the end at step 3 of environment 0
    zero = torso.initial_carry(ENVS)
    one, two = (torso.unroll(History(each, started(done), zero))[0] for each in (obs, other))
    assert (one[:4, 0] - two[:4, 0]).abs().amin(1).gt(0).all()
    torch.testing.assert_close(one[4:, 0], two[4:, 0])
    torch.testing.assert_close(one[:, 1:], two[:, 1:])
    whole = torso.unroll(History(other, torch.zeros_like(done), zero))[0]
    assert (whole[4, 0] - two[4, 0]).abs().max() > 1e-3  # without the end it is remembered


def test_a_window_reaches_so_far_and_no_further():
    torch.manual_seed(1)
    torso = recipe(
        "algo=ppo", "network=transformer", "network.window=4", "network.layers=1"
    ).network.build(SPACE)
    obs = torch.randn(STEPS, 1, SIZE, requires_grad=True)
    history = History(obs, torch.zeros(STEPS, 1).bool(), torso.initial_carry(1))
    torso.unroll(history)[0][8, 0, 0].backward()
    felt = obs.grad.abs().sum((1, 2)) > 0
    assert felt.tolist() == [False] * 5 + [True] * 4 + [False] * 2


def test_rotated_products_depend_on_distance_alone():
    torch.manual_seed(0)
    query, key = torch.randn(8), torch.randn(8)

    def product(at, to):
        rows = lambda x, place: rotate(x.expand(1, 8), place)[0]  # noqa: E731
        return float(rows(query, at) @ rows(key, to))

    assert product(7, 4) == pytest.approx(product(103, 100), abs=1e-4)
    assert abs(product(7, 4) - product(7, 5)) > 1e-2
    # the first pair of a vector of 2 turns by one radian a step
    turned = rotate(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert turned[1].tolist() == pytest.approx([0.5403023, 0.8414710])


def test_segments_by_hand():
    start = torch.tensor([[0, 0], [0, 1], [1, 0], [0, 1]]).bool()
    found = segments(start)
    assert found.env.tolist() == [0, 0, 1, 1, 1]
    assert found.first.tolist() == [0, 2, 0, 1, 3]
    assert found.last.tolist() == [1, 3, 0, 2, 3]
    assert found.length.tolist() == [2, 2, 1, 2, 1]


@every_memory
@both_shared
def test_values_of_successors_are_the_next_step_of_the_same_episode(name, shared):
    bundle = policy(name, f"network.shared={shared}")
    torch.manual_seed(2)
    obs, last = torch.randn(STEPS, ENVS, SIZE), torch.randn(STEPS, ENVS, SIZE)
    done, flags = ends(), torch.zeros(STEPS, ENVS).bool()
    rest = torch.zeros(STEPS, ENVS)
    next_obs = torch.cat([obs[1:], last[-1:]])
    next_obs = torch.where(done.unsqueeze(-1), last, next_obs)
    zero = bundle.initial_carry(ENVS)
    fragment = Fragment(obs, rest, rest, next_obs, flags, done, zero, {})
    value, next_value = bundle.values(fragment)
    carry = zero
    with torch.no_grad():
        for t in range(STEPS):
            own = slice(0, None) if shared == "true" else slice(len(carry) // 2, None)
            torso = bundle.torsos.torsos[-1]
            features, after = torso.step(obs[t], carry[own])
            expected = bundle.value_head(features).squeeze(-1)
            torch.testing.assert_close(value[t], expected, atol=1e-5, rtol=1e-5)
            following = bundle.value_head(torso.step(next_obs[t], after)[0]).squeeze(-1)
            torch.testing.assert_close(next_value[t], following, atol=1e-5, rtol=1e-5)
            carry = reset_carry(bundle.act(obs[t], carry, explore=True).carry, done[t])


@every_memory
@both_shared
def test_acting_and_learning_see_the_same_policy(name, shared):
    bundle = policy(name, f"network.shared={shared}")
    torch.manual_seed(3)
    obs, done = torch.randn(STEPS, ENVS, SIZE), ends()
    carry = bundle.initial_carry(ENVS)
    history = History(obs, started(done), carry)
    logits = bundle.distribution(history).logits
    both, value = bundle(history)
    torch.testing.assert_close(both.logits, logits)
    torch.testing.assert_close(value, bundle.value(history))
    for t in range(STEPS):
        features, _ = bundle.torsos.step(obs[t], carry)
        torch.testing.assert_close(
            logits[t], bundle.action_head(features).logits, atol=1e-5, rtol=1e-4
        )
        carry = reset_carry(bundle.act(obs[t], carry, explore=False).carry, done[t])
    chosen = torch.rand(STEPS, ENVS) < 0.5
    some = bundle.distribution(history._replace(chosen=chosen)).logits
    torch.testing.assert_close(some, logits[chosen])
