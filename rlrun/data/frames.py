"""Stacks of frames, each frame stored once: a step adds one picture, not a whole stack.

A stack `[k, ...]` is kept as the numbers of its k frames, with that of its successor's newest frame
behind them. Frames are numbered as they come, and number i lies in slot i modulo the ring's size
until number i + size takes its place.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rlrun.types import EnvSpec, Fragment, Obs

SPARE = 20
"""One frame in so many is room for the first frames of episodes."""


class Frames:
    """A ring of single frames, and the numbers of those that stacks `[N, k, ...]` are made of.

    Whether a stack is the one before, moved on by a frame, is seen from the frames themselves, so
    what is read is always what was written; data that is no history only takes more room.
    """

    def __init__(self, frame: Tensor, spec: EnvSpec, rows: int) -> None:
        self._stack, self._num_envs = spec.frame_stack, spec.num_envs
        self._size = count_frames(rows, spec)
        self.ring = torch.zeros((self._size, *frame.shape), dtype=frame.dtype, device=frame.device)
        self._next = 0
        self._coming: NDArray[np.int64] | None = None  # [N, k], of the observations to come
        self._seen: Tensor | None = None  # and what they look like
        self.regular = True
        """Whether every successor so far was its observation moved on by a frame."""

    @property
    def longest(self) -> int:
        """The steps that fit in at once without taking the place of the newest observation."""
        stacks = self._size // (self._num_envs * self._stack)
        return (stacks - 2 * self._stack - 4) // 2

    @property
    def oldest(self) -> int:
        """The number of the oldest frame that is still there."""
        return max(self._next - self._size, 0)

    def encode(self, fragment: Fragment) -> Fragment:
        """Store the frames of a fragment; return it with numbers `[T, N, k + 1]` in place.

        It is the one after the last, of at most `longest` steps. Numbers of observations never
        fall from a step to the next.
        """
        obs, next_obs = fragment.obs, fragment.next_obs
        assert isinstance(obs, Tensor)
        assert isinstance(next_obs, Tensor)
        length, last = len(obs), next_obs[-1]
        moved = np.empty((length + 1, self._num_envs), bool)
        moved[0], moved[-1] = self._known(obs[0]), _follows(last, obs[-1])
        if length > 1:
            inner = _follows(obs[1:].flatten(0, 1), obs[:-1].flatten(0, 1))
            moved[1:-1] = inner.reshape(moved[1:-1].shape)
        fresh = _fresh(moved, self._stack)
        fresh[0] = False
        _mark(fresh[:-1], ~moved[:-1], obs)
        _mark(fresh[-1], ~moved[-1], last)
        numbers = self._numbered(fresh)
        if self._coming is not None:
            numbers[0, moved[0]] = self._coming[moved[0]]
        for before, now, same in zip(numbers, numbers[1:], moved[1:], strict=False):
            now[same, :-1] = before[same, 1:]
        self._put(obs.flatten(0, 2), fresh[:-1])
        self._put(last.flatten(0, 1), fresh[-1])
        following = numbers[1:].copy()
        self._coming, self._seen = following[-1], last.clone()
        self.regular &= bool(moved[-1].all())
        if length > 1:
            done = fragment.done[:-1].cpu().numpy()
            self.regular &= bool((moved[1:-1] | done).all())
            self._encode_ends(fragment, done, numbers, following)
        newest = following[..., -1:]
        return fragment._replace(
            obs=torch.from_numpy(np.concatenate([numbers[:-1], newest], -1)),
            next_obs=torch.from_numpy(np.concatenate([following, newest], -1)),
        )

    def decode(self, numbers: Obs, following: Obs) -> tuple[Obs, Obs]:
        """Return the stacks `[B, k, ...]` of two of numbers `[B, k + 1]`, which are still there."""
        assert isinstance(numbers, Tensor)
        assert isinstance(following, Tensor)
        # one large tensor is cheaper than two, whose pages the allocator hands back every time
        both = self._read(torch.cat([numbers, following])[:, : self._stack])
        return both[: len(numbers)], both[len(numbers) :]

    def decode_pair(self, numbers: Obs) -> tuple[Obs, Obs]:
        """Return stacks and their successors where all is `regular`: views of the same memory.

        Copying frames is most of a draw's cost, and of two stacks all but two are the same.
        """
        assert isinstance(numbers, Tensor)
        both = self._read(numbers)
        return both[:, :-1], both[:, 1:]

    def _read(self, numbers: Tensor) -> Tensor:
        slot = (numbers % self._size).flatten().to(self.ring.device)
        return self.ring.index_select(0, slot).view(*numbers.shape, *self.ring.shape[1:])

    def state_dict(self) -> dict[str, Any]:
        """Return the frames written so far and their count."""
        assert self._coming is not None
        used, coming = self.ring[: self._next], torch.from_numpy(self._coming)
        numbers = {"next": self._next, "regular": int(self.regular)}
        return {"ring": used, "coming": coming, **numbers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take frames and count back."""
        self.ring[: len(state["ring"])] = state["ring"]
        self._next, self._coming = int(state["next"]), state["coming"].numpy()
        self._seen, self.regular = self._read(state["coming"]), bool(state["regular"])

    def _encode_ends(
        self,
        fragment: Fragment,
        done: NDArray[np.bool_],
        numbers: NDArray[np.int64],
        following: NDArray[np.int64],
    ) -> None:
        """Store what was seen where episodes ended, but for the last step, whose are stored."""
        t, n = np.nonzero(done)
        if not len(t):
            return
        at = torch.from_numpy(t).to(self.ring.device), torch.from_numpy(n).to(self.ring.device)
        assert isinstance(fragment.obs, Tensor)
        assert isinstance(fragment.next_obs, Tensor)
        seen = fragment.next_obs[at]
        moved = _follows(seen, fragment.obs[at])
        self.regular &= bool(moved.all())
        fresh = _fresh(moved, self._stack)
        _mark(fresh, ~moved, seen)
        ends = self._numbered(fresh)
        ends[moved, :-1] = numbers[t[moved], n[moved], 1:]
        self._put(seen.flatten(0, 1), fresh)
        following[t, n] = ends

    def _known(self, obs: Tensor) -> NDArray[np.bool_]:
        """Return where stacks `[N, k, ...]` are the observations to come, as they were stored."""
        if self._seen is None:
            return np.zeros(len(obs), bool)
        return np.asarray(_alike(self._seen, obs).all(-1))

    def _numbered(self, fresh: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number the fresh frames of `[..., k]`; one that is not gets that of the one before."""
        return self._next - 1 + fresh.cumsum(dtype=np.int64).reshape(fresh.shape)

    def _put(self, pictures: Tensor, fresh: NDArray[np.bool_]) -> None:
        """Store the fresh ones of pictures `[M, ...]`."""
        chosen = np.flatnonzero(fresh)
        if not len(chosen):
            return
        slot = np.arange(self._next, self._next + len(chosen)) % self._size
        device = self.ring.device
        found = pictures.index_select(0, torch.from_numpy(chosen).to(device))
        self.ring.index_copy_(0, torch.from_numpy(slot).to(device), found)
        self._next += len(chosen)


def stacked(spec: EnvSpec) -> bool:
    """Whether observations are stacks of frames that are stored singly."""
    return spec.frame_stack > 1 and isinstance(spec.obs_space, spaces.Box)


def count_frames(rows: int, spec: EnvSpec) -> int:
    """Return how many frames are kept for `rows` rows of all environments."""
    stack = spec.frame_stack
    # the newest observations must outlive a step at which every stack is stored whole, twice
    least = spec.num_envs * stack * (2 * stack + 6)
    return rows * spec.num_envs * (SPARE + 1) // SPARE + least


def _fresh(moved: NDArray[np.bool_], stack: int) -> NDArray[np.bool_]:
    """Return `[..., k]` that is true for the last frame of each stack."""
    fresh = np.zeros((*moved.shape, stack), bool)
    fresh[..., -1] = True
    return fresh


def _mark(fresh: NDArray[np.bool_], whole: NDArray[np.bool_], stacks: Tensor) -> None:
    """Mark the frames of the `whole` stacks as fresh, but for repetitions of the one before."""
    if whole.any():
        found = stacks[torch.from_numpy(whole).to(stacks.device)]
        differs = np.ones(found.shape[:2], bool)
        differs[:, 1:] = ~_alike(found[:, 1:], found[:, :-1])
        fresh[whole] = differs


def _follows(now: Tensor, before: Tensor) -> NDArray[np.bool_]:
    """Return where stacks `[M, k, ...]` are those before, moved on by a frame, `[M]`."""
    return np.asarray(_alike(now[:, :-1], before[:, 1:]).all(-1))


def _alike(one: Tensor, other: Tensor) -> NDArray[np.bool_]:
    """Return where frames `[M, k, ...]` are the same, `[M, k]`."""
    one, other = one.flatten(2), other.flatten(2)
    if one.device.type == "cpu":  # NumPy takes a sixth of the time of torch here
        return np.asarray((one.numpy() == other.numpy()).all(-1))
    return np.asarray((one == other).all(-1).cpu().numpy())
