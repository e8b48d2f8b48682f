"""Counts environment steps and updates, and says when something periodic is due."""

from collections.abc import Mapping
from typing import Any

from rlrun.types import Fragment


class Clock:
    """Time in environment steps over all environments.

    An algorithm that plans takes no steps; its clock counts updates (sweeps) instead.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.steps = 0
        self.updates = 0
        self.previous = 0

    @property
    def progress(self) -> float:
        """How much of the budget is spent, in [0, 1]."""
        return min(self.steps / self.total, 1.0)

    def advance(self, fragment: Fragment) -> None:
        """Count a fragment's steps and one update."""
        self.previous = self.steps
        self.updates += 1
        self.steps += fragment.reward.numel() if len(fragment.reward) else 1

    def advance_to(self, steps: int, updates: int) -> None:
        """Take over counts that were kept elsewhere."""
        self.previous = self.steps
        self.steps, self.updates = steps, updates

    def crossed(self, period: int) -> bool:
        """Say whether the last advance reached a multiple of `period`; 0 means never."""
        return period > 0 and self.steps // period > self.previous // period

    def state_dict(self) -> dict[str, int]:
        """Return the counters."""
        return {"steps": self.steps, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the counters back."""
        self.steps = self.previous = int(state["steps"])
        self.updates = int(state["updates"])
