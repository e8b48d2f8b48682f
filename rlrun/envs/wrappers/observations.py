"""Wrappers that change what is seen: Gymnasium's, or the same made faster."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import Space, spaces

from rlrun.config import option
from rlrun.envs.wrappers.areas import averager, opencv
from rlrun.envs.wrappers.base import AnyGym, Wrapper
from rlrun.envs.wrappers.screens import ScreensEnv, has_screens, screens_shown
from rlrun.types import shown

ROLL_BYTES = 2**19
"""So much memory a stack takes at once, where its observations are not larger."""


@dataclass(frozen=True, kw_only=True)
class FrameStack(Wrapper):
    """Shows the last observations, the newest at the end of a new first axis."""

    name = "frame_stack"
    size: int = option("observations in a stack", at_least=1, at_most=64)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put the stack around; at an episode's start its first observation fills it."""
        if isinstance(env.observation_space, spaces.Box):
            return BoxStackEnv(env, self.size)
        return gym.wrappers.FrameStackObservation(env, self.size)


class BoxStackEnv(gym.wrappers.FrameStackObservation[Any, Any, Any]):
    """Gymnasium's stack of arrays, made faster: a step copies one of them instead of all, twice.

    What is seen is a part of a roll of memory, every place of which is written once. A full roll is
    left to whoever still holds a part of it, and the last observations begin a new one.
    """

    def __init__(self, env: AnyGym, size: int) -> None:
        super().__init__(env, size)
        self._end = 0
        self._roll: Any = ()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; its first observation fills the stack."""
        obs, info = self.env.reset(seed=seed, options=options)
        if np.shape(obs) != self.env.observation_space.shape:  # which would spread over the roll
            raise ValueError(f"an observation {np.shape(obs)} of {self.env.observation_space}")
        return self._begin(obs), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if self._end == len(self._roll):
            self._begin(self._roll[-self.stack_size :])
        self._roll[self._end] = obs
        self._end += 1
        seen = self._roll[self._end - self.stack_size : self._end]
        return seen, reward, terminated, truncated, info

    def _begin(self, shown: Any) -> Any:
        """Take a new roll; return its first stack, which shows what is given."""
        space = self.env.observation_space
        one = np.empty(space.shape or (), space.dtype)
        length = max(2 * self.stack_size, min(64, ROLL_BYTES // max(one.nbytes, 1)))
        self._roll, self._end = np.empty((length, *one.shape), one.dtype), self.stack_size
        first = self._roll[: self._end]
        first[:] = shown
        return first


@dataclass(frozen=True, kw_only=True)
class Grayscale(Wrapper):
    """Makes a colour image gray, by how bright the eye sees each colour."""

    name = "grayscale"
    keep_dim: bool = option("keep a last axis of one channel")

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return gym.wrappers.GrayscaleObservation(env, self.keep_dim)

    def needs(self, env: AnyGym) -> str:
        """Ask for colour images."""
        space = env.observation_space
        fits = _is_image(space) and len(space.shape or ()) == 3 and space.shape[-1] == 3  # type: ignore[index]
        return "" if fits else f"colour images [height, width, 3] of uint8, not {shown(space)}"


@dataclass(frozen=True, kw_only=True)
class Resize(Wrapper):
    """Makes an image larger or smaller, averaging over areas; uses OpenCV, and Numba if there."""

    name = "resize"
    shape: tuple[int, ...] = option("height and width in pixels", at_least=1, at_most=4096)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around. Raises ModuleNotFoundError without OpenCV."""
        height, width = self.shape
        before = env.observation_space.shape or ()
        if len(before) == 3:  # the channels of colours go through OpenCV together
            opencv()
            return gym.wrappers.ResizeObservation(env, (height, width))
        env = ScreensEnv(env, 1) if has_screens(env) else env
        screens = screens_shown(env)
        if screens is not None and screens.shrink(height, width):
            return env
        average = averager((before[0], before[1]), (height, width))
        space = spaces.Box(0, 255, (height, width), np.uint8)
        return gym.wrappers.TransformObservation(env, average, space)

    def needs(self, env: AnyGym) -> str:
        """Ask for images, and for two numbers."""
        space = env.observation_space
        if len(self.shape) != 2:
            return f"shape: [height, width], not {list(self.shape)}"
        shape = space.shape or ()
        fits = _is_image(space) and (len(shape) == 2 or (len(shape) == 3 and shape[-1] <= 4))
        wanted = "images [height, width] or [height, width, channels] of uint8"
        return "" if fits else f"{wanted}, not {shown(space)}"


@dataclass(frozen=True, kw_only=True)
class Select(Wrapper):
    """Shows some numbers of a vector only, in the order given: for what should be guessed."""

    name = "select"
    indices: tuple[int, ...] = option("which numbers, the first is 0", at_least=0)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        space, chosen = env.observation_space, list(self.indices)
        assert isinstance(space, spaces.Box)
        shown = spaces.Box(space.low[chosen], space.high[chosen], dtype=space.dtype.type)
        return gym.wrappers.TransformObservation(env, lambda obs: obs[chosen], shown)

    def needs(self, env: AnyGym) -> str:
        """Ask for a vector with such indices."""
        space = env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            return f"observations that are one vector, not {shown(space)}"
        if not self.indices or max(self.indices) >= space.shape[0]:
            return f"indices from 0 to {space.shape[0] - 1}, not {list(self.indices)}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Flatten(Wrapper):
    """Puts everything that is seen into one vector; discrete parts become one-hot."""

    name = "flatten"

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return gym.wrappers.FlattenObservation(env)

    def needs(self, env: AnyGym) -> str:
        """Ask for a space of fixed size."""
        space = env.observation_space
        return (
            "" if space.is_np_flattenable else f"observations of a fixed size, not {shown(space)}"
        )


@dataclass(frozen=True, kw_only=True)
class OneHot(Wrapper):
    """Shows a number, or several, as a vector of zeros with a one for each."""

    name = "one_hot"

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return gym.wrappers.DtypeObservation(gym.wrappers.FlattenObservation(env), np.float32)

    def needs(self, env: AnyGym) -> str:
        """Ask for discrete observations."""
        space = env.observation_space
        fits = isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
        return "" if fits else f"Discrete or MultiDiscrete observations, not {shown(space)}"


@dataclass(frozen=True, kw_only=True)
class TimeAware(Wrapper):
    """Adds to each observation how many steps of the episode are gone."""

    name = "time_aware"
    normalize: bool = option("as a share of the time limit, instead of a count")
    flatten: bool = option("one vector, instead of a Dict of obs and time")

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        vector = self.flatten and isinstance(env.observation_space, spaces.Box)
        kind = TimedVectorEnv if vector else gym.wrappers.TimeAwareObservation
        return kind(env, flatten=self.flatten, normalize_time=self.normalize)

    def needs(self, env: AnyGym) -> str:
        """Ask for a time limit, and for a space that can be flattened."""
        if env.spec is None or env.spec.max_episode_steps is None:
            return "a time limit, and the environment has none; try env.kwargs.max_episode_steps"
        space = env.observation_space
        fits = space.is_np_flattenable or not self.flatten
        return "" if fits else f"observations of a fixed size, not {shown(space)}"


class TimedVectorEnv(gym.wrappers.TimeAwareObservation[Any, Any, Any]):
    """Gymnasium's own for a Box in one vector, made faster: one array a step instead of four."""

    def observation(self, observation: Any) -> Any:
        """Return the observation with the time at its end."""
        space = self.observation_space
        timed = np.empty(space.shape or (), space.dtype)
        timed[:-1] = observation.ravel()
        timed[-1] = self.timesteps / self.max_timesteps if self.normalize_time else self.timesteps
        return timed


@dataclass(frozen=True, kw_only=True)
class MaxAndSkip(Wrapper):
    """Holds an action for some steps, and shows the brightest of the last two at every place."""

    name = "max_and_skip"
    skip: int = option("steps an action is held", at_least=2, at_most=1000)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        kind = ScreensEnv if has_screens(env) else gym.wrappers.MaxAndSkipObservation
        return kind(env, self.skip)

    def needs(self, env: AnyGym) -> str:
        """Ask for arrays, of which a maximum can be taken."""
        space = env.observation_space
        return "" if isinstance(space, spaces.Box) else f"observations in a Box, not {shown(space)}"


def _is_image(space: Space[Any]) -> bool:
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    return bool((space.low == 0).all() and (space.high == 255).all())
