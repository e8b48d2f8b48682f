"""Any Gymnasium environment, vectorised, as a `VecEnv`.

Gymnasium's default autoreset inserts a junk step after each episode; here it always runs in
same-step mode, where the true last observation comes in `infos["final_obs"]`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Self

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.wrappers import FrameStackObservation
from torch import Tensor

from rlrun.config import ConfigError, Problem, option
from rlrun.envs.base import SCORE_KEY, spread_seed
from rlrun.envs.fitting import fit
from rlrun.envs.in_process import SUCCESS_KEYS, InProcessEnvs
from rlrun.envs.model import tabular_model
from rlrun.envs.registry import make_env
from rlrun.envs.spaces import action_writer, adapt_obs_space, obs_reader
from rlrun.envs.wrappers.chain import Wrappers
from rlrun.types import EnvSpec, Obs, Step, TabularModel


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """Options of the group `env`."""

    name: str = option("the name presets and folders go by")
    id: str = option("Gymnasium's id, with its namespace or module")
    kwargs: dict[str, Any] = option("handed to gymnasium.make")
    drop: tuple[str, ...] = option("keys left out of a Dict observation")
    success: Literal["info", "reward"] = option(
        "whether an episode reached its goal: what the environment's info tells at its end, or"
        " whether it terminated with a positive reward"
    )
    wrappers: Wrappers = option("put around each environment, the innermost first")
    vectorization: Literal["auto", "sync", "async", "torch", "envpool", "ale"] = option(
        "one after the other, a process each, batched arithmetic on tensors, or threads of EnvPool"
        " or ale-py; auto takes torch where there is such a version and enough environments for it"
        " to win, else sync"
    )

    def refuse_around(self, keys: tuple[str, ...], reason: str) -> None:
        """Raise ConfigError where one of the options that are put around an environment is used."""
        used = {
            "wrappers": bool(self.wrappers.entries),
            "drop": bool(self.drop),
            "success": self.success != "info",
        }
        for key in keys:
            if used[key]:
                raise ConfigError(Problem(f"env.{key}", reason))

    def for_evaluation(self) -> Self:
        """Return the same without what changes rewards and ends in training only."""
        return replace(self, wrappers=self.wrappers.in_evaluation())


def make_single(config: EnvConfig, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Make one environment as its options say. Raises ConfigError where that cannot be."""
    kwargs = {**config.kwargs, **({"render_mode": render_mode} if render_mode else {})}
    env = fit(make_env(config.id, kwargs), config.drop, config.success)
    try:
        return config.wrappers.around(env)
    except ConfigError:
        env.close()
        raise


class GymnasiumEnv:
    """N copies of a Gymnasium environment.

    Raises ConfigError where the environment cannot be made or its spaces are not supported.
    """

    def __init__(self, config: EnvConfig, num_envs: int, *, render_mode: str | None = None) -> None:
        make = partial(make_single, config, render_mode)
        self._env = _vectorize(make, num_envs, config.vectorization)
        space = self._env.single_observation_space
        self._read = obs_reader(space)
        self._write = action_writer(self._env.single_action_space)
        self.spec = EnvSpec(
            name=config.name,
            num_envs=num_envs,
            obs_space=adapt_obs_space(space),
            action_space=self._env.single_action_space,
            model=None if config.wrappers.entries else _model(self._env),
            frame_stack=_frame_stack(self._env, make),
            scored=config.wrappers.scored,
        )

    def reset(self, seed: int) -> Obs:
        """Start an episode in every environment."""
        seeds: Any = spread_seed(seed, self.spec.num_envs)  # a list is meant, and not annotated
        obs, _ = self._env.reset(seed=seeds)
        return self._read(obs)

    def step(self, action: Tensor) -> Step:
        """Take one step in every environment, resetting those that end."""
        obs, reward, terminated, truncated, info = self._env.step(self._write(action))
        now = self._read(obs)
        following, success, score = now, None, None
        if "_final_obs" in info:
            following, success = self._successor(obs, info), _success(info)
            score = _score(info) if self.spec.scored else None
        return Step(
            now,
            torch.from_numpy(np.asarray(reward, dtype=np.float32)),
            torch.from_numpy(terminated),
            torch.from_numpy(truncated),
            following,
            success,
            score,
        )

    def render(self) -> Any:
        """Return the first environment's picture, `[height, width, 3]` uint8."""
        frames: Any = self._env.render()
        return frames[0]

    @property
    def render_modes(self) -> list[str]:
        """The ways in which the environment can be shown."""
        return list(self._env.metadata.get("render_modes", []))

    @property
    def frames_per_second(self) -> int:
        """The speed at which the environment means to be shown."""
        return int(self._env.metadata.get("render_fps", 30))

    def close(self) -> None:
        """Release processes and windows."""
        self._env.close()

    def _successor(self, obs: Any, info: dict[str, Any]) -> Obs:
        """Return the observations with those of finished episodes put in place of the resets."""
        finals, ended = info["final_obs"], np.flatnonzero(info["_final_obs"])
        return self._read(_replace(obs, {int(i): finals[i] for i in ended}))


def _vectorize(
    make: Callable[[], gym.Env[Any, Any]], num_envs: int, mode: str
) -> VectorEnv[Any, Any, Any]:
    # copy=False: the adapter copies once, into tensors of its own
    kind = AsyncVectorEnv if mode == "async" else InProcessEnvs
    return kind([make] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)


def _model(env: VectorEnv[Any, Any, Any]) -> TabularModel | None:
    return tabular_model(getattr(env, "envs", [None])[0])


def _replace(batch: Any, rows: dict[int, Any]) -> Any:
    """Return a copy of a batched observation with some environments' rows replaced."""
    if isinstance(batch, dict):
        keys = batch.keys()
        return {key: _replace(batch[key], {i: r[key] for i, r in rows.items()}) for key in keys}
    if isinstance(batch, tuple):
        parts = enumerate(batch)
        return tuple(_replace(part, {i: r[k] for i, r in rows.items()}) for k, part in parts)
    batch = np.array(batch)
    for index, row in rows.items():
        batch[index] = row
    return batch


def _success(info: dict[str, Any]) -> Tensor | None:
    final = info.get("final_info", {})
    for key in SUCCESS_KEYS:
        if key in final:
            return torch.from_numpy(np.asarray(final[key]).astype(bool))
    return None


def _score(info: dict[str, Any]) -> Tensor | None:
    final = info.get("final_info", {})
    if SCORE_KEY not in final:
        return None
    return torch.from_numpy(np.where(final[f"_{SCORE_KEY}"], final[SCORE_KEY], np.nan))


def _frame_stack(env: VectorEnv[Any, Any, Any], make: Callable[[], gym.Env[Any, Any]]) -> int:
    """Return how many frames an image's first axis holds, 1 unless `FrameStackObservation` made it.

    Of environments in processes no wrappers are seen, so one more is made to look at.
    """
    space = env.single_observation_space
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) < 3:
        return 1
    if isinstance(env, InProcessEnvs):
        return _stacked_by(env.envs[0])
    single = make()
    count = _stacked_by(single)
    single.close()
    return count


def _stacked_by(layer: gym.Env[Any, Any]) -> int:
    """Walk inwards to the wrapper that stacks, past those that leave the space as it is."""
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, FrameStackObservation):
            return int(layer.stack_size)
        if layer.observation_space != layer.env.observation_space:
            return 1
        layer = layer.env
    return 1
