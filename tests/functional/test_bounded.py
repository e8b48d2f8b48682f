"""Beta distributions: by hand, by integration, and against those of torch."""

import math

import pytest
import torch

from rlrun.functional.bounded import Beta

LOW, HIGH = torch.tensor([-2.0, 0.0]), torch.tensor([1.0, 0.5])


def beta(leading=(), low=LOW, high=HIGH):
    torch.manual_seed(len(leading))
    one, other = 1.0 + 4.0 * torch.rand(2, *leading, 2, dtype=torch.float64)
    return Beta(one, other, low.double(), high.double())


def test_a_beta_by_hand():
    ours = Beta(torch.tensor([2.0]), torch.tensor([3.0]), torch.tensor([-1.0]), torch.tensor([1.0]))
    # density 12 u (1 - u)^2 on [0, 1]: 1.5 at a half, of which the interval of length 2 takes half
    assert ours.log_prob(torch.tensor([0.0])).item() == pytest.approx(math.log(0.75))
    assert ours.mode().item() == pytest.approx(-1.0 / 3.0)  # (2 - 1) / (2 + 3 - 2) = 1 / 3
    flat = Beta(torch.ones(1), torch.ones(1), torch.tensor([-1.0]), torch.tensor([1.0]))
    assert flat.entropy().item() == pytest.approx(math.log(2.0), abs=1e-6)
    # KL of the uniform from Beta(2, 3): -log 12 - E[log u] - 2 E[log(1 - u)] = 3 - log 12
    assert flat.kl(ours).item() == pytest.approx(3.0 - math.log(12.0), abs=1e-5)


@pytest.mark.parametrize("leading", [(), (5,), (3, 4)])
def test_a_beta_is_that_of_torch(leading):
    ours = beta(leading)
    second = Beta(ours.other + 0.5, ours.one, ours.low, ours.high)
    theirs, others = (torch.distributions.Beta(each.one, each.other) for each in (ours, second))
    action = ours.sample()
    assert action.shape == (*leading, 2)
    unit, width = (action - ours.low) / (ours.high - ours.low), (ours.high - ours.low).log()
    torch.testing.assert_close(ours.log_prob(action), (theirs.log_prob(unit) - width).sum(-1))
    torch.testing.assert_close(ours.entropy(), (theirs.entropy() + width).sum(-1))
    for found, alone in zip(
        ours.evaluate(action), (ours.log_prob(action), ours.entropy()), strict=True
    ):
        torch.testing.assert_close(found, alone)
    expected = torch.distributions.kl_divergence(theirs, others).sum(-1)
    torch.testing.assert_close(ours.kl(second), expected)
    assert ours.kl(second).min() > 0


def test_draws_of_a_beta_have_its_moments_and_stay_inside():
    one, other = torch.tensor([2.0, 1.2]), torch.tensor([3.0, 1.1])
    drawn = Beta(one.expand(40_000, 2), other.expand(40_000, 2), LOW, HIGH).sample()
    mean, both = one / (one + other), one + other
    deviation = (mean * (1 - mean) / (both + 1)).sqrt() * (HIGH - LOW)
    drift = 4 * deviation / 200
    assert ((drawn.mean(0) - (LOW + (HIGH - LOW) * mean)).abs() < drift).all()
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.02, atol=0)
    assert (drawn >= LOW).all()
    assert (drawn <= HIGH).all()


def test_a_narrow_beta_keeps_its_digits():
    def narrow(*values):
        return Beta(*(torch.tensor([each]) for each in (*values, 0.0, 1.0)))

    ours, second = narrow(2e5, 6e5), narrow(2.1e5, 6e5)
    # where it is narrow, a Beta(a, b) is a normal of variance m (1 - m) / (a + b + 1), m = 1 / 4
    variance = 0.25 * 0.75 / 8e5
    peak = -0.5 * math.log(2 * math.pi * variance)
    found = ours.log_prob(torch.tensor([0.25]))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(peak, abs=1e-3)
    assert ours.entropy().item() == pytest.approx(0.5 - peak, abs=1e-3)
    # and the divergence that of normals: means 2 / 8 and 2.1 / 8.1, deviations as 1 to s
    mean = 2.1 / 8.1
    ratio = variance / (mean * (1 - mean) / 8.1e5)
    far = (mean - 0.25) ** 2 / (mean * (1 - mean) / 8.1e5)
    expected = 0.5 * (ratio + far - 1 - math.log(ratio))
    assert ours.kl(second).item() == pytest.approx(expected, rel=0.02)


def test_the_bounds_themselves_have_a_finite_density():
    ours = beta()
    assert ours.log_prob(LOW).isfinite()
    assert ours.log_prob(HIGH).isfinite()
