import math

import pytest
import torch

from rlrun.algos.a2c import A2C, A2CConfig
from tests.algos.linear import (
    fragment,
    policy_config,
    rate,
    setting,
    uniform_actions_and_identity_value,
)

HAND = fragment(
    obs=[0.5, 1.0, 0.25],
    action=[1, 0, 1],
    reward=[1.0, 0.0, 2.0],
    next_obs=[1.0, 4.0, 0.25],
    terminated=[0, 0, 1],
    truncated=[0, 1, 0],
)
"""Values equal observations; with gamma = lambda = 1/2 the advantages are 1.25, 1 and 1.75."""

LOG_2 = math.log(2.0)


def build(num_envs=1, policy=None, **changes) -> A2C:
    options = {
        "n_steps": 3,
        "learning_rate": rate(0.01),
        "gamma": 0.5,
        "gae_lambda": 0.5,
        "ent_coef": 0.1,
        "vf_coef": 0.5,
        "max_grad_norm": 1e9,
        "normalize_advantage": False,
        "use_rms_prop": True,
        "rms_prop_eps": 0.1,
        "policy": policy or policy_config(),
    }
    algorithm = A2C(A2CConfig(**{**options, **changes}), setting(num_envs))
    uniform_actions_and_identity_value(algorithm.policy)
    return algorithm


def learned(algorithm, part=HAND):
    """Update once; return the metrics and each parameter's change."""
    before = {name: p.clone() for name, p in algorithm.policy.named_parameters()}
    metrics = algorithm.update(part)
    return metrics, {name: p - before[name] for name, p in algorithm.policy.named_parameters()}


def test_losses_by_hand():
    metrics, _ = learned(build())
    assert float(metrics["train/policy_gradient_loss"]) == pytest.approx(LOG_2 * 4 / 3)
    assert float(metrics["train/value_loss"]) == pytest.approx((1.25**2 + 1 + 1.75**2) / 3)
    assert float(metrics["train/entropy_loss"]) == pytest.approx(-LOG_2)
    assert float(metrics["train/loss"]) == pytest.approx(LOG_2 * (4 / 3 - 0.1) + 0.5 * 1.875)
    # targets 1.75, 2, 2 have the variance 1/72; the advantages, what is unexplained, 7/72
    assert float(metrics["train/explained_variance"]) == pytest.approx(-6.0, rel=1e-4)


def test_n_step_returns_are_the_limit_of_lambda():
    metrics, _ = learned(build(gae_lambda=1.0))
    # returns 1 + (0 + 4/2) / 2, 0 + 4/2 across the time limit, 2: errors 1.5, 1, 1.75
    assert float(metrics["train/value_loss"]) == pytest.approx((1.5**2 + 1 + 1.75**2) / 3)


GRADIENT = {
    # mean of -advantage (1 - 1/2) where the action was taken, +advantage / 2 where it was not
    "action_head.linear.bias": [(1.25 - 1.0 + 1.75) / 6, (-1.25 + 1.0 - 1.75) / 6],
    # half the mean of -2 advantage, and the same times the observation
    "value_head.bias": [-4 / 3],
    "value_head.weight": [-(1.25 * 0.5 + 1.0 + 1.75 * 0.25) / 3],
}


@pytest.mark.parametrize("clip", [1e9, 0.5])
def test_one_step_of_rmsprop_by_hand(clip):
    metrics, change = learned(build(max_grad_norm=clip))
    scale = min(1.0, clip / float(metrics["train/grad_norm"]))
    for name, gradient in GRADIENT.items():
        clipped = [scale * each for each in gradient]
        step = [-0.01 * g / (math.sqrt(0.01 * g * g) + 0.1) for g in clipped]
        assert change[name].flatten().tolist() == pytest.approx(step, rel=1e-3), name
    weights = [sum(a * o for a, o in ((1.25, 0.5), (-1.0, 1.0), (1.75, 0.25))) / 6]
    flat = [g for gradient in GRADIENT.values() for g in gradient] + weights * 2
    norm = math.sqrt(sum(g * g for g in flat))
    assert float(metrics["train/grad_norm"]) == pytest.approx(norm, rel=1e-4)


def test_adam_instead():
    _, change = learned(build(use_rms_prop=False, rms_prop_eps=1e-8))
    for name, gradient in GRADIENT.items():  # Adam's first step is the step size, with the sign
        signs = [-0.01 * math.copysign(1.0, g) for g in gradient]
        assert change[name].flatten().tolist() == pytest.approx(signs, rel=1e-3), name


def test_normalised_advantages_leave_the_value_target_alone():
    metrics, change = learned(build(normalize_advantage=True, ent_coef=0.0))
    assert float(metrics["train/policy_gradient_loss"]) == pytest.approx(0.0, abs=1e-6)
    assert float(metrics["train/value_loss"]) == pytest.approx(1.875)
    assert change["value_head.bias"].item() > 0


def test_the_step_size_follows_its_schedule():
    algorithm = build(learning_rate=type(rate(0)).parse({"linear": 1e-2}))
    algorithm.anneal(0.75)
    assert algorithm.update(HAND)["train/learning_rate"] == pytest.approx(2.5e-3)


def test_reward_scale_and_observation_statistics_are_used():
    algorithm = build(policy=policy_config(normalize_reward=True, normalize_observation=True))
    metrics, _ = learned(algorithm)
    # returns 1, 1/2 and, in a new episode, 2: their variance is 7/18, so rewards grow by sqrt(18/7)
    k = math.sqrt(18 / 7)
    errors = [k + 0.5 - 0.5 + 0.25 * (2 - 1), 2 - 1, 2 * k - 0.25]
    expected = sum(error**2 for error in errors) / 3
    assert float(metrics["train/value_loss"]) == pytest.approx(expected, rel=1e-5)
    assert algorithm.policy.normalizer(torch.tensor([1.75 / 3])).item() == pytest.approx(
        0, abs=1e-6
    )


def test_the_rewarded_action_becomes_likely():
    torch.manual_seed(0)
    algorithm = build(num_envs=4, n_steps=8, learning_rate=rate(0.03), ent_coef=0.0)
    ones = torch.ones(8, 4)
    for _ in range(40):
        action = algorithm.act(ones.unsqueeze(-1), (), explore=True).action
        part = fragment(
            ones.tolist(),
            action.tolist(),
            action.tolist(),
            ones.tolist(),
            ones.tolist(),
            [[0] * 4] * 8,
        )
        algorithm.update(part)
    chance = algorithm.policy.distribution(torch.ones(1, 1)).logits.softmax(-1)[0, 1]
    assert chance > 0.9
    assert algorithm.act(torch.ones(2, 1), (), explore=False).action.tolist() == [1, 1]
