"""The step of a policy along its natural gradient, as far as a trust region allows.

It stands beside `Learner.minimize` because it is not a step of an optimizer: its length follows
from a bound on how far the policy may move, and a step that breaks the bound is undone. Like a
learner it holds its parameters as one flat vector.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from rlrun.functional.trust_region import (
    backtrack,
    conjugate_gradient,
    curvature_product,
    flat_gradient,
    largest_step,
)
from rlrun.nets.learner import flatten
from rlrun.types import Diverged

Batch = TypeVar("Batch")
TrustFn: TypeAlias = Callable[[Batch], tuple[Tensor, Tensor]]
"""From a batch to the scalar to minimise and the mean KL divergence from the policy before."""


class NaturalGradient:
    """Minimises a loss over a policy's parameters while its mean KL divergence stays bounded."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        target_kl: float,
        cg_max_steps: int,
        cg_damping: float,
        shrinking_factor: float,
        max_iter: int,
    ) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.flat = flatten(self.parameters).detach()
        self.target_kl = target_kl
        self.cg_max_steps, self.cg_damping = cg_max_steps, cg_damping
        self.shrinking_factor, self.max_iter = shrinking_factor, max_iter

    def step(self, trust_fn: TrustFn[Batch], rows: Batch, sample: Batch) -> dict[str, Tensor]:
        """Take one step, or none; return the KL divergence after it and whether it was taken.

        The curvature is measured on `sample`, everything else on `rows`; the two may be the same.
        A step is kept if it lowers the loss and the divergence, measured with the new parameters,
        is at most `target_kl`. Raises Diverged, before any parameter changes, when the gradient is
        not finite.
        """
        loss, divergence = trust_fn(rows)
        if sample is not rows:
            _, divergence = trust_fn(sample)
        gradient = flat_gradient(loss, self.parameters)
        norm = float(gradient.norm())
        if not norm < float("inf"):
            raise Diverged(f"the policy gradient's norm is {norm}")
        product = curvature_product(divergence, self.parameters, self.cg_damping)
        direction = conjugate_gradient(product, -gradient, self.cg_max_steps)
        step = largest_step(direction, product, self.target_kl)
        return self._search(trust_fn, rows, loss.detach(), step)

    @torch.no_grad()
    def _search(
        self, trust_fn: TrustFn[Batch], rows: Batch, loss: Tensor, step: Tensor
    ) -> dict[str, Tensor]:
        start = self.flat.clone()
        after = (loss, torch.zeros_like(loss))

        def accept(fraction: float) -> bool:
            nonlocal after
            torch.add(start, step, alpha=fraction, out=self.flat)
            after = trust_fn(rows)
            return bool((after[0] < loss) & (after[1] <= self.target_kl))

        fraction = backtrack(accept, self.shrinking_factor, self.max_iter)
        if fraction is None:
            self.flat.copy_(start)
            after = trust_fn(rows)
        return {
            "train/policy_gradient_loss": after[0],
            "train/approx_kl": after[1],
            "train/line_search_success": torch.tensor(float(fraction is not None)),
            "train/line_search_fraction": torch.tensor(fraction or 0.0),
        }
