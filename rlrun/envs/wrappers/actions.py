"""Wrappers that change what an action does or how a reward counts; all are Gymnasium's."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlrun.config import option
from rlrun.envs.wrappers.base import AnyGym, Wrapper
from rlrun.types import shown


@dataclass(frozen=True, kw_only=True)
class ActionRepeat(Wrapper):
    """Holds an action for some steps, adds up their rewards, and shows the last."""

    name = "action_repeat"
    times: int = option("steps an action is held", at_least=1, at_most=1000)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return gym.wrappers.RepeatAction(env, self.times)


@dataclass(frozen=True, kw_only=True)
class StickyAction(Wrapper):
    """Takes the action before once more, at random (Machado et al. 2018)."""

    name = "sticky_action"
    probability: float = option("of the action before", at_least=0, below=1)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return gym.wrappers.StickyAction(env, self.probability)


@dataclass(frozen=True, kw_only=True)
class RescaleAction(Wrapper):
    """Gives actions other bounds, and stretches them to those of the environment."""

    name = "rescale_action"
    low: float = option("the least action")
    high: float = option("the greatest action")

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        low, high = np.float32(self.low), np.float32(self.high)
        return gym.wrappers.RescaleAction(env, low, high)

    def needs(self, env: AnyGym) -> str:
        """Ask for bounds on both sides."""
        if self.low >= self.high:
            return f"low below high, not {self.low:g} and {self.high:g}"
        space = env.action_space
        fits = isinstance(space, spaces.Box) and space.is_bounded()
        return "" if fits else f"actions in a bounded Box, not {shown(space)}"


@dataclass(frozen=True, kw_only=True)
class ClipReward(Wrapper):
    """Bounds each reward; -1 and 1 leave of a whole number its sign. Not in evaluation."""

    name = "clip_reward"
    training_only = True
    low: float = option("the least reward")
    high: float = option("the greatest reward")

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around; `gymnasium.wrappers.ClipReward` takes three times as long."""
        low, high = self.low, self.high
        return gym.wrappers.TransformReward(env, lambda reward: max(low, min(high, float(reward))))

    def needs(self, env: AnyGym) -> str:
        """Ask for an interval."""
        return "" if self.low < self.high else f"low below high, not {self.low:g} and {self.high:g}"
