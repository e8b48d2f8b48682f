"""Memory of sequences, for networks that remember: what happened in its order, with their carry.

Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement learning",
section 3: a sequence begins with the carry that was there when it was collected, and its first
steps only bring that carry up to date with the weights of today.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.config import ConfigError, Problem, option
from rlrun.data.capacity import check_capacity
from rlrun.data.replay import Batch
from rlrun.data.store import numbered, unnumbered
from rlrun.types import Carry, EnvSpec, Fragment, History, map_obs, starts


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """Options of replay for networks with memory."""

    burn_in: int = option("steps that only bring the memory up to date", at_least=0)
    length: int = option("steps after them that are learned from", at_least=1)


class SequenceReplay:
    """Keeps the newest `capacity` steps and draws sequences that begin where fragments began.

    Storage is a ring of fragments of `horizon` steps, `[rows, N, ...]`. Raises ConfigError when
    `capacity` is smaller than a batch or than a sequence, or does not fit into free memory.
    """

    def __init__(
        self,
        config: SequenceConfig,
        capacity: int,
        spec: EnvSpec,
        device: torch.device,
        *,
        horizon: int,
        batch_size: int = 1,
        gamma: float = 1.0,
    ) -> None:
        check_capacity(capacity, spec, device, batch_size, prioritized=False)
        self.burn_in, self.length, self.gamma = config.burn_in, config.length, gamma
        self.device, self.horizon = device, horizon
        self.added = 0
        """Transitions that ever came in."""
        self.priorities = None
        self._num_envs = spec.num_envs
        self._keys = spec.obs_space.spaces if isinstance(spec.obs_space, spaces.Dict) else ()
        self._fragments = capacity // spec.num_envs // horizon
        self._rows = self._fragments * horizon
        if self._rows <= self.burn_in + self.length + horizon:
            reason = (
                f"{capacity} holds {self._rows} steps of each environment, less than a sequence of "
                f"algo.sequence.burn_in + length = {self.burn_in + self.length} and a fragment"
            )
            raise ConfigError(Problem("algo.buffer_size", reason))
        self._next = self._filled = 0
        self._columns: dict[str, Any] = {}
        self._carry: Carry = ()

    def __len__(self) -> int:
        return self._filled * self.horizon * self._num_envs

    @property
    def ready(self) -> bool:
        """Whether there is a whole sequence with a successor."""
        return self._starts() > 0

    def add(self, fragment: Fragment) -> None:
        """Store a fragment `[horizon, N, ...]`: the one after the last."""
        columns = {
            "obs": fragment.obs,
            "action": fragment.action,
            "reward": fragment.reward,
            "terminated": fragment.terminated,
            "done": fragment.done,
        }
        if not self._columns:
            self._columns = {
                name: map_obs(lambda leaf: _zeros(self._rows, leaf), column)
                for name, column in columns.items()
            }
            self._carry = tuple(_zeros(self._fragments, part, 0) for part in fragment.carry)
        low = self._next * self.horizon
        place = slice(low, low + self.horizon)
        for name, column in columns.items():
            map_obs(lambda own, leaf: own[place].copy_(leaf), self._columns[name], column)
        for own, part in zip(self._carry, fragment.carry, strict=True):
            own[self._next] = part
        self._next = (self._next + 1) % self._fragments
        self._filled = min(self._filled + 1, self._fragments)
        self.added += self.horizon * self._num_envs

    def sample(self, size: int) -> Batch:
        """Draw `size / length` sequences, at least one; there must be one.

        The batch's rows are their steps after the burn-in, less those at which an episode was cut:
        what followed those is not stored. Its observations are histories with these rows chosen.
        """
        count = max(size // self.length, 1)
        oldest = (self._next - self._filled) % self._fragments
        fragment = (oldest + torch.randint(self._starts(), (count,))) % self._fragments
        env = torch.randint(self._num_envs, (count,))
        steps = torch.arange(self.burn_in + self.length + 1).unsqueeze(1)
        rows = (fragment * self.horizon + steps) % self._rows
        obs, action, reward, terminated, done = (
            map_obs(lambda leaf: leaf[rows, env], self._columns[name])
            for name in ("obs", "action", "reward", "terminated", "done")
        )
        learned = (steps >= self.burn_in) & (steps < len(steps) - 1)
        chosen = learned.to(self.device) & (terminated | ~done)
        now = History(obs, starts(done), tuple(part[fragment, env] for part in self._carry), chosen)
        after = now._replace(chosen=starts(chosen))  # the step after each
        reward = reward[chosen]
        discount = self.gamma * (~terminated[chosen]).float()
        none = torch.empty(0, dtype=torch.int64)
        return Batch(now, action[chosen], reward, after, discount, torch.ones_like(reward), none)

    def update_priorities(self, index: Tensor, td_error: Tensor) -> None:
        """Draws are uniform: there is nothing to remember of their errors."""

    def state_dict(self) -> dict[str, Any]:
        """Return counters and contents; nothing before the first fragment."""
        if not self._columns:
            return {}
        rest = {name: column for name, column in self._columns.items() if name != "obs"}
        return {
            "obs": numbered(self._columns["obs"]),
            "columns": rest,
            "carry": {str(number): part for number, part in enumerate(self._carry)},
            "added": self.added,
            "next": self._next,
            "filled": self._filled,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take contents back; the episodes that were under way count as cut."""
        if not state:
            return
        obs = unnumbered(state["obs"], list(self._keys))
        columns = {"obs": obs, **state["columns"]}
        self._columns = {
            name: map_obs(lambda leaf: leaf.to(self.device).clone(), column)
            for name, column in columns.items()
        }
        self._carry = tuple(
            state["carry"][str(number)].to(self.device).clone()
            for number in range(len(state["carry"]))
        )
        self.added = int(state["added"])
        self._next, self._filled = int(state["next"]), int(state["filled"])
        self._columns["done"][(self._next * self.horizon - 1) % self._rows] = True

    def _starts(self) -> int:
        """Return the fragments from whose first step a sequence and its successor are stored."""
        steps = self._filled * self.horizon
        return (steps - self.burn_in - self.length - 1) // self.horizon + 1


def _zeros(rows: int, leaf: Tensor, axes: int = 1) -> Tensor:
    return torch.zeros((rows, *leaf.shape[axes:]), dtype=leaf.dtype, device=leaf.device)
