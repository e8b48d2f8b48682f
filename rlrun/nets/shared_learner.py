"""A learner for several processes: one set of parameters in memory that all of them share."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rlrun.nets.learner import Batch, Learner, LossFn, flatten


class SharedMemory(NamedTuple):
    """What the processes share: parameters and RMSprop's mean squares, both `[P]`."""

    parameters: Tensor
    mean_square: Tensor


class SharedLearner(Learner):
    """Takes gradients at a copy of the parameters, applies them to the shared ones, and copies.

    No lock is taken: now and then an update of one process is partly lost in that of another,
    which costs less than waiting.
    Source: Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", algorithm S3
    and section 4, shared RMSprop; Recht et al. 2011, "Hogwild!".
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, epsilon: float, max_grad_norm: float | None
    ) -> None:
        super().__init__(
            parameters, optimizer="rmsprop", epsilon=epsilon, max_grad_norm=max_grad_norm
        )
        mean_square = torch.zeros_like(self.flat.data).share_memory_()
        self.attach(SharedMemory(self.flat.data.share_memory_(), mean_square))
        self._copy = flatten(self.parameters).detach()

    @property
    def memory(self) -> SharedMemory:
        """What another process needs to `attach`."""
        return SharedMemory(self.flat.data, self.optimizer.state["square_avg"])

    def attach(self, memory: SharedMemory) -> None:
        """Learn into another process's memory from now on; `pull` takes over what it holds."""
        self.flat.data = memory.parameters
        self.optimizer.state["square_avg"] = memory.mean_square

    def pull(self) -> None:
        """Copy the shared parameters into the modules' own."""
        self._copy.copy_(self.flat.data)

    def minimize(self, loss_fn: LossFn[Batch], batch: Batch) -> dict[str, Tensor]:
        """Move the shared parameters down the gradient at the copy, then copy them anew.

        Raises Diverged, before any parameter changes, when the gradient is not finite.
        """
        metrics = super().minimize(loss_fn, batch)
        self.pull()
        return metrics

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the optimizer's tensors back, and let the modules' own parameters be the shared."""
        super().load_state_dict(state)
        self.flat.data.copy_(self._copy)
