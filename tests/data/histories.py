"""Random episodes as fragments, and a replay of plain Python lists to hold against the real one."""

import numpy as np
import torch
from gymnasium import spaces

from rlrun.types import EnvSpec, Fragment


class History:
    """N environments whose every observation is a number of its own; episodes end at random.

    `rows` lists what happened: for each step, for each environment, (obs, action, reward, next_obs,
    terminated, ended).
    """

    def __init__(self, num_envs: int, ends: float, *, named: bool = False, seed: int = 0) -> None:
        self.num_envs, self.ends, self.named = num_envs, ends, named
        self.random = np.random.default_rng(seed)
        self.count = 0
        self.obs = self._fresh()
        self.rows: list[list[tuple[int, int, float, int, bool, bool]]] = []

    @property
    def spec(self) -> EnvSpec:
        box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        obs = spaces.Dict({"a": box, "b/c": spaces.Discrete(10**6)}) if self.named else box
        return EnvSpec("history", self.num_envs, obs, spaces.Discrete(5))

    def fragment(self, length: int) -> Fragment:
        """Play on for some steps."""
        rows = [self._step() for _ in range(length)]
        self.rows += rows
        obs, action, reward, next_obs, terminated, ended = (
            [[values[k] for values in row] for row in rows] for k in range(6)
        )
        ends, terminals = torch.tensor(ended), torch.tensor(terminated)
        return Fragment(
            self.shown(obs),
            torch.tensor(action),
            torch.tensor(reward),
            self.shown(next_obs),
            terminals,
            ends & ~terminals,
            (),
            {},
        )

    def shown(self, numbers):
        """Return what is observed where the number of the observation is known."""
        whole = torch.tensor(numbers)
        box = torch.stack([whole.float(), -whole.float()], -1)
        return {"a": box, "b/c": whole} if self.named else box

    def restart(self) -> None:
        """Begin new episodes everywhere, as a resumed run does; the old ones were cut."""
        self.rows[-1] = [(*values[:5], True) for values in self.rows[-1]]
        self.obs = self._fresh()

    def expected(self, number: int, capacity: int, n_step: int, gamma: float):
        """Return (action, reward, next_obs, discount) of the transition that began at `number`."""
        kept = self.rows[-(capacity // self.num_envs) :]
        t, n = next(
            (t, n) for t, row in enumerate(kept) for n, v in enumerate(row) if v[0] == number
        )
        total, factor = 0.0, 1.0
        for row in kept[t : t + n_step]:
            last = row[n]
            total, factor = total + factor * last[2], factor * gamma
            if last[5]:
                break
        return kept[t][n][1], total, last[3], 0.0 if last[4] else factor

    def kept(self, capacity: int) -> set[int]:
        """Return the observations that the newest `capacity` transitions began at."""
        return {values[0] for row in self.rows[-(capacity // self.num_envs) :] for values in row}

    def _fresh(self) -> list[int]:
        return [self._number() for _ in range(self.num_envs)]

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _step(self) -> list[tuple[int, int, float, int, bool, bool]]:
        row = []
        for n in range(self.num_envs):
            ended, terminated = self.random.random() < self.ends, self.random.random() < 0.5
            next_obs, action = self._number(), int(self.random.integers(5))
            reward = float(self.random.normal())
            row.append((self.obs[n], action, reward, next_obs, ended and terminated, ended))
            self.obs[n] = self._number() if ended else next_obs
        return row
