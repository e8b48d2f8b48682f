import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.algos.trpo import TRPO
from rlrun.config import ConfigError
from rlrun.functional.distributions import frozen
from rlrun.functional.schedules import Schedule
from tests.algos.linear import (
    fragment,
    policy_config,
    rate,
    uniform_actions_and_identity_value,
)
from tests.algos.trust_region import BOX, acted, build, deep

HAND = fragment(
    obs=[0.5, 1.0, 0.25],
    action=[1, 0, 1],
    reward=[1.0, 0.0, 2.0],
    next_obs=[1.0, 4.0, 0.25],
    terminated=[0, 0, 1],
    truncated=[0, 1, 0],
)
"""Values equal observations; with gamma = lambda = 1/2 the advantages are 1.25, 1 and 1.75."""

POLICIES = {
    "discrete": (spaces.Discrete(3), "gaussian"),
    "multidiscrete": (spaces.MultiDiscrete([2, 3]), "gaussian"),
    "multibinary": (spaces.MultiBinary(2), "gaussian"),
    "gaussian": (BOX, "gaussian"),
    "conditioned": (BOX, "conditioned_gaussian"),
    "squashed": (BOX, "squashed_gaussian"),
    "beta": (BOX, "beta"),
    "gsde": (BOX, "gsde"),
}


def by_hand(**changes) -> TRPO:
    algorithm = build(**changes)
    uniform_actions_and_identity_value(algorithm.policy)
    return algorithm


def test_the_policy_step_by_hand():
    algorithm = by_hand()
    metrics = algorithm.update(HAND)
    # logits of action 1 less action 0 are d = w obs + b; loss -mean(A pi / pi_old)
    obs, sign = np.array([0.5, 1.0, 0.25]), np.array([1.0, -1.0, 1.0])
    phi = np.stack([obs, np.ones(3)])
    ascent = phi @ (sign * np.array([1.25, 1.0, 1.75]) / 2) / 3
    fisher = phi @ phi.T / 3 / 4
    # each of the two logits takes half of d, and damping acts on each
    ascent, fisher = np.concatenate([-ascent, ascent]), np.block([[fisher, -fisher]] * 2)
    fisher[2:] *= -1
    damped = fisher + 0.1 * np.eye(4)
    direction = np.linalg.solve(damped, ascent)
    step = direction * math.sqrt(2 * 0.01 / (direction @ damped @ direction))
    head = algorithm.policy.action_head.linear
    moved = [head.weight[0], head.bias[0], head.weight[1], head.bias[1]]
    assert torch.stack([each.sum() for each in moved]).tolist() == pytest.approx(
        step.tolist(), rel=1e-4
    )

    d = phi.T @ np.array([step[2] - step[0], step[3] - step[1]])
    kl = np.mean(np.log(np.cosh(d / 2)))  # from (1/2, 1/2)
    assert float(metrics["train/approx_kl"]) == pytest.approx(kl, rel=1e-3)
    ratio = 2 / (1 + np.exp(-sign * d))
    expected = -np.mean(ratio * np.array([1.25, 1.0, 1.75]))
    assert float(metrics["train/policy_gradient_loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["train/line_search_success"]) == 1.0
    assert float(metrics["train/entropy_loss"]) == pytest.approx(-math.log(2.0))


def test_the_value_step_by_hand():
    algorithm = by_hand()
    metrics = algorithm.update(HAND)
    assert float(metrics["train/value_loss"]) == pytest.approx((1.25**2 + 1 + 1.75**2) / 3)
    # targets 1.75, 2, 2 have the variance 1/72; the advantages, what is unexplained, 7/72
    assert float(metrics["train/explained_variance"]) == pytest.approx(-6.0, rel=1e-4)
    head = algorithm.policy.value_head  # Adam's first step is the step size, with the sign
    assert head.weight.item() == pytest.approx(1.01, rel=1e-4)
    assert head.bias.item() == pytest.approx(0.01, rel=1e-3)


def test_normalised_advantages_leave_the_value_target_alone():
    metrics = by_hand(normalize_advantage=True).update(HAND)
    assert float(metrics["train/value_loss"]) == pytest.approx((1.25**2 + 1 + 1.75**2) / 3)
    assert -0.2 < float(metrics["train/policy_gradient_loss"]) < 0.0  # 0 before the step


def test_every_row_serves_each_pass_over_the_value():
    algorithm = build(deep(spaces.Discrete(2)), n_steps=16, batch_size=16, n_critic_updates=3)
    seen = []
    original = algorithm.value_loss
    algorithm.value_loss = lambda batch: seen.append(batch["obs"]) or original(batch)
    part = acted(algorithm)
    algorithm.update(part)
    assert [len(rows) for rows in seen] == [16] * 12
    for each in range(3):
        rows = torch.cat(seen[4 * each : 4 * each + 4]).flatten().sort().values
        assert torch.equal(rows, part.obs.flatten().sort().values)


@pytest.mark.parametrize("name", POLICIES)
def test_the_divergence_after_every_step_is_within_its_bound(name):
    torch.manual_seed(0)
    space, distribution = POLICIES[name]
    policy = policy_config(action_distribution=distribution)
    algorithm = build(deep(space), policy, n_steps=16, batch_size=64, cg_damping=0.01)
    taken = 0
    for _ in range(4):
        part = acted(algorithm)
        old = frozen(algorithm.policy.distribution(part.obs))
        metrics = algorithm.update(part)
        moved = old.kl(algorithm.policy.distribution(part.obs)).mean().item()
        taken += int(metrics["train/line_search_success"])
        assert moved <= 0.01 + 1e-6
        assert float(metrics["train/approx_kl"]) == pytest.approx(moved, abs=1e-6)
        assert moved > 0.002 or not metrics["train/line_search_success"]
    assert taken >= 3


def test_the_bound_follows_its_schedule():
    torch.manual_seed(0)
    falling = Schedule("linear", 0.02, 0.0)
    algorithm = build(deep(BOX), n_steps=16, batch_size=64, target_kl=falling)
    moved = []
    for progress in (0.0, 0.75, 1.0):
        algorithm.anneal(progress)
        metrics = algorithm.update(acted(algorithm))
        assert metrics["train/target_kl"] == pytest.approx(0.02 * (1 - progress))
        moved.append(float(metrics["train/approx_kl"]))
    assert 0.01 < moved[0] <= 0.02
    assert 0.0025 < moved[1] <= 0.005
    assert moved[2] == 0.0


def test_a_step_that_breaks_the_bound_is_undone_and_the_value_learns_on():
    torch.manual_seed(0)
    algorithm = build(
        deep(BOX), n_steps=16, batch_size=64, target_kl=rate(4.0), line_search_max_iter=1
    )
    actor, critic = algorithm.policy.parameters_apart()
    before = [parameter.clone() for parameter in (*actor, *critic)]
    part = acted(algorithm)
    # the deviation must shrink, whose divergence grows far faster than its quadratic model
    metrics = algorithm.update(part._replace(reward=-part.action.square().sum(-1)))
    assert float(metrics["train/line_search_success"]) == 0.0
    assert float(metrics["train/approx_kl"]) == 0.0
    same = [torch.equal(p, b) for p, b in zip((*actor, *critic), before, strict=True)]
    assert same == [True] * len(actor) + [False] * len(critic)


def test_the_policy_step_leaves_the_value_alone():
    algorithm = build(
        deep(BOX), n_steps=16, batch_size=64, learning_rate=rate(0.0), n_critic_updates=2
    )
    actor, critic = algorithm.policy.parameters_apart()
    before = [parameter.clone() for parameter in (*actor, *critic)]
    algorithm.update(acted(algorithm))
    same = [torch.equal(p, b) for p, b in zip((*actor, *critic), before, strict=True)]
    assert same == [False] * len(actor) + [True] * len(critic)
    assert len(actor) + len(critic) == len(list(algorithm.policy.parameters()))


def test_curvature_may_be_measured_on_a_share_of_the_rows():
    algorithm = build(deep(spaces.Discrete(2)), n_steps=16, batch_size=64, sub_sampling_factor=5)
    seen = []
    original = algorithm.surrogate
    algorithm.surrogate = lambda batch: seen.append(len(batch["obs"])) or original(batch)
    algorithm.update(acted(algorithm))
    assert seen[:2] == [64, 12]
    assert set(seen[2:]) == {64}


def test_reward_scale_and_observation_statistics_are_used():
    algorithm = by_hand(policy=policy_config(normalize_reward=True, normalize_observation=True))
    metrics = algorithm.update(HAND)
    # returns 1, 1/2 and, in a new episode, 2: their variance is 7/18, so rewards grow by sqrt(18/7)
    k = math.sqrt(18 / 7)
    errors = [k + 0.5 - 0.5 + 0.25 * (2 - 1), 2 - 1, 2 * k - 0.25]
    expected = sum(error**2 for error in errors) / 3
    assert float(metrics["train/value_loss"]) == pytest.approx(expected, rel=1e-5)
    shown = algorithm.policy.normalizer(torch.tensor([1.75 / 3])).item()
    assert shown == pytest.approx(0, abs=1e-6)


def test_the_rewarded_action_becomes_likely():
    torch.manual_seed(0)
    algorithm = build(deep(spaces.Discrete(2)), n_steps=16, batch_size=64, cg_damping=0.01)
    for _ in range(15):
        algorithm.update(acted(algorithm))  # action 1 pays the observation, action 0 nothing
    chosen = algorithm.act(torch.tensor([[-1.0], [1.0]]), (), explore=False).action
    assert chosen.tolist() == [0, 1]
    logits = algorithm.policy.distribution(torch.tensor([[-1.0], [1.0]])).logits
    assert logits.softmax(-1).max(-1).values.min() > 0.85


def test_what_it_cannot_be_built_with():
    with pytest.raises(ConfigError, match=r"batch_size: 2 does not divide .* 1 \* 3 = 3; 3 does"):
        build(batch_size=2)
    with pytest.raises(ConfigError, match=r"network\.shared: .*set network\.shared=false"):
        build(deep(BOX, shared=True))
