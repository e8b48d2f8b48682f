import math

import pytest
import torch
from torch import distributions

from rlrun.functional.soft import categorical_expectation, squashed_normal, temperature_loss


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.5, 0.5)])
def test_the_density_of_squashed_actions_integrates_to_one(mean, log_std):
    draw = torch.linspace(-8.0, 8.0, 200_001, dtype=torch.float64).unsqueeze(-1)
    full = torch.full_like(draw, mean), torch.full_like(draw, log_std)
    action, log_prob = squashed_normal(*full, draw)
    density = log_prob.exp()
    total = torch.trapezoid(density, action.squeeze(-1)).item()
    assert total == pytest.approx(1.0, abs=1e-6)
    # the mean by the density of actions is the mean of tanh by the density of the normal
    by_action = torch.trapezoid(density * action.squeeze(-1), action.squeeze(-1)).item()
    normal = torch.exp(-0.5 * draw.square()).squeeze(-1) / math.sqrt(2 * math.pi)
    by_draw = torch.trapezoid(normal * action.squeeze(-1), draw.squeeze(-1)).item()
    assert by_action == pytest.approx(by_draw, abs=1e-6)


def test_the_density_is_that_of_torch_and_sums_over_dimensions():
    torch.manual_seed(0)
    mean, log_std, draw = torch.randn(3, 5, 2, dtype=torch.float64)
    action, log_prob = squashed_normal(mean, log_std, draw)
    base = distributions.Normal(mean, log_std.exp())
    reference = distributions.TransformedDistribution(base, [distributions.TanhTransform()])
    torch.testing.assert_close(action, (mean + log_std.exp() * draw).tanh())
    torch.testing.assert_close(log_prob, reference.log_prob(action).sum(-1))


def test_the_density_stays_finite_where_tanh_is_flat():
    mean = torch.tensor([[30.0]], requires_grad=True)
    log_prob = squashed_normal(mean, torch.zeros(1, 1), torch.zeros(1, 1))[1]
    # log N(0) - 2 (log 2 - 30), as softplus(-60) is nothing
    assert log_prob.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - 2 * math.log(2) + 60)
    assert torch.autograd.grad(log_prob.sum(), mean)[0].item() == pytest.approx(2.0)


def test_the_expectation_over_choices_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log() + 3.0
    value, log_prob = categorical_expectation(logits, torch.tensor([[2.0, 4.0, 8.0]]))
    assert value.tolist() == pytest.approx([4.0])
    assert log_prob.tolist() == pytest.approx([-1.5 * math.log(2.0)])


def test_the_temperature_rises_while_entropy_is_too_low():
    log_alpha = torch.tensor(0.5, requires_grad=True)
    log_prob = torch.tensor([-1.0, 3.0], requires_grad=True)
    losses = temperature_loss(log_alpha, log_prob, target_entropy=-2.0)
    assert losses.tolist() == [1.5, -0.5]
    assert torch.autograd.grad(losses.mean(), log_alpha)[0].item() == 1.0
    assert not temperature_loss(log_alpha.detach(), log_prob, -2.0).requires_grad


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        squashed_normal(torch.zeros(4, 1), torch.zeros(1), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="shape"):
        categorical_expectation(torch.zeros(4, 2), torch.zeros(2))
