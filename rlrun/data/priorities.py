"""Proportional priorities: draws, and the weights that make up for them.

Schaul et al. 2016, "Prioritized experience replay", arXiv:1511.05952, sections 3.3 and 3.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rlrun.config import option
from rlrun.functional.schedules import Schedule

FAN_OUT = 64
"""Children of a node: few levels, each a handful of operations on short rows."""
TOP = 16_384
"""Nodes of the uppermost level, at most: it is searched in one go."""
BELOW = 1.0 - 1e-12
"""Keeps a draw below the end of the last interval, however its sum was rounded."""


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
        # the leaves first; each number is the sum of FAN_OUT numbers of the level before
        self._levels = [
            torch.zeros(width, dtype=torch.float64, device=device) for width in _widths(size)
        ]

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
        self._levels[0].index_copy_(0, index, priority)
        for level, above in pairwise(self._levels):
            index = index // FAN_OUT
            above.index_copy_(0, index, level.view(-1, FAN_OUT).index_select(0, index).sum(1))

    def draw(self, count: int, entries: int) -> tuple[Tensor, Tensor]:
        """Return drawn entries `[B]` and their weights `[B]`, the largest 1, float32.

        Each draw comes from a B-th of the total of its own. `entries` is how many are not 0.
        """
        *lower, top = self._levels
        upto = top.cumsum(0)
        total = upto[-1]
        share = torch.arange(count, dtype=torch.float64, device=top.device)
        mass = share.add_(torch.rand_like(share)).mul_(total / count).clamp_(max=total * BELOW)
        node = torch.searchsorted(upto, mass, right=True)
        priority = top.index_select(0, node)
        rest = mass.sub_(upto.index_select(0, node)).add_(priority)
        for level in reversed(lower):
            children = level.view(-1, FAN_OUT).index_select(0, node)
            sums = children.cumsum(1)
            mass = torch.minimum(rest, sums[:, -1] * BELOW).unsqueeze(1)
            child = (sums <= mass).sum(1, keepdim=True)
            priority = children.gather(1, child).squeeze(1)
            rest = (mass - sums.gather(1, child)).squeeze(1) + priority
            node = node * FAN_OUT + child.squeeze(1)
        weight = (priority * (entries / total)).pow_(-self.beta)
        return node, (weight / weight.amax()).float()

    def probability(self) -> Tensor:
        """Return the probability of each entry, float64."""
        return self._levels[0] / self._levels[0].sum()

    def state_dict(self) -> dict[str, Any]:
        """Return the priorities."""
        return {"leaves": self._levels[0], "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the priorities back."""
        self._largest.copy_(state["largest"])
        self._levels[0].copy_(state["leaves"])
        self._sum(0, len(self._levels[0]))

    def _fill(self, start: int, stop: int, value: Tensor) -> None:
        self._levels[0][start:stop] = value
        self._sum(start, stop)

    def _sum(self, start: int, stop: int) -> None:
        """Take the sums above the leaves from `start` to `stop` anew."""
        for level, above in pairwise(self._levels):
            start, stop = start // FAN_OUT, -(-stop // FAN_OUT)
            above[start:stop] = level.view(-1, FAN_OUT)[start:stop].sum(1)


def bytes_for(size: int) -> int:
    """Return the memory that the priorities of `size` entries need."""
    return 8 * sum(_widths(size))


def _widths(size: int) -> list[int]:
    """Return the lengths of the levels; all but the last are multiples of FAN_OUT."""
    widths: list[int] = []
    while size > TOP or not widths:
        size = -(-size // FAN_OUT)
        widths.append(size * FAN_OUT)
    return [*widths, size]
