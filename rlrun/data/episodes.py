"""Whole episodes out of fragments, for methods that learn from complete returns."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rlrun.functional.returns import discounted_return
from rlrun.types import Carry, Fragment, History, Obs, Seen, map_obs, starts


class Finished(NamedTuple):
    """The steps of episodes that have ended, as rows `[B, ...]`, and how many episodes they are.

    `obs` is a history with those rows chosen where a network with memory is to see it.
    """

    obs: Seen
    action: Tensor
    returns: Tensor
    episodes: int


class _Held(NamedTuple):
    """Steps `[T, N, ...]`; `waiting` where the step's episode has not ended yet."""

    obs: Obs
    action: Tensor
    reward: Tensor
    done: Tensor
    waiting: Tensor


class Episodes:
    """Keeps the steps of unfinished episodes until they end.

    Data enters as fragments and leaves as the rows of finished episodes, each step once. Memory
    grows with the longest unfinished episode: the environment must end its episodes, or cut them.
    `initial_carry` gives the empty memory of a network that has one.
    """

    def __init__(self, gamma: float, initial_carry: Callable[[int], Carry] | None = None) -> None:
        self.gamma, self._initial_carry = gamma, initial_carry
        self._held: _Held | None = None

    def add(self, fragment: Fragment) -> Finished | None:
        """Add a fragment; return the episodes that are finished now, or None if none ended in it.

        Returns are discounted to each step and never bootstrapped: an episode cut by a time limit
        counts as it was played. The fragment may be overwritten afterwards.
        """
        held = self._join(fragment)
        if not bool(fragment.done.any()):
            self._held = _from(held, 0) if self._held is None else held
            return None
        # a step's episode is over when its environment ended one at that step or later
        over = held.done.int().flip(0).cummax(0).values.flip(0).bool() & held.waiting
        returns = discounted_return(
            held.reward, held.done, self.gamma, torch.zeros_like(held.reward)
        )
        finished = Finished(
            self._seen(held, over),
            held.action[over],
            returns[over],
            int(fragment.done.sum()),
        )
        waiting = held.waiting & ~over
        unfinished = waiting.any(1).nonzero()
        start = int(unfinished[0]) if len(unfinished) else len(waiting)
        self._held = _from(held._replace(waiting=waiting), start)
        return finished

    def _seen(self, held: _Held, over: Tensor) -> Seen:
        """Return the observations where `over` `[T, N]`.

        Whatever waits begins an episode within what is held, so an empty memory at its first step
        is right for all that counts.
        """
        if self._initial_carry is None:
            seen: Obs = map_obs(lambda leaf: leaf[over], held.obs)
            return seen
        return History(held.obs, starts(held.done), self._initial_carry(over.shape[1]), over)

    def _join(self, fragment: Fragment) -> _Held:
        """Return what was held with the fragment after it."""
        fresh = torch.ones_like(fragment.terminated)
        new = _Held(fragment.obs, fragment.action, fragment.reward, fragment.done, fresh)
        if self._held is None:
            return new
        obs = map_obs(lambda old, now: torch.cat([old, now]), self._held.obs, new.obs)
        rest = zip(self._held[1:], new[1:], strict=True)
        return _Held(obs, *(torch.cat([old, now]) for old, now in rest))


def _from(held: _Held, start: int) -> _Held:
    """Return a copy of the steps from `start` on."""
    obs = map_obs(lambda leaf: leaf[start:].clone(), held.obs)
    return _Held(obs, *(column[start:].clone() for column in held[1:]))
