"""Fits one environment to what its options ask: keys left out, and what counts as success."""

from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rlrun.config import ConfigError, Problem, near_miss


class Drop(gym.ObservationWrapper[Any, Any, Any]):
    """Leaves keys out of a Dict observation; ConfigError where there is no such key."""

    def __init__(self, env: gym.Env[Any, Any], keys: tuple[str, ...]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Dict):
            reason = f"only a Dict has keys to leave out, and observations are {space}"
            raise ConfigError(Problem("env.drop", reason))
        for key in keys:
            if key not in space.spaces:
                there = ", ".join(map(str, space.spaces))
                hint = near_miss(key, map(str, space.spaces)) or f"; there are {there}"
                raise ConfigError(Problem("env.drop", f"observations have no key {key!r}{hint}"))
        kept = {key: part for key, part in space.spaces.items() if key not in keys}
        if not kept:
            raise ConfigError(Problem("env.drop", "leaves nothing to observe"))
        self.observation_space = spaces.Dict(kept)
        self._kept = tuple(kept)

    def observation(self, observation: Any) -> dict[str, Any]:
        """Return the keys that stay."""
        return {key: observation[key] for key in self._kept}


class SuccessByReward(gym.Wrapper[Any, Any, Any, Any]):
    """Tells of an episode's end whether it was a success: terminated with a positive reward."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step; `info["is_success"]` tells at an end."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            info["is_success"] = bool(terminated and float(reward) > 0)
        return obs, reward, terminated, truncated, info


def fit(env: gym.Env[Any, Any], drop: tuple[str, ...], success: str) -> gym.Env[Any, Any]:
    """Return an environment with the wrappers its options ask for, itself where they ask none."""
    if drop:
        env = Drop(env, drop)
    return SuccessByReward(env) if success == "reward" else env
