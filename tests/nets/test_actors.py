import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.config import ConfigError
from rlrun.nets.action_bounds import ActionBounds
from rlrun.nets.actors import CategoricalActor, DeterministicActor, NoiseConfig, SquashedActor
from rlrun.nets.critics import ChoiceCritics
from rlrun.types import EnvSpec
from tests.nets.networks import mlp

OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
UNEVEN = spaces.Box(np.float32([-1.0, 2.0]), np.float32([3.0, 2.5]))
NET = mlp(8, activation="relu", init="uniform")


def spec(action) -> EnvSpec:
    return EnvSpec("hand", 4, OBS, action)


def noise(kind: str, std: float = 0.1) -> NoiseConfig:
    return NoiseConfig(action_noise=kind, noise_std=std, noise_theta=0.25, noise_dt=1.0)


def acting(actor):
    """Return an actor that has begun to learn."""
    actor.warming = False
    return actor


def test_bounds_need_not_be_even():
    bounds = ActionBounds(UNEVEN)
    unit = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.5, 0.0]])
    action = bounds.stretch(unit)
    assert action.tolist() == [[-1.0, 2.0], [3.0, 2.5], [2.0, 2.25]]
    torch.testing.assert_close(bounds.shrink(action), unit)


def test_a_dimension_without_room_is_no_trouble():
    bounds = ActionBounds(spaces.Box(np.float32([1.0]), np.float32([1.0])))
    assert bounds.stretch(torch.tensor([0.7])).tolist() == [1.0]
    assert bounds.shrink(torch.tensor([1.0])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "not bounded.*RescaleAction"),
        (spaces.Box(np.float32([-1, -np.inf]), np.float32([1, 1])), "not bounded"),
        (spaces.Box(0, 5, (2,), np.int64), "not a Box of floats"),
    ],
)
def test_actions_without_bounds_are_refused_by_name(space, words):
    with pytest.raises(ConfigError, match=words):
        DeterministicActor(spec(space), NET, noise("none"))


@pytest.mark.parametrize(
    "build",
    [lambda s: DeterministicActor(s, NET, noise("normal")), lambda s: SquashedActor(s, NET)],
)
def test_the_first_actions_are_uniform_within_the_bounds(build):
    torch.manual_seed(0)
    actor = build(spec(UNEVEN))
    obs = torch.randn(20_000, 3)
    drawn = actor.act(obs, (), explore=True).action
    low, high = torch.tensor(UNEVEN.low), torch.tensor(UNEVEN.high)
    assert bool(((drawn >= low) & (drawn <= high)).all())
    share = (drawn - low) / (high - low)
    assert share.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert share.var(0).tolist() == pytest.approx([1 / 12, 1 / 12], abs=0.003)
    assert actor.act(obs, (), explore=False).action.var(0)[1] < 0.01, "no policy is that wide"


def test_the_first_choices_are_uniform():
    torch.manual_seed(0)
    actor = CategoricalActor(spec(spaces.Discrete(3)), NET)
    drawn = actor.act(torch.zeros(30_000, 3), (), explore=True).action
    assert drawn.bincount().tolist() == pytest.approx([10_000] * 3, abs=500)


def test_a_loaded_policy_explores_as_it_did_when_saved():
    actor, fresh = (SquashedActor(spec(UNEVEN), NET) for _ in range(2))
    acting(actor)
    fresh.load_state_dict(actor.state_dict())
    assert not fresh.warming
    torch.testing.assert_close(fresh.state_dict(), actor.state_dict(), rtol=0, atol=0)


def test_a_deterministic_actor_stretches_tanh():
    actor = acting(DeterministicActor(spec(UNEVEN), NET, noise("normal")))
    with torch.no_grad():
        actor.linear.weight.zero_()
        actor.linear.bias.copy_(torch.tensor([0.5, -0.25]).atanh())
    action = actor.act(torch.randn(2, 3), (), explore=False).action
    torch.testing.assert_close(action, torch.tensor([[2.0, 2.1875]] * 2))


def test_normal_noise_is_in_unit_actions():
    torch.manual_seed(0)
    actor = acting(DeterministicActor(spec(UNEVEN), NET, noise("normal", 0.1)))
    with torch.no_grad():
        actor.linear.weight.zero_()
        actor.linear.bias.zero_()
    decision = actor.act(torch.zeros(20_000, 3), (), explore=True)
    assert decision.carry == ()
    assert decision.action.mean(0).tolist() == pytest.approx([1.0, 2.25], abs=0.01)
    assert decision.action.std(0).tolist() == pytest.approx([0.2, 0.025], rel=0.03)


def test_wandering_noise_is_carried_from_step_to_step():
    actor = acting(DeterministicActor(spec(UNEVEN), NET, noise("ornstein_uhlenbeck", 0.0)))
    obs = torch.zeros(4, 3)
    (state,) = actor.initial_carry(4)
    assert state.tolist() == [[0.0, 0.0]] * 4
    decision = actor.act(obs, (state + 0.4,), explore=True)
    (state,) = decision.carry
    torch.testing.assert_close(state, torch.full((4, 2), 0.3))  # theta pulls a quarter back
    still = actor.act(obs, (), explore=False).action
    torch.testing.assert_close(decision.action, still + torch.tensor([0.6, 0.075]))


def test_a_squashed_actor_takes_its_mean():
    actor = acting(SquashedActor(spec(UNEVEN), NET))
    with torch.no_grad():
        actor.head.linear.weight.zero_()
        actor.head.linear.bias.copy_(torch.tensor([math.atanh(0.5), 0.0, -9.0, -99.0]))
    obs = torch.zeros(5, 3)
    action = actor.act(obs, (), explore=False).action
    torch.testing.assert_close(action, torch.tensor([[2.0, 2.25]] * 5))
    mean, log_std = actor.head(actor.torso(obs))
    assert log_std[0].tolist() == [-9.0, -20.0], "the deviation has a floor"
    drawn, log_prob = actor(obs)
    torch.testing.assert_close(drawn, mean.tanh(), rtol=0, atol=1e-3)
    assert log_prob.shape == (5,)


def test_gsde_noise_stays_for_its_steps():
    torch.manual_seed(0)
    actor = acting(SquashedActor(spec(UNEVEN), NET, gsde=(-1.0, 2)))
    obs, carry = torch.ones(4, 3), actor.initial_carry(4)
    actions = []
    for _ in range(4):
        action, carry, _ = actor.act(obs, carry, explore=True)
        actions.append(action)
    assert torch.equal(actions[0], actions[1])
    assert torch.equal(actions[2], actions[3])
    assert not torch.equal(actions[1], actions[2])


def test_the_expectation_is_of_the_lesser_critic():
    actor = SquashedActor(spec(UNEVEN), NET)
    obs = torch.randn(6, 3)
    critics = lambda obs, action: torch.stack([action.sum(-1), 1.0 - action.sum(-1)])  # noqa: E731
    torch.manual_seed(3)
    q, log_prob = actor.expect(obs, critics)
    torch.manual_seed(3)
    action, expected = actor(obs)
    torch.testing.assert_close(log_prob, expected)
    torch.testing.assert_close(q, torch.minimum(action.sum(-1), 1.0 - action.sum(-1)))


def test_the_expectation_over_choices_is_exact():
    space = spec(spaces.Discrete(2))
    actor, critics = CategoricalActor(space, NET), ChoiceCritics(space, NET, 2)
    obs = torch.randn(6, 3)
    q, log_prob = actor.expect(obs, critics)
    probs = actor(obs).softmax(-1)
    values = critics.every(obs).amin(0)
    torch.testing.assert_close(q, (probs * values).sum(-1))
    torch.testing.assert_close(log_prob, (probs * probs.log()).sum(-1))
