import math

import pytest
import torch
from torch import nn

from rlrun.functional.distributions import Bernoulli, frozen
from rlrun.nets.natural_gradient import NaturalGradient
from rlrun.types import Diverged


def build(*starts: float, **changes):
    parameters = [nn.Parameter(torch.tensor([start])) for start in starts]
    options = {"target_kl": 0.02, "cg_max_steps": 10, "cg_damping": 0.0}
    options |= {"shrinking_factor": 0.5, "max_iter": 10, **changes}
    return NaturalGradient(parameters, **options), parameters


def test_a_step_by_hand():
    natural, (logit,) = build(0.0)
    old = frozen(Bernoulli(logit))
    moved = natural.step(lambda bit: (-(bit * logit).sum(), old.kl(Bernoulli(logit))), 1.0, 1.0)
    # the Fisher information is 1/4, so the step sqrt(2 * 0.02 / (1/4)), whatever the gradient
    assert logit.item() == pytest.approx(0.4)
    assert float(moved["train/approx_kl"]) == pytest.approx(math.log(math.cosh(0.2)), rel=1e-4)
    assert float(moved["train/policy_gradient_loss"]) == pytest.approx(-0.4)
    assert float(moved["train/line_search_success"]) == 1.0
    assert float(moved["train/line_search_fraction"]) == 1.0


def test_the_step_is_the_natural_gradient_of_all_parameters():
    natural, (x, y) = build(1.0, 1.0)

    def trust(_):
        a, b = x - 1, y - 1
        return (-a - 4 * b).sum(), (2 * a**2 + 8 * b**2 - a**4).sum()

    natural.step(trust, None, None)
    # curvature 4 and 16: direction (1/4, 4/16), stretched by sqrt(2 * 0.02 / (1/4 + 1))
    stretch = math.sqrt(0.04 / 1.25) / 4
    assert [x.item(), y.item()] == pytest.approx([1 + stretch, 1 + stretch])


def test_damping_shortens_the_step():
    natural, (x,) = build(0.0, cg_damping=12.0)
    natural.step(lambda _: (-x.sum(), (2 * x**2).sum()), None, None)
    assert x.item() == pytest.approx(math.sqrt(0.04 / 16))


def test_a_step_that_goes_too_far_is_shortened_until_it_does_not():
    natural, (x,) = build(0.0)
    moved = natural.step(lambda _: (-x.sum(), (0.5 * x**2 + 5 * x**4).sum()), None, None)
    # 0.2 and 0.1 give 0.028 and 0.0055
    assert x.item() == pytest.approx(0.1)
    assert float(moved["train/line_search_fraction"]) == 0.5
    assert float(moved["train/approx_kl"]) == pytest.approx(0.0055)


@pytest.mark.parametrize(("excess", "expected"), [(0.0, 1.0), (1e-6, 0.5)])
def test_the_bound_itself_is_allowed_and_anything_above_is_not(excess, expected):
    natural, (x,) = build(0.0, target_kl=0.5)
    natural.step(lambda _: (-x.sum(), (0.5 * x**2).sum() + excess), None, None)
    assert x.item() == expected


REFUSED = {
    "the loss rises": lambda x: (-x + 100 * x**2, 0.5 * x**2),
    "the loss stays": lambda x: (x - x.detach(), 0.5 * x**2),
    "the policy moves too far": lambda x: (-x, 0.5 * x**2 + 0.1 * (x.detach().abs() > 0)),
    "a divergence is no number": lambda x: (-x, torch.where(x == 0, 0.5 * x**2, torch.nan)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_step_that_cannot_be_taken_is_undone(reason):
    natural, (x,) = build(0.0, max_iter=4)
    tried = []

    def trust(_):
        tried.append(x.item())
        return tuple(part.sum() for part in REFUSED[reason](x))

    moved = natural.step(trust, None, None)
    assert len({*tried} - {0.0}) == 4
    assert x.item() == 0.0
    assert float(moved["train/line_search_success"]) == 0.0
    assert float(moved["train/line_search_fraction"]) == 0.0
    assert float(moved["train/approx_kl"]) == 0.0


def test_curvature_may_come_from_other_rows():
    natural, (x,) = build(0.0)
    seen = []

    def trust(rows):
        seen.append(rows)
        return -x.sum(), (0.5 * rows * x**2).sum()

    natural.step(trust, 1.0, 4.0)
    assert x.item() == pytest.approx(math.sqrt(0.04 / 4))
    assert seen == [1.0, 4.0, 1.0]


def test_a_gradient_that_is_not_finite_is_refused_before_anything_changes():
    natural, (x,) = build(1.0)
    with pytest.raises(Diverged, match="nan"):
        natural.step(lambda _: ((x * torch.nan).sum(), (0.5 * (x - 1) ** 2).sum()), None, None)
    assert x.item() == 1.0
