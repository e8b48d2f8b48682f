"""Whole episodes out of fragments, for methods that learn from complete returns."""

import torch
from torch import Tensor

from rlrun.functional.returns import discounted_return
from rlrun.types import Fragment, Obs, map_obs


class Episodes:
    """Keeps the steps of unfinished episodes until they end.

    Data enters as fragments and leaves as the rows of finished episodes, each step once.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self._obs: Obs | None = None
        self._action: Tensor | None = None
        self._reward: Tensor | None = None
        self._done: Tensor | None = None
        self._waiting: Tensor | None = None  # [T, N]: stored, and its episode has not ended

    def add(self, fragment: Fragment) -> tuple[Obs, Tensor, Tensor, int]:
        """Add a fragment; return `obs`, `action` and `return` rows of episodes now finished.

        The fourth value counts those episodes. Returns are discounted to each step and not
        bootstrapped: an episode cut by a time limit counts as it was played.
        """
        obs, action, reward, done, waiting = self._join(fragment)
        returns = discounted_return(reward, done, self.gamma, torch.zeros_like(reward))
        finished = done.flip(0).cummax(0).values.flip(0) & waiting
        rows = (map_obs(lambda leaf: leaf[finished], obs), action[finished], returns[finished])
        self._keep(obs, action, reward, done, waiting & ~finished)
        return *rows, int((done & waiting).sum())

    def _join(self, fragment: Fragment) -> tuple[Obs, Tensor, Tensor, Tensor, Tensor]:
        now = (fragment.action, fragment.reward, fragment.done)
        fresh = torch.ones_like(fragment.terminated)
        if self._obs is None:
            return fragment.obs, *now, fresh
        obs = map_obs(lambda old, new: torch.cat([old, new]), self._obs, fragment.obs)
        held = (self._action, self._reward, self._done)
        columns = [torch.cat([old, new]) for old, new in zip(held, now, strict=True)]  # type: ignore[list-item]
        return obs, *columns, torch.cat([self._waiting, fresh])  # type: ignore[list-item, return-value]

    def _keep(
        self, obs: Obs, action: Tensor, reward: Tensor, done: Tensor, waiting: Tensor
    ) -> None:
        rows = waiting.any(1).nonzero()
        start = int(rows[0]) if len(rows) else len(waiting)
        self._obs = map_obs(lambda leaf: leaf[start:].clone(), obs)
        self._action, self._reward = action[start:].clone(), reward[start:].clone()
        self._done, self._waiting = done[start:].clone(), waiting[start:].clone()
