"""The mathematics of a step inside a trust region.

Schulman et al. 2015, "Trust region policy optimization", arXiv:1502.05477; its appendix C has the
conjugate gradient, the Fisher-vector product and the line search. Vectors are flat, `[P]`, one
number for each of P parameters.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from rlrun.functional.returns import same_shape

VectorFn: TypeAlias = Callable[[Tensor], Tensor]
"""From a vector `[P]` to a vector `[P]`: a linear map that nobody writes down as a matrix."""


def surrogate(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """Return the negative surrogate objective -r A with r = exp(log_ratio), `[B]`.

    Source: Schulman et al. 2015, eq. 14.
    """
    same_shape(log_ratio, advantage)
    return -log_ratio.exp() * advantage


def flat_gradient(
    scalar: Tensor, parameters: Sequence[Tensor], *, differentiable: bool = False
) -> Tensor:
    """Return the gradient of a scalar as one vector `[P]`; zeros for what it does not depend on.

    The graph of `scalar` is kept; `differentiable` gives the gradient a graph of its own.
    """
    parts = torch.autograd.grad(
        scalar,
        parameters,
        retain_graph=True,
        create_graph=differentiable,
        materialize_grads=True,
    )
    return torch.cat([part.reshape(-1) for part in parts])


def curvature_product(scalar: Tensor, parameters: Sequence[Tensor], damping: float) -> VectorFn:
    """Return v -> H v + damping v, where H `[P, P]` is the Hessian of a scalar.

    The Hessian of the mean KL divergence, taken where both policies are the same, is the Fisher
    information matrix. Each product is one backward pass through the gradient.
    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian"; Schulman et al. 2015,
    appendix C.1.
    """
    gradient = flat_gradient(scalar, parameters, differentiable=True)

    def product(vector: Tensor) -> Tensor:
        same_shape(vector, gradient)
        if not gradient.requires_grad:  # the scalar is at most linear in every parameter
            return damping * vector
        return flat_gradient(gradient @ vector, parameters).add_(vector, alpha=damping)

    return product


def conjugate_gradient(
    product: VectorFn, target: Tensor, max_steps: int, tolerance: float = 1e-10
) -> Tensor:
    """Return x `[P]` with A x close to `target`, for a symmetric positive definite A.

    `product` is v -> A v. Stops after `max_steps` or once the squared residual is below
    `tolerance`; P steps are exact but for rounding. Zeros give zeros.
    Source: Hestenes & Stiefel 1952; Nocedal & Wright 2006, algorithm 5.2.
    """
    solution = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    squared = residual @ residual
    for _ in range(max_steps):
        if squared < tolerance:
            break
        image = product(direction)
        length = squared / (direction @ image)
        solution += length * direction
        residual -= length * image
        previous, squared = squared, residual @ residual
        direction = residual + (squared / previous) * direction
    return solution


def largest_step(direction: Tensor, product: VectorFn, target_kl: float) -> Tensor:
    """Return `direction` `[P]` stretched until the quadratic model of the KL is `target_kl`.

    beta x with beta = sqrt(2 delta / x^T H x), `product` being v -> H v. Zeros where the
    model has no positive curvature along it, so that there is no length to give.
    Source: Schulman et al. 2015, appendix C.
    """
    curvature = direction @ product(direction)
    return torch.where(curvature > 0, (2.0 * target_kl / curvature).sqrt() * direction, 0.0)


def backtrack(
    accept: Callable[[float], bool], shrinking_factor: float, max_iter: int
) -> float | None:
    """Return the first of 1, c, c^2, ... that is accepted, of `max_iter` at most, or None.

    c is `shrinking_factor`. Source: Schulman et al. 2015, appendix C.
    """
    for exponent in range(max_iter):
        fraction = shrinking_factor**exponent
        if accept(fraction):
            return fraction
    return None
