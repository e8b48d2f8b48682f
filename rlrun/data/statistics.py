"""Returns and lengths of the episodes that ended lately, for the metrics of a training."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from rlrun.types import Diverged

STATISTICS_WINDOW = 100  # episodes in rollout/ep_rew_mean, as in Stable-Baselines3


class EpisodeStatistics:
    """Returns and lengths of the last finished episodes, counted over fragments."""

    def __init__(self, num_envs: int, name: str) -> None:
        self._name = name
        self._running_return = np.zeros(num_envs, dtype=np.float64)
        self._running_length = np.zeros(num_envs, dtype=np.int64)
        self._returns: deque[float] = deque(maxlen=STATISTICS_WINDOW)
        self._lengths: deque[int] = deque(maxlen=STATISTICS_WINDOW)

    def absorb(self, reward: Tensor, done: Tensor, score: Tensor | None = None) -> None:
        """Take in a fragment's `[T, N]` rewards and ends.

        Where `score` is told, an episode is a whole game, which ends where it is a number, and its
        return is that number. Raises Diverged where a reward is not finite: nothing can be learned
        from it.
        """
        rewards, ends = reward.cpu().numpy(), done.cpu().numpy()
        total = np.add.reduce(rewards, 0, np.float64)  # what `sum` calls, a third of its time
        if not math.isfinite(np.add.reduce(total)):
            raise Diverged(f"{self._name} gave a reward that is not finite")
        scores = None if score is None else score.numpy()
        if scores is not None:
            ends = ends & np.isfinite(scores)
        if np.count_nonzero(ends):
            sums = rewards.cumsum(0, dtype=np.float64)
            for t, n in np.argwhere(ends).tolist():  # a loop: ends are few, and most often one
                whole = self._running_return[n] + sums[t, n] if scores is None else scores[t, n]
                self._returns.append(float(whole))
                self._lengths.append(int(self._running_length[n]) + t + 1)
                # what is added below is the whole fragment's, of which this belongs to the past
                self._running_return[n], self._running_length[n] = -sums[t, n], -(t + 1)
        self._running_return += total
        self._running_length += len(rewards)

    def summary(self) -> dict[str, float]:
        """Return the means, or nothing before the first episode ended."""
        if not self._returns:
            return {}
        return {
            "rollout/ep_rew_mean": sum(self._returns) / len(self._returns),
            "rollout/ep_len_mean": sum(self._lengths) / len(self._lengths),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the finished episodes; unfinished ones do not survive an environment reset."""
        return {"returns": list(self._returns), "lengths": list(self._lengths)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the finished episodes back."""
        self._returns.extend(float(value) for value in state["returns"])
        self._lengths.extend(int(value) for value in state["lengths"])
