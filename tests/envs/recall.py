"""A task that no policy without a memory can solve: say at the end what was shown at the start."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Recall(gym.Env[Any, Any]):
    """Shows -1 or 1 for one step, then nothing for two; the last action is right or wrong."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)
    steps = 3

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.cue, self.time = int(self.np_random.integers(2)), 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        over = self.time == self.steps
        return self._obs(), float(over and action == self.cue), over, False, {}

    def _obs(self) -> Any:
        shown = 2.0 * self.cue - 1.0 if self.time == 0 else 0.0
        return np.array([shown, self.time / self.steps], np.float32)


gym.register("Recall-v0", entry_point=Recall)
