import math

import pytest
import torch
from torch import Tensor

from rlrun.functional.losses import (
    approximate_kl,
    clipped_surrogate,
    clipped_value_loss,
    normalize,
    policy_gradient,
)

# ratio, advantage, loss at a clip range of 0.2, slope of the loss in the logarithm of the ratio
SURROGATE = [
    (1.5, 1.0, -1.2, 0.0),  # already taken far enough: clipped
    (1.5, -1.0, 1.5, 1.5),  # wrongly encouraged: not clipped, and pulled back
    (0.5, 1.0, -0.5, -0.5),  # wrongly discouraged: not clipped
    (0.5, -1.0, 0.8, 0.0),
    (1.1, 2.0, -2.2, -2.2),  # within the range
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope"), SURROGATE)
def test_clipped_surrogate_by_hand(ratio, advantage, loss, slope):
    log_ratio = torch.tensor([math.log(ratio)], requires_grad=True)
    result = clipped_surrogate(log_ratio, torch.tensor([advantage]), torch.tensor(0.2))
    assert result.tolist() == pytest.approx([loss])
    (gradient,) = torch.autograd.grad(result.sum(), log_ratio)
    assert gradient.tolist() == pytest.approx([slope])


# value, old value, target, loss at a clip range of 0.5
VALUE_LOSS = [
    (3.0, 1.0, 4.0, 6.25),  # clipped to 1.5, farther from the target
    (1.2, 1.0, 0.0, 1.44),  # within the range
    (-1.0, 1.0, 2.0, 9.0),  # clipped to 0.5, nearer to the target: the plain error counts
    (-1.0, 1.0, -2.0, 6.25),  # clipped from below
]


@pytest.mark.parametrize(("value", "old_value", "target", "loss"), VALUE_LOSS)
def test_clipped_value_loss_by_hand(value, old_value, target, loss):
    columns = torch.tensor([[value], [old_value], [target]])
    assert clipped_value_loss(*columns, 0.5).tolist() == pytest.approx([loss])


def test_policy_gradient_by_hand():
    log_prob = torch.tensor([-0.5, -2.0], requires_grad=True)
    loss = policy_gradient(log_prob, torch.tensor([3.0, -1.0]))
    assert loss.tolist() == [1.5, -2.0]
    (gradient,) = torch.autograd.grad(loss.sum(), log_prob)
    assert gradient.tolist() == [-3.0, 1.0]


@pytest.mark.parametrize(
    "loss",
    [
        lambda rows, flat: clipped_surrogate(rows, flat, torch.tensor(0.2)),
        lambda rows, flat: clipped_value_loss(rows, flat, flat, 0.2),
        lambda rows, flat: clipped_value_loss(flat, rows, flat, 0.2),
        lambda rows, flat: clipped_value_loss(flat, flat, rows, 0.2),
        policy_gradient,
    ],
)
def test_losses_refuse_shapes_that_would_broadcast(loss):
    with pytest.raises(ValueError, match="shapes differ"):
        loss(torch.zeros(4, 1), torch.zeros(4))


def test_normalize_by_hand():
    assert normalize(torch.tensor([1.0, 2.0, 3.0])).tolist() == pytest.approx([-1.0, 0.0, 1.0])
    assert normalize(torch.tensor([5.0])).tolist() == [5.0]
    assert normalize(torch.full((4,), 3.0)).tolist() == [0.0] * 4


def kl_of(*ratios: float) -> float:
    return approximate_kl(torch.tensor(ratios).log()).item()


def test_approximate_kl_by_hand():
    assert kl_of(1.0) == 0.0
    assert kl_of(2.0) == pytest.approx(1 - math.log(2))
    assert kl_of(1.0, 0.5) == pytest.approx((math.log(2) - 0.5) / 2)


def test_approximate_kl_keeps_its_digits_near_zero():
    tiny = torch.tensor([1e-4])  # x^2 / 2; exp(x) - 1 - x in float32 keeps no digit of it
    assert approximate_kl(tiny).item() == pytest.approx(5e-9, rel=0.01)


def test_approximate_kl_estimates_the_divergence():
    old, new = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])
    action: Tensor = torch.multinomial(old, 20_000, replacement=True)
    exact = (old * (old / new).log()).sum().item()
    assert approximate_kl((new / old).log()[action]).item() == pytest.approx(exact, abs=0.01)
