import math

import pytest
import torch
from gymnasium import spaces

from rlrun.algos.td3 import TD3, TD3Config
from rlrun.config import ConfigError
from tests.algos.linear import fragment
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

DELAY = {
    **{"tau": 0.25, "policy_delay": 2},
    **{"target_policy_noise": 0.0, "target_noise_clip": 0.5},
}


def by_hand(**changes) -> TD3:
    """Return an agent that takes the unit action 1/2; its targets take -1/2."""
    algorithm = TD3(TD3Config(**{**MEMORY, **NOISE, **DELAY, **changes}), setting())
    set_linear(algorithm.policy.linear, [[0.0]], [math.atanh(0.5)])
    set_linear(algorithm.target_actor.module.linear, [[0.0]], [math.atanh(-0.5)])
    set_critics(algorithm.critics, [(2.0, 1.0, 1.0), (0.0, 0.0, 1.0)])
    set_critics(algorithm.target_critics.module, [(4.0, 0.0, 0.0), (0.0, 1.0, -6.0)])
    return algorithm


HAND = batch([1.0, 0.0], [3.0, 1.0], [1.0, 2.0], [5.0, 1.0], [0.5, 0.5])
"""Unit actions 1 and 0; the targets value what follows by -2 or -1, and by -2 or -5."""

PART = fragment([1.0], [1], [1.0], [0.0], [0], [0])._replace(action=torch.ones(1, 1, 1))


def test_the_target_is_the_lesser_of_two_values():
    loss, _ = by_hand().critic_loss(HAND)
    # targets 1 - 0.5 * 2 and 2 - 0.5 * 5; values 4 and 1, 1 and 1
    errors = [(4.0 - 0.0, 1.0 - (-0.5)), (1.0 - 0.0, 1.0 - (-0.5))]
    assert loss.item() == pytest.approx(sum(e * e for row in errors for e in row) / 2)


@pytest.mark.parametrize(
    ("std", "clip", "action"), [(0.25, 0.5, -0.25), (10.0, 0.75, 0.25), (10.0, 9.0, 1.0)]
)
def test_target_actions_are_smoothed_within_limits(monkeypatch, std, clip, action):
    algorithm = by_hand(target_policy_noise=std, target_noise_clip=clip)
    set_critics(algorithm.target_critics.module, [(4.0, 0.0, 0.0), (4.0, 0.0, 0.0)])
    set_critics(algorithm.critics, [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    loss, _ = algorithm.critic_loss(HAND)
    targets = [1.0 + 0.5 * 4.0 * action, 2.0 + 0.5 * 4.0 * action]
    assert loss.item() == pytest.approx(targets[0] ** 2 + targets[1] ** 2)


def test_the_actor_climbs_the_first_critic_alone():
    algorithm = by_hand()
    before = algorithm.critic_learner.flat.clone()
    metrics = algorithm.actor_learner.minimize(algorithm.actor_loss, HAND)
    assert metrics["train/actor_loss"].item() == pytest.approx(-(2 * 0.5 + 0.5 + 1))
    assert algorithm.policy.linear.bias.item() == pytest.approx(math.atanh(0.5) + 0.01)
    assert torch.equal(algorithm.critic_learner.flat, before)


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_the_actor_and_the_targets_wait_for_the_critics(delay):
    algorithm = by_hand(policy_delay=delay)
    watched = [algorithm.actor_learner.flat, algorithm.critic_learner.flat]
    watched += [next(algorithm.target_critics.parameters())]
    watched += [next(algorithm.target_actor.parameters())]
    for update in range(1, 7):
        before = [each.detach().clone() for each in watched]
        metrics = algorithm.update(PART)
        moved = [not torch.equal(*pair) for pair in zip(before, watched, strict=True)]
        due = update % delay == 0
        assert moved[:3] == [due, True, due]
        assert ("train/actor_loss" in metrics) == (update >= delay), "the last one stays"
    assert algorithm.experience.updates == 6


def test_the_delay_survives_a_checkpoint():
    algorithm, fresh = by_hand(), by_hand()
    algorithm.update(PART)
    states = {name: part.state_dict() for name, part in algorithm.parts().items()}
    for name, part in fresh.parts().items():
        part.load_state_dict(states[name])
    before = fresh.actor_learner.flat.clone()
    fresh.update(PART)
    assert not torch.equal(fresh.actor_learner.flat, before)


def test_targets_follow_both_networks():
    algorithm = by_hand(policy_delay=1)
    algorithm.update(PART)
    for target, learner, start in (
        (algorithm.target_critics, algorithm.critic_learner, [4.0, 0.0, 0.0, 1.0, 0.0, -6.0]),
        (algorithm.target_actor, algorithm.actor_learner, [0.0, math.atanh(-0.5)]),
    ):
        held = torch.cat([each.flatten() for each in target.module.parameters()])
        expected = 0.75 * torch.tensor(start) + 0.25 * learner.flat
        torch.testing.assert_close(held, expected.detach())


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(2), r"td3 needs Box actions; hand has Discrete\(2\)"),
        (spaces.Box(-math.inf, math.inf, (1,)), "not bounded.*algo=ppo"),
    ],
)
def test_what_it_cannot_act_in_is_named(space, words):
    with pytest.raises(ConfigError, match=words):
        TD3(TD3Config(**MEMORY, **NOISE, **DELAY), setting(space))


def test_it_learns_to_follow_what_it_sees():
    algorithm = learned_in("RewardByNearness", "td3", 600, noise_std=0.3)
    assert actions_at(algorithm, -1.0, 1.0) == pytest.approx([-0.5, 0.5], abs=0.15)
