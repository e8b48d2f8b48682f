"""A time limit for training alone: more beginnings, and less of what comes after the end."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from rlrun.config import option
from rlrun.envs.wrappers.base import AnyGym, Wrapper


@dataclass(frozen=True, kw_only=True)
class TimeLimit(Wrapper):
    """Cuts episodes after some steps of the game itself, if they last so long. Not in evaluation.

    The cut is `truncated`, like that of the game's own limit, and whoever bootstraps there does so
    here (Pardo et al. 2018, Time limits in reinforcement learning, partial-episode bootstrapping).
    """

    name = "time_limit"
    training_only = True
    ends_games = True
    steps: int = option("steps of the game to an episode, in training", at_least=1)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return TimeLimitEnv(env, self.steps)


class TimeLimitEnv(gym.wrappers.TimeLimit[Any, Any]):
    """Gymnasium's own, behind which the game still tells its own limit."""

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override] # Gymnasium's wrappers do so
        """The game's; `time_aware` takes shares of its limit, in training and in evaluation."""
        return self.env.spec
