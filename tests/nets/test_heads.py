import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.config import ConfigError
from rlrun.data.collector import reset_carry
from rlrun.functional.bounded import Beta, SquashedGaussian
from rlrun.functional.distributions import (
    Bernoulli,
    Categorical,
    Gaussian,
    MultiCategorical,
)
from rlrun.nets.heads import StateDependentHead, action_head

LOW, HIGH = np.array([[-2.0, 0.0], [1.0, 0.5]], dtype=np.float32)
LOW_BOUND, HIGH_BOUND = torch.tensor([-2.0, 0.0]), torch.tensor([1.0, 0.5])
BOX = spaces.Box(LOW, HIGH)
FIXED = spaces.Box(np.array([-1.0, 0.5], np.float32), np.array([1.0, 0.5], np.float32))
UNBOUNDED = spaces.Box(-np.inf, np.inf, (2,), np.float32)


def head(space, distribution="gaussian", log_std_init=-0.5, sample_freq=4):
    return action_head(space, 6, distribution, log_std_init, sample_freq)


CASES = [
    (spaces.Discrete(4), "gaussian", Categorical, ()),
    (spaces.MultiDiscrete([2, 3]), "gaussian", MultiCategorical, (2,)),
    (spaces.MultiBinary(3), "gaussian", Bernoulli, (3,)),
    (spaces.MultiBinary([2, 3]), "gaussian", Bernoulli, (6,)),
    (BOX, "gaussian", Gaussian, (2,)),
    (UNBOUNDED, "gaussian", Gaussian, (2,)),
    (spaces.Box(-1, 1, (2, 3)), "gaussian", Gaussian, (6,)),
    (BOX, "conditioned_gaussian", Gaussian, (2,)),
    (UNBOUNDED, "conditioned_gaussian", Gaussian, (2,)),
    (BOX, "squashed_gaussian", SquashedGaussian, (2,)),
    (BOX, "beta", Beta, (2,)),
    (BOX, "gsde", Gaussian, (2,)),
]


@pytest.mark.parametrize(("space", "distribution", "kind", "shape"), CASES)
def test_every_space_has_its_distribution(space, distribution, kind, shape):
    built = head(space, distribution)
    features = torch.randn(5, 6)
    result = built(features)
    assert type(result) is kind
    explored, carry = built.decide(features, built.initial_carry(5), explore=True)
    greedy, _ = built.decide(features, built.initial_carry(5), explore=False)
    assert explored.shape == greedy.shape == (5, *shape)
    assert torch.equal(greedy, result.mode())
    assert len(carry) == (2 if distribution == "gsde" else 0)
    assert result.log_prob(explored).shape == (5,)


@pytest.mark.parametrize(
    ("space", "distribution", "reason"),
    [
        (spaces.Text(3), "gaussian", r"action space Text.* is not supported"),
        (spaces.Dict({"a": BOX}), "gaussian", r"action space Dict.* is not supported"),
        (spaces.Box(0, 5, (2,), np.int64), "gaussian", r"Box.* is not supported"),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), "gaussian", "more than one axis"),
        (UNBOUNDED, "squashed_gaussian", r"needs a bounded Box.* use gaussian"),
        (UNBOUNDED, "beta", r"needs a bounded Box.* use gaussian"),
        (FIXED, "beta", r"with room between its bounds.* use gaussian"),
        (FIXED, "squashed_gaussian", r"with room between its bounds.* use gaussian"),
        (spaces.Box(-3e38, 3e38, (2,)), "beta", r"with room between its bounds.* use gaussian"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(space, distribution, reason):
    with pytest.raises(ConfigError, match=reason):
        head(space, distribution)


@pytest.mark.parametrize("first", [2.0, 3.0, -20.0])
def test_a_first_deviation_that_could_never_change_is_refused(first):
    with pytest.raises(ConfigError, match=r"log_std_init: .* not between -20\.0 and 2\.0"):
        head(BOX, "conditioned_gaussian", log_std_init=first)


def test_the_first_policy_is_nearly_uniform():
    features = torch.randn(1000, 6)
    assert head(spaces.Discrete(4))(features).entropy().min() > 0.99 * math.log(4)
    assert head(BOX)(features).mean.abs().max() < 0.1


def test_the_gaussians_deviation_is_a_parameter_apart_from_the_state():
    built = head(BOX, log_std_init=-0.7)
    assert built.log_std.tolist() == pytest.approx([-0.7, -0.7])
    assert built.log_std.requires_grad
    assert built(torch.randn(5, 6)).log_std is built.log_std


def test_a_conditioned_gaussians_deviation_depends_on_the_state():
    built, features = head(BOX, "conditioned_gaussian", log_std_init=-0.7), torch.randn(50, 6)
    assert (built(features).log_std + 0.7).abs().max() < 0.1  # nearly the same at first
    with torch.no_grad():
        built.linear.weight[2:] = torch.eye(6)[:2]
    assert torch.allclose(built(features).log_std, features[:, :2] - 0.7)
    # a mistake's deviation is neither 0 nor without end
    assert built(torch.full((1, 6), 1e9)).log_std.tolist() == [[2.0, 2.0]]
    assert built(torch.full((1, 6), -1e9)).log_std.tolist() == [[-20.0, -20.0]]


def test_squashed_actions_fill_the_asymmetric_bounds():
    action, _ = head(BOX, "squashed_gaussian", 1.0).decide(torch.randn(5000, 6), (), explore=True)
    assert (action.min(0).values >= torch.tensor([-2.0, 0.0])).all()
    assert (action.max(0).values <= torch.tensor([1.0, 0.5])).all()
    assert (action.min(0).values < torch.tensor([-1.9, 0.02])).all()
    assert (action.max(0).values > torch.tensor([0.9, 0.48])).all()


def test_a_beta_has_one_peak_inside_the_bounds():
    built = head(BOX, "beta")
    result = built(1000.0 * torch.randn(5000, 6))
    assert result.one.min() > 1.0
    assert result.other.min() > 1.0
    assert (result.mode() > LOW_BOUND).all()
    assert (result.mode() < HIGH_BOUND).all()
    with torch.no_grad():
        built.linear.bias.fill_(-100.0)
    assert built(torch.zeros(1, 6)).mode()[0].tolist() == pytest.approx([-0.5, 0.25], abs=1e-3)


def gsde(sample_freq=4) -> StateDependentHead:
    built = head(BOX, "gsde", sample_freq=sample_freq)
    assert isinstance(built, StateDependentHead)
    with torch.no_grad():
        built.log_std.copy_(0.5 * torch.randn(6, 2) - 1.0)
    return built


def test_gsde_draws_with_the_moments_it_claims():
    built, features = gsde(), torch.randn(6)
    rows = features.expand(40_000, 6)
    with torch.no_grad():
        action, _ = built.decide(rows, built.initial_carry(40_000), explore=True)
        claimed = built(features)
    by_hand = (features.square() @ (2 * built.log_std).exp()).sqrt()
    torch.testing.assert_close(claimed.log_std.exp(), by_hand.detach(), rtol=1e-4, atol=0)
    torch.testing.assert_close(action.std(0), claimed.log_std.exp(), rtol=0.02, atol=0)
    drift = 4 * claimed.log_std.exp() / 200
    assert ((action.mean(0) - claimed.mean).abs() < drift).all()
    correlation = torch.corrcoef(action.T)[0, 1]
    assert abs(correlation) < 0.02


@torch.no_grad()
def test_gsde_holds_its_noise_for_sample_freq_steps():
    built, features = gsde(sample_freq=3), torch.randn(2, 6)
    carry, actions = built.initial_carry(2), []
    for _ in range(7):
        action, carry = built.decide(features, carry, explore=True)
        actions.append(action)
    same = [torch.equal(now, then) for now, then in pairwise(actions)]
    assert same == [True, True, False, True, True, False]
    assert carry[1].tolist() == [7, 7]
    assert not torch.equal(actions[0][0] - built.linear(features)[0], actions[0][1])


@torch.no_grad()
def test_gsde_draws_anew_where_an_episode_began():
    built, features = gsde(sample_freq=100), torch.randn(2, 6)
    first, carry = built.decide(features, built.initial_carry(2), explore=True)
    carry = reset_carry(carry, torch.tensor([True, False]))
    second, _ = built.decide(features, carry, explore=True)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@torch.no_grad()
def test_gsde_without_exploration_is_the_mean_and_leaves_the_noise():
    built, features = gsde(), torch.randn(2, 6)
    _, carry = built.decide(features, built.initial_carry(2), explore=True)
    action, after = built.decide(features, carry, explore=False)
    assert torch.equal(action, built.linear(features))
    assert after is carry


def test_gsde_learns_its_noise_but_not_through_the_features():
    built, features = gsde(), torch.randn(4, 6, requires_grad=True)
    built(features).log_std.sum().backward()
    assert features.grad is None
    assert built.log_std.grad.abs().min() > 0
