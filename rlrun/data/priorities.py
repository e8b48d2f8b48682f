"""Proportional priorities: draws, and the weights that make up for them.

Schaul et al. 2016, "Prioritized experience replay", arXiv:1511.05952, sections 3.3 and 3.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlrun.config import option
from rlrun.functional.schedules import Schedule

FAN_OUT = 64
"""Children of a node: few levels, each a handful of operations on short rows."""
TOP = 4_096
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

    def __init__(self, config: PrioritizedConfig, size: int) -> None:
        self.config = config
        self.beta = config.beta(0.0)
        self._largest = 1.0
        # the leaves first; each number is the sum of FAN_OUT numbers of the level before
        self._levels = [np.zeros(width) for width in _widths(size)]

    def begin(self, start: int, stop: int) -> None:
        """Give new entries the largest priority there has been, so that each is soon drawn."""
        self._fill(start, stop, self._largest)

    def clear(self, start: int, stop: int) -> None:
        """Give entries the priority 0."""
        self._fill(start, stop, 0.0)

    def update(self, index: NDArray[np.int64], error: NDArray[Any]) -> None:
        """Set the priorities of entries `[B]` from their errors `[B]`."""
        priority = (np.abs(error, dtype=np.float64) + self.config.epsilon) ** self.config.alpha
        self._largest = max(self._largest, float(priority.max()))
        self._levels[0][index] = priority
        for level, above in pairwise(self._levels):
            index = index // FAN_OUT
            above[index] = level.reshape(-1, FAN_OUT)[index].sum(1)

    def draw(self, count: int, entries: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return drawn entries `[B]` and their weights `[B]`, the largest 1.

        Each draw comes from a B-th of the total of its own. `entries` is how many are not 0.
        """
        *lower, top = self._levels
        upto = top.cumsum()
        total = upto[-1]
        row = np.arange(count)
        share = (torch.rand(count, dtype=torch.float64).numpy() + row) * (total / count)
        mass = np.minimum(share, total * BELOW)
        node = upto.searchsorted(mass, side="right")
        priority = top[node]
        rest = mass - upto[node] + priority
        for level in reversed(lower):
            sums = level.reshape(-1, FAN_OUT)[node].cumsum(1)
            mass = np.minimum(rest, sums[:, -1] * BELOW)
            child = (sums > mass[:, None]).argmax(1)
            node = node * FAN_OUT + child
            priority = level[node]
            rest = mass - sums[row, child] + priority
        weight = (priority * (entries / total)) ** -self.beta
        return node, (weight / weight.max()).astype(np.float32)

    def probability(self) -> NDArray[np.float64]:
        """Return the probability of each entry."""
        return np.asarray(self._levels[0] / self._levels[0].sum())

    def state_dict(self) -> dict[str, Any]:
        """Return the priorities."""
        return {"leaves": torch.from_numpy(self._levels[0]), "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the priorities back."""
        self._largest = float(state["largest"])
        self._levels[0][:] = state["leaves"].numpy()
        self._sum(0, len(self._levels[0]))

    def _fill(self, start: int, stop: int, value: float) -> None:
        self._levels[0][start:stop] = value
        self._sum(start, stop)

    def _sum(self, start: int, stop: int) -> None:
        """Take the sums above the leaves from `start` to `stop` anew."""
        for level, above in pairwise(self._levels):
            start, stop = start // FAN_OUT, -(-stop // FAN_OUT)
            above[start:stop] = level.reshape(-1, FAN_OUT)[start:stop].sum(1)


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
