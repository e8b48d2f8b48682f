"""Atari's screens fetched only where somebody looks: two of the frames an action is held."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from rlrun.envs.wrappers.areas import opencv
from rlrun.envs.wrappers.base import AnyGym

TRANSPARENT = (OrderEnforcing, PassiveEnvChecker)
"""Gymnasium's wrappers that neither change what is seen nor count steps; others say so by
`transparent`."""


def has_screens(env: AnyGym) -> bool:
    """Whether an environment shows the gray screen of each frame of a game of Atari, unchanged."""
    game: Any = env.unwrapped
    while isinstance(env, TRANSPARENT) or getattr(type(env), "transparent", False):
        env = env.env  # type: ignore[attr-defined]
    shown = getattr(game, "_obs_type", None), getattr(game, "_frameskip", None)
    return env is game and shown == ("grayscale", 1) and isinstance(game.observation_space, Box)


class ScreensEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Holds an action for `skip` frames and shows the brighter of the last two at every place.

    What `MaxAndSkipObservation` does, in two steps of the game instead of `skip`: one up to the
    last frame but one, and one more. The game is told to show its 128 bytes of memory, at a
    fiftieth of a screen's cost; the two screens are fetched here. An episode that ends on the way
    shows its last frame alone. Raises ModuleNotFoundError without OpenCV.
    """

    def __init__(self, env: AnyGym, skip: int) -> None:
        super().__init__(env)
        # between emulated frames `np.maximum` takes 60 us: its AVX-512 has to be woken each time
        self._brighter: Any = opencv().max
        self.observation_space = env.observation_space
        game: Any = env.unwrapped
        self._game, self._ale, self._held = game, game.ale, skip - 1
        game._obs_type = "ram"
        game.observation_space = Box(0, 255, (game.ale.getRAMSize(),), np.uint8)
        self._before = np.empty(self.observation_space.shape or (), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._ale.getScreenGrayscale(), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take `skip` steps, fewer where the episode ends."""
        self._game._frameskip = self._held
        try:
            _, reward, terminated, truncated, info = self.env.step(action)
        finally:
            self._game._frameskip = 1  # what is inside may take steps of its own, in `reset`
        if terminated or truncated:
            return self._ale.getScreenGrayscale(), float(reward), terminated, truncated, info
        self._ale.getScreenGrayscale(self._before)
        _, last, terminated, truncated, info = self.env.step(action)
        screen = self._ale.getScreenGrayscale()
        self._brighter(screen, self._before, screen)
        return screen, float(reward) + float(last), terminated, truncated, info
