import math

import pytest
import torch

from rlrun.functional.distributions import Bernoulli, Categorical, Gaussian, frozen
from rlrun.functional.trust_region import (
    backtrack,
    conjugate_gradient,
    curvature_product,
    flat_gradient,
    largest_step,
    surrogate,
)


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matrix_of(product, size: int) -> torch.Tensor:
    """Return the matrix of a linear map, column by column."""
    return torch.stack([product(column) for column in torch.eye(size, dtype=torch.float64)], -1)


def test_surrogate_by_hand():
    log_ratio = torch.tensor([math.log(1.5), math.log(0.5)], requires_grad=True)
    result = surrogate(log_ratio, torch.tensor([2.0, -3.0]))
    assert result.tolist() == pytest.approx([-3.0, 1.5])
    (slope,) = torch.autograd.grad(result.sum(), log_ratio)
    assert slope.tolist() == pytest.approx([-3.0, 1.5])
    with pytest.raises(ValueError, match="shapes differ"):
        surrogate(log_ratio, torch.ones(2, 1))


def test_a_flat_gradient_keeps_the_order_and_fills_in_zeros():
    first, unused = vector(1, 2).requires_grad_(), vector(5).requires_grad_()
    last = vector(3).reshape(1, 1).requires_grad_()
    scalar = (first.square().sum() * last).sum()
    assert flat_gradient(scalar, [first, unused, last]).tolist() == [6.0, 12.0, 0.0, 5.0]


def test_fisher_matrix_of_a_softmax_by_hand():
    probability = vector(0.5, 0.3, 0.2)
    logits = probability.log().requires_grad_()
    divergence = frozen(Categorical(logits)).kl(Categorical(logits))
    by_hand = [[0.25, -0.15, -0.1], [-0.15, 0.21, -0.06], [-0.1, -0.06, 0.16]]  # diag p - p p^T
    fisher = matrix_of(curvature_product(divergence, [logits], 0.0), 3)
    torch.testing.assert_close(fisher, torch.tensor(by_hand, dtype=torch.float64))
    damped = matrix_of(curvature_product(divergence, [logits], 0.5), 3)
    torch.testing.assert_close(damped - fisher, 0.5 * torch.eye(3, dtype=torch.float64))


def test_fisher_matrix_of_a_gaussian_by_hand():
    mean, log_std = vector(0.7).requires_grad_(), vector(math.log(2.0)).requires_grad_()
    new = Gaussian(mean, log_std)
    fisher = matrix_of(curvature_product(frozen(new).kl(new), [mean, log_std], 0.0), 2)
    assert fisher.tolist() == [pytest.approx([0.25, 0.0]), pytest.approx([0.0, 2.0])]


HEADS = {
    "categorical": lambda out, _: Categorical(out),
    "bernoulli": lambda out, _: Bernoulli(out),
    "gaussian": lambda out, log_std: Gaussian(out, log_std),
}


@pytest.mark.parametrize("kind", HEADS)
def test_fisher_product_of_a_network_agrees_with_the_explicit_hessian(kind):
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    shapes = [(4, 3), (4,), (2, 4), (2,), (2,)]
    parts = [torch.randn(*s, generator=generator, dtype=torch.float64) * 0.7 for s in shapes]

    def policy(w, b, v, c, log_std):
        return HEADS[kind](torch.tanh(obs @ w.T + b) @ v.T + c, log_std)

    old = frozen(policy(*parts))

    def divergence_of(flat):
        pieces = flat.split([math.prod(shape) for shape in shapes])
        at = policy(*(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)))
        return old.kl(at).mean()

    flat = torch.cat([part.reshape(-1) for part in parts])
    hessian = torch.autograd.functional.hessian(divergence_of, flat)
    parameters = [part.requires_grad_() for part in parts]
    product = curvature_product(old.kl(policy(*parameters)).mean(), parameters, 0.1)
    expected = hessian + 0.1 * torch.eye(len(flat), dtype=torch.float64)
    torch.testing.assert_close(matrix_of(product, len(flat)), expected)
    assert torch.linalg.eigvalsh(hessian).min() > -1e-12
    assert hessian.abs().max() > 0.01


def test_curvature_of_any_function_and_of_a_straight_line():
    point = vector(2.0, 3.0).requires_grad_()
    bent = point[0].pow(3) * point[1]  # Hessian [[6 x y, 3 x^2], [3 x^2, 0]]
    assert matrix_of(curvature_product(bent, [point], 0.0), 2).tolist() == [[36, 12], [12, 0]]
    straight = point.sum()
    assert matrix_of(curvature_product(straight, [point], 0.1), 2).tolist() == [[0.1, 0], [0, 0.1]]
    with pytest.raises(ValueError, match="shapes differ"):
        curvature_product(bent, [point], 0.0)(vector(1.0))


def test_conjugate_gradient_by_hand():
    matrix, target = torch.stack([vector(4, 1), vector(1, 3)]), vector(1, 2)
    one = conjugate_gradient(matrix.mv, target, 1)
    assert one.tolist() == pytest.approx([0.25, 0.5])  # (r.r = 5) / (r.Ar = 20) of the target
    two = conjugate_gradient(matrix.mv, target, 2)
    assert two.tolist() == pytest.approx([1 / 11, 7 / 11])
    assert target.tolist() == [1, 2]


def test_conjugate_gradient_agrees_with_solving():
    generator = torch.Generator().manual_seed(1)
    half = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    matrix = half @ half.T + 0.5 * torch.eye(12, dtype=torch.float64)
    target = torch.randn(12, generator=generator, dtype=torch.float64)
    solution = conjugate_gradient(matrix.mv, target, 40, tolerance=1e-24)
    torch.testing.assert_close(solution, torch.linalg.solve(matrix, target))


def test_conjugate_gradient_stops_when_it_is_there():
    asked = []

    def doubled(v):
        asked.append(v)
        return 2 * v

    assert conjugate_gradient(doubled, vector(1, 2, 3), 10).tolist() == [0.5, 1.0, 1.5]
    assert len(asked) == 1
    assert conjugate_gradient(doubled, vector(0, 0, 0), 10).tolist() == [0, 0, 0]
    assert len(asked) == 1


def test_largest_step_by_hand():
    def product(v):
        return vector(2, 8) * v

    assert largest_step(vector(1, 0), product, 0.01).tolist() == pytest.approx([0.1, 0.0])
    step = largest_step(vector(-3, 2), product, 0.01)
    assert (0.5 * step @ product(step)).item() == pytest.approx(0.01)
    assert (step / step[0]).tolist() == pytest.approx([1.0, -2 / 3])


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_without_curvature_there_is_no_step(sign):
    assert largest_step(vector(1, 2), lambda v: sign * v, 0.01).tolist() == [0.0, 0.0]


def test_backtracking_by_hand():
    tried = []

    def below(limit):
        def accept(fraction):
            tried.append(fraction)
            return fraction < limit

        return accept

    assert backtrack(below(0.3), 0.5, 10) == 0.25
    assert tried == [1.0, 0.5, 0.25]
    assert backtrack(below(0.3), 0.5, 3) == 0.25
    assert backtrack(below(0.3), 0.5, 2) is None
    assert backtrack(below(2.0), 0.5, 10) == 1.0
