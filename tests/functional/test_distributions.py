"""Against torch.distributions, which was written by others, and against numerical integration."""

import math

import pytest
import torch
from torch import distributions as reference
from torch.distributions import transforms

from rlrun.functional.bounded import SquashedGaussian
from rlrun.functional.distributions import (
    Bernoulli,
    Categorical,
    Gaussian,
    MultiCategorical,
    frozen,
)

LOW, HIGH = torch.tensor([-2.0, 0.0]), torch.tensor([1.0, 0.5])
LEADING = [(), (5,), (3, 4)]


def normal(leading=(), size=2):
    return Gaussian(torch.randn(*leading, size), 0.5 * torch.randn(*leading, size) - 0.3)


def squashed(leading=()):
    return SquashedGaussian(normal(leading), LOW, HIGH)


def diagonal(ours):
    return reference.Independent(reference.Normal(ours.mean, ours.log_std.exp()), 1)


def stretched(ours):
    """The same distribution, put together by torch from its parts."""
    scale = (HIGH - LOW) / 2
    steps = [transforms.TanhTransform(), transforms.AffineTransform((LOW + HIGH) / 2, scale)]
    return reference.TransformedDistribution(diagonal(ours.base), steps)


def build(kind, leading):
    """Return a distribution of a kind and torch's of the same parameters."""
    if kind == "categorical":
        ours = Categorical(torch.randn(*leading, 4))
        return ours, reference.Categorical(logits=ours.logits)
    if kind == "bernoulli":
        ours = Bernoulli(torch.randn(*leading, 3))
        return ours, reference.Independent(reference.Bernoulli(logits=ours.logits), 1)
    if kind == "gaussian":
        ours = normal(leading)
        return ours, diagonal(ours)
    ours = squashed(leading)
    return ours, stretched(ours)


@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "gaussian", "squashed"])
def test_log_prob_agrees_with_torch(kind, leading):
    ours, theirs = build(kind, leading)
    action = theirs.sample()
    mine = ours.log_prob(action.long() if kind in ("categorical", "bernoulli") else action)
    assert mine.shape == leading
    torch.testing.assert_close(mine, theirs.log_prob(action), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "gaussian"])
def test_entropy_agrees_with_torch(kind, leading):
    ours, theirs = build(kind, leading)
    assert ours.entropy().shape == leading
    torch.testing.assert_close(ours.entropy(), theirs.entropy())


@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "gaussian", "squashed"])
def test_kl_agrees_with_torch(kind):
    ours, theirs = build(kind, (5,))
    other, their_other = build(kind, (5,))
    if kind == "squashed":  # torch knows no closed form; a bijection leaves the divergence alone
        theirs, their_other = diagonal(ours.base), diagonal(other.base)
    expected = reference.kl_divergence(theirs, their_other)
    assert ours.kl(other).shape == (5,)
    torch.testing.assert_close(ours.kl(other), expected, rtol=1e-4, atol=1e-5)
    assert ours.kl(ours).abs().max() < 1e-6


def test_a_frozen_distribution_stays_what_it_was():
    mean, log_std = torch.ones(3, 2, requires_grad=True), torch.zeros(2, requires_grad=True)
    bounds = (torch.zeros(2), torch.ones(2))
    kept = frozen(SquashedGaussian(Gaussian(mean, log_std), *bounds))
    choices = frozen(MultiCategorical(mean, (1, 1)))
    with torch.no_grad():
        mean.mul_(2.0)
        log_std.add_(1.0)
    assert not kept.base.mean.requires_grad
    assert kept.base.mean.tolist() == [[1.0, 1.0]] * 3
    assert kept.base.log_std.tolist() == [0.0, 0.0]
    assert choices.logits.tolist() == [[1.0, 1.0]] * 3
    assert choices.sizes == (1, 1)


@pytest.mark.parametrize("leading", LEADING)
def test_evaluate_is_log_prob_and_entropy_at_once(leading):
    choices = MultiCategorical(torch.randn(*leading, 5), (2, 3))
    several = [build(kind, leading)[0] for kind in ("categorical", "bernoulli", "gaussian")]
    for ours in (choices, *several, squashed(leading)):
        action = ours.sample()
        torch.manual_seed(1)
        log_prob, entropy = ours.evaluate(action)
        torch.manual_seed(1)  # the squashed entropy is an estimate from a draw
        torch.testing.assert_close(entropy, ours.entropy())
        torch.testing.assert_close(log_prob, ours.log_prob(action))


def test_entropy_of_a_shared_log_std_has_the_batch_shape():
    ours = Gaussian(torch.randn(5, 2), torch.tensor([0.0, 1.0]))
    assert ours.entropy().shape == (5,)
    assert ours.entropy()[3].item() == pytest.approx(1 + math.log(2 * math.pi * math.e))


def test_multi_categorical_is_a_sum_of_categoricals():
    logits, other = torch.randn(2, 6, 5)
    ours = MultiCategorical(logits, (2, 3))
    first = reference.Categorical(logits=logits[:, :2])
    second = reference.Categorical(logits=logits[:, 2:])
    action = torch.stack([first.sample(), second.sample()], -1)
    expected = first.log_prob(action[:, 0]) + second.log_prob(action[:, 1])
    torch.testing.assert_close(ours.log_prob(action), expected)
    torch.testing.assert_close(ours.entropy(), first.entropy() + second.entropy())
    kl = reference.kl_divergence(first, reference.Categorical(logits=other[:, :2]))
    kl = kl + reference.kl_divergence(second, reference.Categorical(logits=other[:, 2:]))
    torch.testing.assert_close(ours.kl(MultiCategorical(other, (2, 3))), kl)
    assert (
        ours.mode().tolist()
        == torch.stack([logits[:, :2].argmax(-1), logits[:, 2:].argmax(-1)], -1).tolist()
    )


@pytest.mark.parametrize("leading", LEADING)
def test_samples_and_modes_have_the_actions_shape_and_type(leading):
    discrete = torch.int64
    for ours, shape, dtype in [
        (Categorical(torch.randn(*leading, 4)), (), discrete),
        (MultiCategorical(torch.randn(*leading, 5), (2, 3)), (2,), discrete),
        (Bernoulli(torch.randn(*leading, 3)), (3,), discrete),
        (normal(leading), (2,), torch.float32),
        (squashed(leading), (2,), torch.float32),
    ]:
        for action in (ours.sample(), ours.mode()):
            assert action.shape == leading + shape
            assert action.dtype == dtype


def test_categorical_draws_with_its_probabilities():
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    drawn = Categorical(logits.expand(40_000, 4)).sample()
    share = torch.bincount(drawn, minlength=4) / 40_000
    torch.testing.assert_close(share, logits.softmax(-1), rtol=0, atol=0.01)  # 4 deviations
    assert Categorical(logits).mode().item() == 3


def test_multi_categorical_draws_each_choice_with_its_probabilities():
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.0])
    drawn = MultiCategorical(logits.expand(40_000, 5), (2, 3)).sample()
    for k, part in enumerate(logits.split((2, 3))):
        share = torch.bincount(drawn[:, k], minlength=len(part)) / 40_000
        torch.testing.assert_close(share, part.softmax(-1), rtol=0, atol=0.01)


def test_bernoulli_draws_with_its_probabilities():
    logits = torch.tensor([0.0, 2.0, -1.0])
    share = Bernoulli(logits.expand(40_000, 3)).sample().float().mean(0)
    torch.testing.assert_close(share, logits.sigmoid(), rtol=0, atol=0.01)
    assert Bernoulli(logits).mode().tolist() == [0, 1, 0]


def test_gaussian_draws_with_its_moments_and_lets_gradients_through():
    mean = torch.tensor([1.0, -2.0], requires_grad=True)
    log_std = torch.tensor([0.0, math.log(3.0)], requires_grad=True)
    drawn = Gaussian(mean.expand(40_000, 2), log_std).sample()
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.std(0), log_std.exp(), rtol=0.02, atol=0)
    gradients = torch.autograd.grad(drawn.sum(0).mean(), [mean, log_std])
    assert gradients[0].tolist() == pytest.approx([20_000, 20_000])
    assert gradients[1].abs().min() > 0
    assert Gaussian(mean, log_std).mode().tolist() == [1.0, -2.0]


@pytest.mark.parametrize("mean", [0.0, 0.7, -1.5])
@pytest.mark.parametrize("log_std", [-1.0, 0.0, 0.5])
def test_squashed_gaussian_integrates_to_one(mean, log_std):
    low, high = torch.tensor([-3.0]), torch.tensor([1.0])
    base = Gaussian(torch.tensor([mean]).double(), torch.tensor([log_std]).double())
    ours = SquashedGaussian(base, low.double(), high.double())
    edges = torch.linspace(-3.0, 1.0, 200_001, dtype=torch.float64)
    centre, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    density = ours.log_prob(centre.unsqueeze(-1)).exp()
    assert (density.sum() * width).item() == pytest.approx(1.0, abs=1e-3)
    drawn = SquashedGaussian(Gaussian(base.mean.expand(40_000, 1), base.log_std), low, high)
    expected = (density * centre).sum() * width
    assert drawn.sample().mean().item() == pytest.approx(expected.item(), abs=0.03)


def test_squashed_gaussian_stays_inside_its_bounds():
    wide = SquashedGaussian(Gaussian(torch.zeros(10_000, 2), torch.tensor([3.0, 3.0])), LOW, HIGH)
    drawn, log_prob = wide.sample_with_log_prob()
    assert (drawn >= LOW).all()
    assert (drawn <= HIGH).all()
    assert log_prob.isfinite().all()
    assert wide.log_prob(drawn).isfinite().all()
    assert wide.log_prob(LOW.expand(10_000, 2)).isfinite().all()
    assert wide.mode()[0].tolist() == pytest.approx([-0.5, 0.25])


def test_squashed_gaussian_knows_the_density_of_its_own_draws():
    ours = squashed((1000,))
    drawn, log_prob = ours.sample_with_log_prob()
    torch.testing.assert_close(ours.log_prob(drawn), log_prob, rtol=1e-3, atol=1e-3)


def test_entropy_of_the_squashed_gaussian_by_integration():
    base = Gaussian(torch.tensor([0.3]), torch.tensor([-0.5]))
    low, high = torch.tensor([-3.0]), torch.tensor([1.0])
    inner = torch.linspace(-3.0, 1.0, 100_001)[1:-1].unsqueeze(-1)
    log_prob = SquashedGaussian(base, low, high).log_prob(inner)
    exact = -(log_prob.exp() * log_prob).sum() * (4.0 / 100_000)
    many = SquashedGaussian(Gaussian(base.mean.expand(40_000, 1), base.log_std), low, high)
    assert many.entropy().mean().item() == pytest.approx(exact.item(), abs=0.02)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0]])
    sure = Categorical(logits)
    assert sure.entropy().item() == 0.0
    assert sure.log_prob(torch.tensor([0])).item() == 0.0
    assert sure.sample().item() == 0
    bits = Bernoulli(logits)
    assert bits.log_prob(torch.tensor([[1, 0, 1]])).item() == pytest.approx(-math.log(2))
    assert bits.entropy().item() == pytest.approx(math.log(2))
