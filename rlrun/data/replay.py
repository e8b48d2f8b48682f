"""Memory of transitions for methods that learn off-policy.

Storage is a ring of rows, one for each step of all N environments, flattened to entries so that a
draw is one index per column. A successor observation is the next row's, unless an episode ended:
only there it is stored apart. The row behind the newest holds the observation to come.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from gymnasium import Space, spaces
from torch import Tensor

from rlrun.config import ConfigError, Problem
from rlrun.data import priorities
from rlrun.data.memory import free_memory
from rlrun.data.minibatch import chunks
from rlrun.data.priorities import Priorities, PrioritizedConfig
from rlrun.data.store import Store, unnumbered
from rlrun.types import EnvSpec, Fragment, Obs, map_obs


class Batch(NamedTuple):
    """B drawn transitions: the target of a value is `reward + discount * next_value`.

    `reward` `[B]` is the discounted sum of up to `n_step` rewards, `next_obs` the true observation
    after the last of them, `discount` `[B]` gamma to their number, and 0 where the task ended.
    `weight` `[B]` corrects for prioritized draws, `index` `[B]` names what was drawn.
    """

    obs: Obs
    action: Tensor
    reward: Tensor
    next_obs: Obs
    discount: Tensor
    weight: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks for

    def split(self, size: int) -> list["Batch"]:
        """Return batches of `size` draws, without copying."""
        if len(self.reward) == size:
            return [self]
        columns = [chunks(column, size) for column in self]
        return [Batch(*parts) for parts in zip(*columns, strict=True)]


class Replay:
    """Keeps the newest `capacity` transitions and draws from them, uniformly or by priority.

    `batch_size` is the largest batch usually asked for. Raises ConfigError when `capacity` is
    smaller than that, or does not fit into free memory.
    """

    def __init__(
        self,
        capacity: int,
        spec: EnvSpec,
        device: torch.device,
        *,
        batch_size: int = 1,
        n_step: int = 1,
        gamma: float = 1.0,
        prioritized: PrioritizedConfig | None = None,
    ) -> None:
        _check(capacity, spec, device, batch_size, prioritized is not None)
        self.n_step, self.gamma, self.device = n_step, gamma, device
        self.added = 0
        """Transitions that ever came in."""
        self._spec, self._num_envs = spec, spec.num_envs
        self._rows = capacity // spec.num_envs
        self._ring = self._rows + 1  # one row is always the observation to come
        self._total = self._ring * self._num_envs
        self._cursor = self._filled = 0
        self._store: Store | None = None
        self._interrupted = False
        self._steps = torch.arange(n_step, device=device)
        self._gammas = float(gamma) ** self._steps
        self._ones = torch.ones(batch_size, device=device)
        self.priorities = (
            Priorities(prioritized, self._total, device) if prioritized is not None else None
        )

    def __len__(self) -> int:
        return self._filled * self._num_envs

    def add(self, fragment: Fragment) -> None:
        """Store a fragment `[T, N, ...]`: the one after the last, from the same environments.

        Of a fragment longer than the memory, the newest steps are kept.
        """
        length = len(fragment.reward)
        self.added += length * self._num_envs
        if self._store is None:
            obs: Obs = map_obs(lambda leaf: leaf.flatten(0, 1), fragment.obs)
            self._store = Store(obs, fragment.action.flatten(0, 1), self._total, self.gamma)
        if self._interrupted:
            self._interrupted = False
            self._store.seal(self._newest, self._cursor * self._num_envs, self._num_envs)
        start = max(length - self._rows, 0)
        while start < length:
            stop = min(start + self._ring - self._cursor, length)
            self._write(self._store, fragment, start, stop)
            start = stop

    def sample(self, size: int) -> Batch:
        """Draw `size` transitions with replacement; there must be some.

        A sum of rewards stops where its episode ended or was cut, and at the newest step stored.
        """
        store = self._store
        assert store is not None
        assert self._filled, "there is nothing to draw from"
        if self.priorities is None:
            first = (self._cursor - self._filled) % self._ring * self._num_envs
            index = torch.randint(first, first + len(self), (size,), device=self.device)
            index.remainder_(self._total)
            weight = self._ones[:size] if size <= len(self._ones) else self._ones.new_ones(size)
        else:
            index, weight = self.priorities.draw(size, len(self))
        reward, discount, last = self._returns(store, index)
        return Batch(
            map_obs(lambda leaf: leaf.index_select(0, index), store.obs),
            store.action.index_select(0, index),
            reward,
            store.successors(last, (last + self._num_envs).remainder_(self._total)),
            discount,
            weight,
            index,
        )

    def update_priorities(self, index: Tensor, td_error: Tensor) -> None:
        """Set the priorities of a batch's draws `[B]` from its errors, before the next `add`."""
        if self.priorities is not None:
            self.priorities.update(index, td_error)

    def state_dict(self) -> dict[str, Any]:
        """Return counters and contents; nothing before the first transition."""
        if self._store is None:
            return {}
        full = self._filled == self._rows
        entries = self._total if full else len(self) + self._num_envs
        state: dict[str, Any] = {"store": self._store.state_dict(entries)}
        state |= {"added": self.added, "cursor": self._cursor, "filled": self._filled}
        if self.priorities is not None:
            state["priorities"] = self.priorities.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take counters and contents back; what is added next starts new episodes."""
        if not state:
            return
        self.added, self._cursor = int(state["added"]), int(state["cursor"])
        self._filled, self._interrupted = int(state["filled"]), True
        columns, space = state["store"], self._spec.obs_space
        keys = list(space.spaces) if isinstance(space, spaces.Dict) else []
        obs: Obs = map_obs(lambda leaf: leaf.to(self.device), unnumbered(columns["obs"], keys))
        self._store = Store(obs, columns["action"].to(self.device), self._total, self.gamma)
        self._store.load_state_dict(columns)
        if self.priorities is not None:
            self.priorities.load_state_dict(state["priorities"])

    @property
    def _newest(self) -> int:
        """The first entry of the newest row."""
        return (self._cursor - 1) % self._ring * self._num_envs

    def _write(self, store: Store, fragment: Fragment, start: int, stop: int) -> None:
        """Store the steps from `start` to `stop`, which fit in before the ring's end."""
        low = self._cursor * self._num_envs
        high = store.write(low, fragment, start, stop)
        coming = high % self._total
        after = store.announce(coming, map_obs(lambda leaf: leaf[stop - 1], fragment.next_obs))
        if self.priorities is not None:
            self.priorities.begin(low, high)
            self.priorities.clear(coming, after)
        self._cursor = coming // self._num_envs
        self._filled = min(self._filled + stop - start, self._rows)

    def _returns(self, store: Store, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return rewards summed, the discount of what follows, and the last entry of each sum."""
        if self.n_step == 1:
            reward = store.reward.index_select(0, index)
            return reward, store.discount.index_select(0, index), index
        entries = index.unsqueeze(1) + self._steps * self._num_envs
        flat = entries.remainder_(self._total).view(-1)
        newest = self._newest
        stop = store.end.index_select(0, flat).view_as(entries) >= 0
        stop |= (entries >= newest) & (entries < newest + self._num_envs)
        stop[:, -1] = True
        length = stop.int().argmax(1, keepdim=True)
        rewards = store.reward.index_select(0, flat).view_as(entries) * self._gammas
        reward = rewards.masked_fill_(self._steps > length, 0.0).sum(1)
        last = entries.gather(1, length).squeeze(1)
        discount = self._gammas.index_select(0, length.squeeze(1))
        return reward, discount.mul_(store.discount.index_select(0, last)), last


def _check(
    capacity: int, spec: EnvSpec, device: torch.device, batch_size: int, prioritized: bool
) -> None:
    key = "algo.buffer_size"
    if batch_size > capacity:
        reason = f"{batch_size} is more than algo.buffer_size = {capacity} holds"
        raise ConfigError(Problem("algo.batch_size", reason))
    if capacity < spec.num_envs:
        reason = f"{capacity} is less than one step of num_envs = {spec.num_envs} environments"
        raise ConfigError(Problem(key, reason))
    needed, free = bytes_for(capacity, spec, prioritized), free_memory(device)
    if needed > free:
        fits = int(capacity * 0.8 * free / needed)
        reason = (
            f"{capacity} transitions of {spec.name} need {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB of {device.type} memory are free; {fits} would fit"
        )
        raise ConfigError(Problem(key, reason))


def bytes_for(capacity: int, spec: EnvSpec, prioritized: bool) -> int:
    """Return the bytes a replay allocates; successors of ended episodes come on top."""
    entries = (capacity // spec.num_envs + 1) * spec.num_envs
    each = _bytes(spec.obs_space) + _bytes(spec.action_space) + 16
    return entries * each + (priorities.bytes_for(entries) if prioritized else 0)


def _bytes(space: Space[Any]) -> int:
    """Return the size of one element of a space as it is stored."""
    if isinstance(space, spaces.Dict):
        return sum(_bytes(part) for part in space.spaces.values())
    count = int(torch.Size(space.shape or ()).numel())
    return count * (space.dtype.itemsize if space.dtype is not None else 8)
