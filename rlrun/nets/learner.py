"""The one place through which every gradient goes.

All parameters of a learner live in one flat vector, of which the modules' own parameters are
views. Clipping, the check for finite numbers and the optimizer's step are then one operation each
instead of one for every layer, which on small networks is a third of the time of an update.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from rlrun.nets.optimizer import Adam, RMSprop
from rlrun.nets.tracing import traced
from rlrun.types import Diverged, Transform

Batch = TypeVar("Batch")
LossFn: TypeAlias = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]
"""From a batch to the scalar to minimise and named scalars worth logging."""
Gradient: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]
"""The loss, its gradient over all parameters `[P]`, and the metrics."""
Outcome: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]
"""A step's loss, the norm of its gradient, and the metrics."""
Stepped: TypeAlias = tuple[Tensor | None, Outcome]
"""Where a step leads to, `[P]`, or None where it was taken; and its outcome."""


class Learner:
    """Minimises losses over a set of parameters.

    `betas` are Adam's; `max_grad_norm` None means no clipping. The learning rate is set from
    outside, by a schedule. `updates` counts the steps this process has taken. `precision` is that
    of the products a loss is made of; all else, parameters included, stays float32. `within` gives
    what is entered for a step on a batch: a setting of the process that only its products need.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        optimizer: Literal["adam", "rmsprop"] = "adam",
        epsilon: float = 1e-8,
        betas: tuple[float, float] = (0.9, 0.999),
        max_grad_norm: float | None = None,
    ) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.max_grad_norm = max_grad_norm
        self.flat = flatten(self.parameters).detach()
        self.learning_rate = 0.0
        self.precision = torch.float32
        self.within: Callable[[Any], AbstractContextManager[Any]] = nullcontext
        self.updates = 0
        self._transform: Transform | None = None
        self._transformed: dict[LossFn[Any], Callable[[Any], Stepped]] = {}
        # a compiler would make another graph for every number
        self._rate = torch.zeros((), dtype=torch.float64, device=self.flat.device)
        self.optimizer = (
            Adam(self.flat, betas=betas, epsilon=epsilon)
            if optimizer == "adam"
            else RMSprop(self.flat, alpha=0.99, epsilon=epsilon)
        )

    def minimize(self, loss_fn: LossFn[Batch], batch: Batch) -> dict[str, Tensor]:
        """Take one step down the gradient of `loss_fn(batch)`; return its metrics.

        Raises Diverged, before any parameter changes, when the gradient is not finite. On CUDA,
        where knowing that would mean waiting, it is taken as 0, or compiled not taken at all, and
        found when the metrics are read.
        """
        with self.within(batch):
            if self._transform is None:
                _, (loss, norm, metrics) = self._step(loss_fn, batch)
            else:
                self._rate.fill_(self.learning_rate)
                moved, (loss, norm, metrics) = self._through(self._transform, loss_fn)(batch)
                if moved is not None:
                    if not norm.is_cuda:
                        finite(norm.item())
                    self.flat.copy_(moved)
        self.updates += 1
        return {**metrics, "train/loss": loss, "train/grad_norm": norm}

    @property
    def lasting(self) -> list[Tensor]:
        """The tensors of a step that stay where they are from one to the next."""
        return [*self.parameters, self.flat, self._rate, *self.optimizer.state.values()]

    def transform(self, transform: Transform | None) -> None:
        """Take every step through `transform`, such as a compiler, or plainly again."""
        self._transform = transform
        self._transformed = {}

    def _through(self, transform: Transform, loss_fn: LossFn[Any]) -> Callable[[Any], Stepped]:
        if loss_fn not in self._transformed:

            def function(batch: Any) -> Stepped:
                return self._step(loss_fn, batch)

            self._transformed[loss_fn] = transform(function)
        return self._transformed[loss_fn]

    def _step(self, loss_fn: LossFn[Batch], batch: Batch) -> Stepped:
        """Take a step; when compiled, only compute where it leads to.

        The modules' parameters are views of what it changes, of which a compiler has to assume the
        worst, and a gradient that is not finite is found by reading it, which no graph can do.
        """
        loss, grad, metrics = differentiate(loss_fn, self.parameters, batch, self.precision)
        with torch.no_grad():
            norm = grad.norm()
            if not traced():
                self._clip(grad, norm)
                self.optimizer.step(self.flat, grad, self.learning_rate)
                return None, (loss, norm, metrics)
            if self.max_grad_norm is not None:
                grad = grad * (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
            moved = self.optimizer.moved(self.flat, grad, self._rate, norm.isfinite())
        return moved, (loss, norm, metrics)

    def _clip(self, grad: Tensor, norm: Tensor) -> None:
        if grad.is_cuda:  # reading the norm would wait for the device: scale by a tensor instead
            limit = float("inf") if self.max_grad_norm is None else self.max_grad_norm
            scale = (limit / (norm + 1e-6)).clamp(max=1.0)
            grad.nan_to_num_(0.0, 0.0, 0.0).mul_(torch.where(norm.isfinite(), scale, 0.0))
            return
        length = finite(norm.item())
        if self.max_grad_norm is not None and length > self.max_grad_norm:
            grad.mul_(self.max_grad_norm / (length + 1e-6))

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's own tensors, all laid out like the flat parameter vector."""
        return dict(self.optimizer.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the optimizer's tensors back; an empty state is that of a fresh optimizer."""
        self.optimizer.load(state)


def differentiate(
    loss_fn: LossFn[Batch],
    parameters: Sequence[Tensor],
    batch: Batch,
    precision: torch.dtype = torch.float32,
) -> Gradient:
    """Return the loss, its gradient as one vector, and the metrics, all detached.

    Products of matrices are made in `precision`, and so are those of the gradient.
    """
    if precision == torch.float32:
        loss, metrics = loss_fn(batch)
    else:
        # its cache gives a weight first seen under no_grad no gradient later (pytorch issue 112583)
        with torch.autocast(parameters[0].device.type, precision, cache_enabled=False):
            loss, metrics = loss_fn(batch)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    parts = zip(found, parameters, strict=True)
    flat = [(torch.zeros_like(own) if part is None else part).reshape(-1) for part, own in parts]
    return loss.detach(), torch.cat(flat), metrics


def finite(length: float) -> float:
    """Return a gradient's length. Raises Diverged where it is not finite."""
    if not length < float("inf"):
        raise Diverged(f"the gradient's norm is {length}")
    return length


def flatten(parameters: list[nn.Parameter]) -> nn.Parameter:
    """Move parameters into one contiguous vector and make each a view of its part."""
    flat = nn.Parameter(torch.cat([parameter.detach().reshape(-1) for parameter in parameters]))
    offset = 0
    for parameter in parameters:
        size = parameter.numel()
        parameter.data = flat.data[offset : offset + size].view_as(parameter)
        offset += size
    return flat


def mean_metrics(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each metric over several minimisation steps, still as tensors."""
    if len(rows) < 2:
        return dict(rows[0]) if rows else {}
    return {key: torch.stack([row[key] for row in rows]).mean() for key in rows[0]}
