"""Proportional priorities: draws, and the weights that make up for them.

Schaul et al. 2016, "Prioritized experience replay", arXiv:1511.05952, section 3.3 and 3.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlrun.config import option
from rlrun.functional.schedules import Schedule

FAN_OUT = 256
"""Children of a node: three levels hold 16 million leaves, each level a handful of operations."""


@dataclass(frozen=True, kw_only=True)
class PrioritizedConfig:
    """Options of prioritized replay, under `algo.priority`."""

    alpha: float = option("how much the error counts; 0 draws uniformly", at_least=0)
    beta: Schedule = option("how much the weights correct; 1 fully", at_least=0, at_most=1)
    epsilon: float = option("added to every error, so that none is never drawn again", above=0)


class Priorities:
    """One priority for each of `size` entries, in a tree of sums; all work is on whole batches.

    An entry of priority 0 is never drawn. Sums are taken anew from the children at every change,
    in float64, so no error builds up.
    """

    def __init__(self, config: PrioritizedConfig, size: int, device: torch.device) -> None:
        self.config = config
        self.beta = config.beta(0.0)
        self._largest = torch.ones((), dtype=torch.float64, device=device)
        self._levels: list[Tensor] = []  # the leaves first, the root's children last
        while not self._levels or size > 1:
            size = -(-size // FAN_OUT)
            shape = (size, FAN_OUT)
            self._levels.append(torch.zeros(shape, dtype=torch.float64, device=device))

    @staticmethod
    def bytes_for(size: int) -> int:
        """Return the memory that `size` entries need."""
        total = 0
        while total == 0 or size > 1:
            size = -(-size // FAN_OUT)
            total += size * FAN_OUT * 8
        return total

    def begin(self, start: int, stop: int) -> None:
        """Give new entries the largest priority there has been, so that each is soon drawn."""
        self._fill(start, stop, self._largest)

    def clear(self, start: int, stop: int) -> None:
        """Give entries the priority 0."""
        self._fill(start, stop, torch.zeros_like(self._largest))

    def update(self, index: Tensor, error: Tensor) -> None:
        """Set the priorities of entries `[B]` from their errors `[B]`."""
        error = error.detach().abs().double()
        priority = (error + self.config.epsilon).pow_(self.config.alpha)
        torch.maximum(self._largest, priority.amax(), out=self._largest)
        self._levels[0].view(-1).index_copy_(0, index, priority)
        for level, above in zip(self._levels, self._levels[1:], strict=False):
            index = index // FAN_OUT
            above.view(-1).index_copy_(0, index, level.index_select(0, index).sum(1))

    def draw(self, count: int, entries: int) -> tuple[Tensor, Tensor]:
        """Return drawn entries `[B]` and their weights `[B]`, the largest 1, float32.

        Each draw comes from a B-th of the total of its own. `entries` is how many are not 0.
        """
        total = self._levels[-1].sum()
        share = torch.arange(count, dtype=torch.float64, device=total.device)
        mass = share.add_(torch.rand_like(share)).mul_(total / count)
        node = torch.zeros_like(mass, dtype=torch.int64)
        priority = mass
        for level in reversed(self._levels):
            children = level.index_select(0, node)
            upto = children.cumsum(1)
            # rounding must not carry the draw past the last child, to one of priority 0
            mass = torch.minimum(mass, upto[:, -1] * (1.0 - 1e-12)).unsqueeze(1)
            child = (upto <= mass).sum(1, keepdim=True)
            priority = children.gather(1, child)
            mass = (mass - upto.gather(1, child) + priority).squeeze(1)
            node = node * FAN_OUT + child.squeeze(1)
        weight = (priority.squeeze(1) * (entries / total)).pow_(-self.beta)
        return node, (weight / weight.amax()).float()

    def probability(self) -> Tensor:
        """Return the probability of each entry, float64."""
        leaves = self._levels[0].view(-1)
        return leaves / leaves.sum()

    def state_dict(self) -> dict[str, Any]:
        """Return the priorities."""
        return {"leaves": self._levels[0], "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the priorities back."""
        self._largest.copy_(state["largest"])
        self._levels[0].copy_(state["leaves"])
        for level, above in zip(self._levels, self._levels[1:], strict=False):
            above.view(-1)[: len(level)] = level.sum(1)

    def _fill(self, start: int, stop: int, value: Tensor) -> None:
        self._levels[0].view(-1)[start:stop] = value
        for level, above in zip(self._levels, self._levels[1:], strict=False):
            start, stop = start // FAN_OUT, -(-stop // FAN_OUT)
            above.view(-1)[start:stop] = level[start:stop].sum(1)
