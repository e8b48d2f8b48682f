import math

import pytest
import torch
from gymnasium import spaces

from rlrun.algos.ddpg import DDPG, DDPGConfig
from rlrun.config import ConfigError
from tests.algos.linear import fragment, rate
from tests.algos.off_policy import (
    MEMORY,
    NOISE,
    actions_at,
    batch,
    learned_in,
    set_critics,
    set_linear,
    setting,
)


def build(**changes) -> DDPG:
    return DDPG(DDPGConfig(**{**MEMORY, **NOISE, "tau": 0.25, **changes}), setting())


def by_hand(**changes) -> DDPG:
    """Return an agent that takes the unit action 1/2, valued 2 a + obs + 1 and, later, 4 a."""
    algorithm = build(**changes)
    set_linear(algorithm.policy.linear, [[0.0]], [math.atanh(0.5)])
    set_linear(algorithm.target_actor.module.linear, [[0.0]], [math.atanh(-0.5)])
    set_critics(algorithm.critics, [(2.0, 1.0, 1.0)])
    set_critics(algorithm.target_critics.module, [(4.0, 0.0, 0.0)])
    return algorithm


HAND = batch([1.0, 0.0], [3.0, 1.0], [1.0, 2.0], [5.0, 5.0], [0.5, 0.0])
"""Unit actions 1 and 0; the second row is an end."""


def test_the_critic_loss_by_hand():
    loss, metrics = by_hand().critic_loss(HAND)
    # values 2 + 1 + 1 and 1; targets 1 - 0.5 * 2, as the targets' action is -1/2, and 2
    assert loss.item() == pytest.approx((4.0**2 + 1.0**2) / 2)
    assert metrics["train/critic_loss"].item() == loss.item()


def test_the_actor_climbs_the_critic_and_leaves_it_alone():
    algorithm = by_hand()
    before = algorithm.critic_learner.flat.clone()
    metrics = algorithm.actor_learner.minimize(algorithm.actor_loss, HAND)
    assert metrics["train/actor_loss"].item() == pytest.approx(-(2 * 0.5 + 0.5 + 1))
    # Adam's first step is the step size, towards larger actions
    assert algorithm.policy.linear.bias.item() == pytest.approx(math.atanh(0.5) + 0.01)
    assert torch.equal(algorithm.critic_learner.flat, before)
    # d loss / d bias = -2 (1 - 1/4), and as much times the mean observation for the weight
    assert metrics["train/grad_norm"].item() == pytest.approx(1.5 * math.hypot(1.0, 0.5))


def test_targets_follow_both_networks():
    algorithm = by_hand()
    algorithm.update(
        fragment([1.0], [1], [1.0], [0.0], [0], [0])._replace(action=torch.ones(1, 1, 1))
    )
    for target, learner, start in (
        (algorithm.target_critics, algorithm.critic_learner, [4.0, 0.0, 0.0]),
        (algorithm.target_actor, algorithm.actor_learner, [0.0, math.atanh(-0.5)]),
    ):
        held = torch.cat([each.flatten() for each in target.module.parameters()])
        expected = 0.75 * torch.tensor(start) + 0.25 * learner.flat
        torch.testing.assert_close(held, expected.detach())


def test_a_time_limit_is_not_an_end():
    for terminated, truncated, target in ((0, 0, 0.0), (0, 1, 0.0), (1, 0, 1.0)):
        algorithm = by_hand()
        part = fragment([1.0], [1], [1.0], [0.0], [terminated], [truncated])
        metrics = algorithm.update(part._replace(action=torch.full((1, 1, 1), 3.0)))
        assert metrics["train/critic_loss"].item() == pytest.approx((4.0 - target) ** 2)


def test_learning_begins_when_it_should_and_random_actions_end():
    algorithm = build(learning_starts=2)
    part = fragment([1.0], [1], [1.0], [0.0], [0], [0])._replace(action=torch.ones(1, 1, 1))
    assert algorithm.policy.warming
    assert set(algorithm.update(part)) == {"train/learning_rate"}
    assert algorithm.policy.warming
    assert "train/actor_loss" in algorithm.update(part)
    assert not algorithm.policy.warming
    assert not build(learning_starts=0).policy.warming


def test_the_step_size_follows_its_schedule():
    algorithm = build(learning_rate=type(rate(0)).parse({"linear": 1e-2}))
    algorithm.anneal(0.75)
    assert algorithm.actor_learner.learning_rate == pytest.approx(2.5e-3)
    assert algorithm.critic_learner.learning_rate == pytest.approx(2.5e-3)


def test_the_noise_is_carried():
    assert [part.shape for part in build(action_noise="ornstein_uhlenbeck").initial_carry(3)] == [
        (3, 1)
    ]
    assert build(action_noise="normal").initial_carry(3) == ()


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(2), r"Box actions; hand has Discrete\(2\); 'rlrun list algos' shows"),
        (spaces.Box(-math.inf, math.inf, (1,)), "not bounded.*algo=ppo"),
    ],
)
def test_what_it_cannot_act_in_is_named(space, words):
    with pytest.raises(ConfigError, match=words) as refused:
        DDPG(DDPGConfig(**MEMORY, **NOISE, tau=0.25), setting(space))
    assert len(refused.value.problems) == 1


def test_it_learns_to_follow_what_it_sees():
    algorithm = learned_in("RewardByNearness", "ddpg", 400, noise_std=0.3)
    assert actions_at(algorithm, -1.0, 1.0) == pytest.approx([-0.5, 0.5], abs=0.15)
