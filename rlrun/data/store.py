"""The columns of a replay: a ring of entries, and the true successors of ended episodes apart.

Numbers that only this side reads are NumPy arrays, and rows on the CPU are moved through NumPy's
view of them: on 32 of them an operation costs a third of torch's. What networks read lies on their
device.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlrun.types import Fragment, Obs, leaves, map_obs

Index: TypeAlias = NDArray[np.int64]

FIRST_ROOM = 256
"""Ends there is room for at first; the room doubles when it is needed."""
NUMBERS = ("reward", "discount", "end")


class Store:
    """Columns `[total, ...]`, shaped after rows `[*, ...]` of observations and actions.

    `discount` is gamma, and 0 where the task ended. `end` is -1, or the number of the ended episode
    whose true successor is kept in `ends`: numbers count up, and number k lies in slot k modulo
    `room`. A slot is used again once no entry refers to it.
    """

    def __init__(self, obs: Obs, action: Tensor, total: int, gamma: float) -> None:
        def column(leaf: Tensor, rows: int = total) -> Tensor:
            return torch.zeros((rows, *leaf.shape[1:]), dtype=leaf.dtype, device=leaf.device)

        self.gamma = gamma
        self.obs: Obs = map_obs(column, obs)
        self.action = column(action)
        self.reward = np.zeros(total, np.float32)
        self.discount = np.zeros(total, np.float32)
        self.end = np.full(total, -1, np.int64)
        self.room, self.next_end, self.oldest_end = FIRST_ROOM, 0, 0
        self.ends: Obs = map_obs(lambda leaf: column(leaf, FIRST_ROOM), obs)

    def write(self, low: int, fragment: Fragment) -> int:
        """Fill the entries from `low` on with a fragment; return the first behind them."""
        high = low + fragment.reward.numel()
        map_obs(lambda column, leaf: put(column, low, high, leaf), self.obs, fragment.obs)
        put(self.action, low, high, fragment.action)
        self.reward[low:high] = flat(fragment.reward)
        self.discount[low:high] = self.gamma
        self.end[low:high] = -1
        terminated = flat(fragment.terminated)
        ended = (terminated | flat(fragment.truncated)).nonzero()[0]
        if len(ended):
            self.discount[low:high][terminated] = 0.0
            self._keep(
                ended + low,
                map_obs(lambda leaf: rows(leaf.flatten(0, 1), ended), fragment.next_obs),
            )
        return high

    def announce(self, low: int, next_obs: Obs) -> int:
        """Fill the entries from `low` on with the observation to come, `[N, ...]`."""
        high = low + leaves(next_obs)[0].shape[0]
        map_obs(lambda column, leaf: put(column, low, high, leaf), self.obs, next_obs)
        self.end[low:high] = -1
        return high

    def seal(self, newest: int, coming: int, width: int) -> None:
        """End the episodes that are under way at `newest`, with the observation at `coming`."""
        going = np.flatnonzero(self.end[newest : newest + width] < 0)
        self._keep(going + newest, map_obs(lambda leaf: rows(leaf, going + coming), self.obs))

    def successors(self, entry: Index, after: Index) -> Obs:
        """Return the true successors of entries `[B]`; `after` `[B]` are those a row later."""
        found: Obs = map_obs(lambda leaf: rows(leaf, after), self.obs)
        end = self.end[entry]
        ended = (end >= 0).nonzero()[0]
        if len(ended):
            slot = end[ended] % self.room
            map_obs(lambda leaf, apart: put_rows(leaf, ended, rows(apart, slot)), found, self.ends)
        return found

    def state_dict(self, entries: int) -> dict[str, Any]:
        """Return the first `entries` of each column, and the ends."""
        columns = {name: torch.from_numpy(getattr(self, name)[:entries]) for name in NUMBERS}
        numbers = {"next_end": self.next_end, "oldest_end": self.oldest_end, "room": self.room}
        obs: Obs = map_obs(lambda leaf: leaf[:entries], self.obs)
        kept = {
            "action": self.action[:entries],
            "obs": numbered(obs),
            "ends": numbered(self.ends),
        }
        return {**columns, **numbers, **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the contents back into a fresh store."""
        self.room = int(state["room"])
        self.next_end, self.oldest_end = int(state["next_end"]), int(state["oldest_end"])
        for name in NUMBERS:
            getattr(self, name)[: len(state[name])] = state[name].cpu().numpy()
        self.action[: len(state["action"])] = state["action"]
        for number, column in numbered(self.obs).items():
            column[: len(state["obs"][number])] = state["obs"][number]
        ends = unnumbered(state["ends"], self.ends)
        self.ends = map_obs(lambda leaf, old: leaf.to(old.device), ends, self.ends)

    def _keep(self, entries: Index, obs: Obs) -> None:
        """Keep true successors `[E, ...]` apart for the entries `[E]`."""
        count = len(entries)
        if self.next_end + count - self.oldest_end > self.room:
            self._make_room(count)
        number = np.arange(self.next_end, self.next_end + count)
        self.end[entries] = number
        slot = number % self.room
        map_obs(lambda ends, leaf: put_rows(ends, slot, leaf), self.ends, obs)
        self.next_end += count

    def _make_room(self, count: int) -> None:
        """Forget the ends that no entry refers to; where that frees less than half, grow."""
        used = self.end[self.end >= 0]
        self.oldest_end = int(used.min()) if len(used) else self.next_end
        held = np.arange(self.oldest_end, self.next_end)
        room = self.room
        while room < 2 * (len(held) + count):
            room *= 2
        if room > self.room:
            old, new, self.room = held % self.room, held % room, room

            def moved(leaf: Tensor) -> Tensor:
                larger = leaf.new_zeros((room, *leaf.shape[1:]))
                put_rows(larger, new, rows(leaf, old))
                return larger

            self.ends = map_obs(moved, self.ends)


def rows(column: Tensor, index: Index) -> Tensor:
    """Return the rows `[B, ...]` of a column, wherever it lies."""
    if column.is_cpu:
        return torch.from_numpy(column.numpy().take(index, 0))
    return column.index_select(0, placed(index, column))


def put_rows(column: Tensor, index: Index, leaf: Tensor) -> None:
    """Write rows `[B, ...]` to their places in a column."""
    if column.is_cpu:
        column.numpy()[index] = leaf.numpy()
    else:
        column.index_copy_(0, placed(index, column), leaf)


def put(column: Tensor, low: int, high: int, leaf: Tensor) -> None:
    """Write what a fragment `[T, N, ...]` or a step `[N, ...]` holds to rows `low` to `high`."""
    if column.is_cpu:
        part = column.numpy()[low:high]
        part[...] = leaf.numpy().reshape(part.shape)
    else:
        column[low:high] = leaf.flatten(0, 1) if leaf.ndim > column.ndim else leaf


def flat(numbers: Tensor) -> NDArray[Any]:
    """Return the numbers of a fragment `[T, N]` as one array `[T * N]`."""
    return numbers.cpu().numpy().reshape(-1)


def placed(index: Index, beside: Tensor) -> Tensor:
    """Return an index as a tensor on the device of another."""
    return torch.from_numpy(index).to(beside.device)


def unnumbered(state: Mapping[str, Tensor], like: Obs | list[str]) -> Obs:
    """Return an observation from its tensors by number; `like` has the names, if there are any."""
    if isinstance(like, Tensor) or not like:
        return state["0"]
    return {key: state[str(number)] for number, key in enumerate(sorted(like))}


def numbered(obs: Obs) -> dict[str, Tensor]:
    """Return an observation's tensors by number: a checkpoint's names may hold no slash."""
    return {str(number): leaf for number, leaf in enumerate(leaves(obs))}
