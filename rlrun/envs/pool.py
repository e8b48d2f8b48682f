"""EnvPool's environments, stepped by threads of C++, as a `VecEnv`.

EnvPool resets a finished environment at the step after its end. Here the finished ones are reset
at once, by a reset of those alone, so that no such junk step is ever seen.
"""

import warnings
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from rlrun.config import ConfigError, Problem, near_miss
from rlrun.envs.adapter import EnvConfig
from rlrun.envs.base import spread_seed
from rlrun.envs.foreign import check_pool_id
from rlrun.envs.in_process import SUCCESS_KEYS
from rlrun.envs.spaces import action_writer, adapt_obs_space, obs_reader
from rlrun.types import EnvSpec, Obs, Step, map_obs

OURS = ("num_envs", "batch_size", "seed", "env_seed", "gym_reset_return_info", "max_num_players")
"""Options of EnvPool that follow from rlrun's own."""


class PoolEnv:
    """N environments of EnvPool.

    Raises ConfigError for an id or an option that EnvPool does not know, and for wrappers.
    """

    def __init__(self, config: EnvConfig, num_envs: int, *, render_mode: str | None = None) -> None:
        _refuse(config)
        self._config, self._render_mode = config, render_mode
        self._pool: Any = None
        space, action_space, stack = _described(config, num_envs)
        self._read, self._write = obs_reader(space), action_writer(action_space)
        self.spec = EnvSpec(
            name=config.name,
            num_envs=num_envs,
            obs_space=adapt_obs_space(space),
            action_space=action_space,
            frame_stack=_frame_stack(space, stack),
        )

    def reset(self, seed: int) -> Obs:
        """Start an episode in every environment, in a new pool: one has a single seed for life."""
        import envpool

        self.close()
        seeds = spread_seed(seed, self.spec.num_envs)
        shown = {"render_mode": self._render_mode} if self._render_mode else {}
        options = {**self._config.kwargs, **shown, "num_envs": len(seeds), "seed": seeds}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `_described`
            self._pool = envpool.make_gymnasium(self._config.id, **options)
            obs, _ = self._pool.reset()
        return self._read(obs)

    def step(self, action: Tensor) -> Step:
        """Take one step in every environment, resetting those that end."""
        obs, reward, terminated, truncated, info = self._pool.step(self._write(action))
        following = now = self._read(obs)
        ended = np.flatnonzero(terminated | truncated)
        success = None
        if len(ended):
            now, success = self._restarted(following, ended), _success(info)
        return Step(
            now,
            torch.from_numpy(np.array(reward, dtype=np.float32)),
            torch.from_numpy(np.array(terminated)),
            torch.from_numpy(np.array(truncated)),
            following,
            success,
        )

    def render(self) -> Any:
        """Return the first environment's picture, `[height, width, 3]` uint8."""
        try:
            frames = self._pool.render()
        except RuntimeError as fault:
            reason = f"EnvPool draws no pictures of {self._config.id}: {fault}"
            raise ConfigError(Problem("env.vectorization", reason)) from fault
        return None if frames is None else frames[0]

    @property
    def render_modes(self) -> list[str]:
        """The ways in which EnvPool can show an environment."""
        return ["rgb_array", "human"]

    @property
    def frames_per_second(self) -> int:
        """The speed of a video; EnvPool tells none."""
        return 30

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _restarted(self, following: Obs, ended: Any) -> Obs:
        """Reset some environments and return all observations with theirs put in place."""
        obs, info = self._pool.reset(ended.astype(np.int32))
        rows = torch.from_numpy(np.array(info["env_id"], dtype=np.int64))
        now: Obs = map_obs(
            lambda all_, new: all_.index_copy(0, rows, new), following, self._read(obs)
        )
        return now


def _refuse(config: EnvConfig) -> None:
    check_pool_id(config.id)
    reason = "EnvPool's environments take none; use env.vectorization=auto or sync with it"
    config.refuse_around(("wrappers", "drop", "success"), reason)
    for key in config.kwargs:
        if key in OURS:
            reason = "follows from num_envs and seed; leave it out"
            raise ConfigError(Problem(f"env.kwargs.{key}", reason))


def _described(config: EnvConfig, num_envs: int) -> tuple[Space[Any], Space[Any], int]:
    """Return the two spaces and the stacked frames, for which no environment has to be made."""
    import envpool

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bounds of float64 are rounded to float32
        known = envpool.make_spec(config.id).config._fields
        for key in config.kwargs:
            if key not in known and not key.startswith("render_"):
                reason = f"{config.id} of EnvPool has no such option{near_miss(key, known)}"
                raise ConfigError(Problem(f"env.kwargs.{key}", reason))
        try:
            made = envpool.make_spec(config.id, num_envs=num_envs, **config.kwargs)
            space, action_space = made.gymnasium_observation_space, made.gymnasium_action_space
        except (TypeError, ValueError, AssertionError, RuntimeError) as fault:
            reason = f"{config.id} of EnvPool cannot be made: {str(fault).splitlines()[0]}"
            raise ConfigError(Problem("env.kwargs", reason)) from fault
    return _bounded(space), action_space, getattr(made.config, "stack_num", 1)


def _bounded(space: Space[Any]) -> Space[Any]:
    """Return a space whose lower bounds are true.

    Where EnvPool means the least float it gives the least positive one, which shuts out most
    observations.
    """
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        return space
    tiny = np.finfo(space.dtype).tiny
    low = np.where(space.low == tiny, -np.inf, space.low).astype(space.dtype)
    return spaces.Box(low, space.high, dtype=space.dtype.type)


def _frame_stack(space: Space[Any], stack: int) -> int:
    """Return how many gray frames an image's first axis holds, the newest at the end."""
    image = isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3
    return int(stack) if image and (space.shape or (0,))[0] == stack else 1


def _success(info: dict[str, Any]) -> Tensor | None:
    for key in SUCCESS_KEYS:
        if key in info:
            return torch.from_numpy(np.asarray(info[key]).astype(bool))
    return None
