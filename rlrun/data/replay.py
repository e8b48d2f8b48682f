"""Memory of transitions for methods that learn off-policy.

Storage is a ring of rows, one for each step of all N environments, flattened to entries so that a
draw is one index per column. A successor observation is the next row's, unless an episode ended:
only there it is stored apart. The row behind the newest holds the observation to come. Of stacks
of frames the rows hold numbers only, and `Frames` the pictures.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rlrun.data.capacity import check_capacity
from rlrun.data.frames import Frames, stacked
from rlrun.data.minibatch import chunks
from rlrun.data.priorities import Priorities, PrioritizedConfig
from rlrun.data.store import Index, Store, rows, unnumbered
from rlrun.types import EnvSpec, Fragment, Obs, map_obs


class Batch(NamedTuple):
    """B drawn transitions: the target of a value is `reward + discount * next_value`.

    `reward` `[B]` is the discounted sum of up to `n_step` rewards, `next_obs` the true observation
    after the last of them, `discount` `[B]` gamma to their number, and 0 where the task ended.
    `weight` `[B]` corrects for prioritized draws, `index` `[B]` names what was drawn; it lies on
    the CPU, the rest on the memory's device.
    """

    obs: Any  # observations, or a history for networks with memory
    action: Tensor
    reward: Tensor
    next_obs: Any
    discount: Tensor
    weight: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks for

    def split(self, size: int) -> list["Batch"]:
        """Return batches of `size` draws, without copying."""
        columns = [chunks(column, size) for column in self]
        return [Batch(*parts) for parts in zip(*columns, strict=True)]


class Replay:
    """Keeps the newest `capacity` transitions and draws from them, uniformly or by priority.

    Fewer are kept of stacks of frames where episodes are so short that their first frames fill the
    room. `batch_size` is the largest batch usually asked for. Raises ConfigError when `capacity`
    is smaller than that, or does not fit into free memory.
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
        check_capacity(capacity, spec, device, batch_size, prioritized is not None)
        self.n_step, self.gamma, self.device = n_step, gamma, device
        self.added = 0
        """Transitions that ever came in."""
        self._spec, self._num_envs = spec, spec.num_envs
        self._rows = capacity // spec.num_envs
        self._ring = self._rows + 1  # one row is always the observation to come
        self._total = self._ring * self._num_envs
        self._cursor = self._filled = 0
        self._store: Store | None = None
        self._frames: Frames | None = None
        self._interrupted = False
        self._steps = np.arange(n_step)
        self._gammas = (float(gamma) ** self._steps).astype(np.float32)
        self._ones = torch.ones(batch_size, device=device)
        self.priorities = Priorities(prioritized, self._total) if prioritized is not None else None

    def __len__(self) -> int:
        return self._filled * self._num_envs

    @property
    def ready(self) -> bool:
        """Whether there is something to draw."""
        return self._filled > 0

    def add(self, fragment: Fragment) -> None:
        """Store a fragment `[T, N, ...]`: the one after the last, from the same environments.

        Of a fragment longer than the memory, the newest steps are kept.
        """
        length = len(fragment.reward)
        self.added += length * self._num_envs
        store = self._store
        if store is None:
            store = self._allocate(
                map_obs(lambda leaf: leaf.flatten(0, 1), fragment.obs),
                fragment.action.flatten(0, 1),
            )
        if self._interrupted:
            self._interrupted = False
            store.seal(self._newest, self._cursor * self._num_envs, self._num_envs)
        start = max(length - self._rows, 0)
        longest = length if self._frames is None else self._frames.longest
        while start < length:
            stop = min(start + self._ring - self._cursor, start + longest, length)
            self._write(store, _part(fragment, start, stop))
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
            index = torch.randint(first, first + len(self), (size,)).numpy()
            index %= self._total
            weight = self._ones[:size] if size <= len(self._ones) else self._ones.new_ones(size)
        else:
            index, correction = self.priorities.draw(size, len(self))
            weight = torch.from_numpy(correction).to(self.device)
        reward, discount, last = self._returns(store, index)
        obs: Obs = map_obs(lambda leaf: rows(leaf, index), store.obs)
        if self._frames is not None and self._frames.regular and last is index:
            obs, next_obs = self._frames.decode_pair(obs)
        else:
            next_obs = store.successors(last, (last + self._num_envs) % self._total)
            if self._frames is not None:
                obs, next_obs = self._frames.decode(obs, next_obs)
        return Batch(
            obs,
            rows(store.action, index),
            torch.from_numpy(reward).to(self.device),
            next_obs,
            torch.from_numpy(discount).to(self.device),
            weight,
            torch.from_numpy(index),
        )

    def update_priorities(self, index: Tensor, td_error: Tensor) -> None:
        """Set the priorities of a batch's draws `[B]` from its errors, before the next `add`."""
        if self.priorities is not None:
            self.priorities.update(index.cpu().numpy(), td_error.detach().cpu().numpy())

    def state_dict(self) -> dict[str, Any]:
        """Return counters and contents; nothing before the first transition."""
        if self._store is None:
            return {}
        entries = (min(self.added // self._num_envs, self._rows) + 1) * self._num_envs
        state: dict[str, Any] = {"store": self._store.state_dict(entries)}
        state |= {"added": self.added, "cursor": self._cursor, "filled": self._filled}
        if self._frames is not None:
            state["frames"] = self._frames.state_dict()
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
        obs, action = unnumbered(columns["obs"], keys), columns["action"].to(self.device)
        if "frames" in state:
            assert isinstance(obs, Tensor)
            frame = state["frames"]["ring"][0].to(self.device)
            self._frames = Frames(frame, self._spec, self._rows)
            self._frames.load_state_dict(state["frames"])
        else:
            obs = map_obs(lambda leaf: leaf.to(self.device), obs)
        self._store = Store(obs, action, self._total, self.gamma)
        self._store.load_state_dict(columns)
        if self.priorities is not None:
            self.priorities.load_state_dict(state["priorities"])

    @property
    def _newest(self) -> int:
        """The first entry of the newest row."""
        return (self._cursor - 1) % self._ring * self._num_envs

    def _allocate(self, obs: Obs, action: Tensor) -> Store:
        """Take the memory for rows `[*, ...]` like these."""
        if stacked(self._spec):
            assert isinstance(obs, Tensor)
            self._frames = Frames(obs[0, 0], self._spec, self._rows)
            obs = torch.zeros(1, self._spec.frame_stack + 1, dtype=torch.int64)
        self._store = Store(obs, action, self._total, self.gamma)
        return self._store

    def _write(self, store: Store, fragment: Fragment) -> None:
        """Store a fragment that fits in before the ring's end."""
        if self._frames is not None:
            fragment = self._frames.encode(fragment)
        low = self._cursor * self._num_envs
        high = store.write(low, fragment)
        coming = high % self._total
        after = store.announce(coming, map_obs(lambda leaf: leaf[-1], fragment.next_obs))
        if self.priorities is not None:
            self.priorities.begin(low, high)
            self.priorities.clear(coming, after)
        self._cursor = coming // self._num_envs
        self._filled = min(self._filled + len(fragment.reward), self._rows)
        if self._frames is not None:
            self._forget(store, self._frames.oldest)

    def _forget(self, store: Store, oldest: int) -> None:
        """Let go of the rows whose frames are not there any more."""
        assert isinstance(store.obs, Tensor)
        numbers = store.obs.numpy()
        while True:
            low = (self._cursor - self._filled) % self._ring * self._num_envs
            high = low + self._num_envs
            if numbers[low:high].min() >= oldest:
                return
            self._filled -= 1
            if self.priorities is not None:
                self.priorities.clear(low, high)

    def _returns(
        self, store: Store, index: Index
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], Index]:
        """Return rewards summed, the discount of what follows, and the last entry of each sum."""
        if self.n_step == 1:
            return store.reward[index], store.discount[index], index
        entries = index[:, None] + self._steps * self._num_envs
        entries %= self._total
        newest = self._newest
        stop = store.end[entries] >= 0
        stop |= (entries >= newest) & (entries < newest + self._num_envs)
        stop[:, -1] = True
        length = stop.argmax(1)
        rewards = store.reward[entries] * self._gammas
        rewards[self._steps > length[:, None]] = 0.0
        last = entries[np.arange(len(index)), length]
        return rewards.sum(1), self._gammas[length] * store.discount[last], last


def _part(fragment: Fragment, start: int, stop: int) -> Fragment:
    """Return the steps from `start` to `stop`, without copying."""
    if stop - start == len(fragment.reward):
        return fragment
    obs, action, reward, next_obs, terminated, truncated = (
        map_obs(lambda leaf: leaf[start:stop], column) for column in fragment[:6]
    )
    return Fragment(obs, action, reward, next_obs, terminated, truncated, (), {})
