"""A VecEnv that plays a script, so that everything a collector should see is known beforehand."""

import torch
from gymnasium import spaces

from rlrun.types import EnvSpec, Step

Script = list[list[tuple[int, str]]]
"""For each environment its episodes: how long, and whether "terminated" or "truncated"."""


class ScriptedEnv:
    """Observations are [environment n, episode, step], rewards 100 * episode + step + n / 4.

    A script that is over starts again, its episodes counted on.
    """

    def __init__(self, script: Script, *, named: bool = False) -> None:
        self.script, self.named = script, named
        space = spaces.Box(0.0, 1e6, (3,))
        obs_space = spaces.Dict({"place": space}) if named else space
        self.spec = EnvSpec("scripted", len(script), obs_space, spaces.Discrete(2))
        self.steps = 0

    def reset(self, seed):
        self.at = [(episode, 0) for episode in [0] * len(self.script)]
        return self._obs(self.at)

    def step(self, action):
        self.steps += 1
        moved = [(episode, t + 1) for episode, t in self.at]
        ends = [self._end(n, *place) for n, place in enumerate(moved)]
        self.at = [
            (episode + 1, 0) if end else (episode, t)
            for (episode, t), end in zip(moved, ends, strict=True)
        ]
        reward = [100.0 * episode + t + n / 4 for n, (episode, t) in enumerate(moved)]
        obs = self._obs(self.at)
        return Step(
            obs,
            torch.tensor(reward),
            torch.tensor([end == "terminated" for end in ends]),
            torch.tensor([end == "truncated" for end in ends]),
            self._obs(moved) if any(ends) else obs,
        )

    def close(self):
        pass

    def _end(self, n, episode, t):
        length, kind = self.script[n][episode % len(self.script[n])]
        return kind if t == length else ""

    def _obs(self, places):
        rows = torch.tensor([[float(n), float(e), float(t)] for n, (e, t) in enumerate(places)])
        return {"place": rows} if self.named else rows


def episodes_of(script: Script, steps: int) -> list[tuple[int, float, int]]:
    """Return (step of its end, return, length) of every episode of the first `steps` steps."""
    found = []
    for n, episodes in enumerate(script):
        now, number = 0, 0
        while True:
            length = episodes[number % len(episodes)][0]
            now += length
            if now > steps:
                break
            earned = sum(100.0 * number + t + n / 4 for t in range(1, length + 1))
            found.append((now, earned, length))
            number += 1
    return sorted(found, key=lambda episode: episode[0])
