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

    def read(self, obs) -> list[int]:
        """Return the numbers of observations `[B, ...]`."""
        return (obs["a"] if self.named else obs)[:, 0].long().tolist()

    def expected(self, numbers: list[int], capacity: int, n_step: int, gamma: float):
        """Return lists of action, reward, next_obs and discount of what began at `numbers`."""
        kept = self.rows[-(capacity // self.num_envs) :]
        places = {values[0]: (t, n) for t, row in enumerate(kept) for n, values in enumerate(row)}
        found = []
        for t, n in (places[number] for number in numbers):
            total, factor = 0.0, 1.0
            for row in kept[t : t + n_step]:
                last = row[n]
                total, factor = total + factor * last[2], factor * gamma
                if last[5]:
                    break
            found.append((kept[t][n][1], total, last[3], 0.0 if last[4] else factor))
        return tuple(map(list, zip(*found, strict=True)))

    def kept(self, capacity: int) -> set[int]:
        """Return the observations that the newest `capacity` transitions began at."""
        return {values[0] for row in self.rows[-(capacity // self.num_envs) :] for values in row}

    def _fresh(self) -> list[int]:
        return [self._number() for _ in range(self.num_envs)]

    def _number(self, before: int | None = None) -> int:
        """Number an observation, the first of an episode or the one after another."""
        self.count += 1
        return self.count

    def _step(self) -> list[tuple[int, int, float, int, bool, bool]]:
        row = []
        for n in range(self.num_envs):
            ended, terminated = self.random.random() < self.ends, self.random.random() < 0.5
            next_obs, action = self._number(self.obs[n]), int(self.random.integers(5))
            reward = float(self.random.normal())
            row.append((self.obs[n], action, reward, next_obs, ended and terminated, ended))
            self.obs[n] = self._number() if ended else next_obs
        return row


class StackedHistory(History):
    """The same with stacks of `STACK` pictures of 2 x 2 bytes, which spell a number each.

    `padding` fills the first stack of an episode: its picture ("reset"), one that is always the
    same ("zero"), or others ("whole"). With the chance `cuts` a stack follows from nothing.
    """

    STACK = 3

    def __init__(
        self, num_envs: int, ends: float, padding: str, *, cuts: float = 0.0, seed: int = 0
    ) -> None:
        self.padding, self.cuts = padding, cuts
        self.stacks: list[list[int]] = [[0] * self.STACK]
        super().__init__(num_envs, ends, seed=seed)

    @property
    def spec(self) -> EnvSpec:
        box = spaces.Box(0, 255, (self.STACK, 2, 2), np.uint8)
        return EnvSpec("stacks", self.num_envs, box, spaces.Discrete(5), frame_stack=self.STACK)

    def shown(self, numbers):
        pictures = torch.tensor(self.stacks)[torch.tensor(numbers)].unsqueeze(-1)
        spelled = pictures // torch.tensor([1, 2**8, 2**16, 2**24]) % 256
        return spelled.to(torch.uint8).unflatten(-1, (2, 2))

    def read(self, obs) -> list[int]:
        """Return the numbers of observations `[B, ...]`."""
        newest = obs[:, -1].flatten(1).long() * torch.tensor([1, 2**8, 2**16, 2**24])
        return (newest.sum(1) // self.STACK).tolist()

    def _number(self, before: int | None = None) -> int:
        number = super()._number()
        newest = number * self.STACK
        if before is not None and self.random.random() >= self.cuts:
            self.stacks.append([*self.stacks[before][1:], newest])
        elif self.padding == "whole" or before is not None:
            self.stacks.append([newest + k for k in range(1, self.STACK)] + [newest])
        else:
            filling = newest if self.padding == "reset" else 0
            self.stacks.append([filling] * (self.STACK - 1) + [newest])
        return number
