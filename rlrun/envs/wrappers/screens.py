"""Atari's screens fetched only where somebody looks, and made gray only where they changed.

The emulator holds a screen as numbers of colours, and takes 24 us to make all of one gray. From one
frame to the next most rows stay as they were (in Pong 200 of 210), and comparing two screens takes
3 us.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from rlrun.envs.wrappers.areas import RowAverage, row_average
from rlrun.envs.wrappers.base import AnyGym
from rlrun.envs.wrappers.loops import compiled_once

UNKNOWN = 256
"""In a table of how bright colours are: one that was not met before."""
TRANSPARENT = (OrderEnforcing, PassiveEnvChecker)
"""Gymnasium's wrappers that neither change what is seen nor count steps; others say so by
`transparent`."""


def has_screens(env: AnyGym) -> bool:
    """Whether an environment shows the gray screen of each frame of a game of Atari, unchanged.

    False without Numba, which compiles what the fetching of screens is made of.
    """
    game: Any = env.unwrapped
    while isinstance(env, TRANSPARENT) or "transparent" in vars(type(env)):
        env = env.env  # type: ignore[attr-defined]
    shown = getattr(game, "_obs_type", None), getattr(game, "_frameskip", None)
    fits = env is game and shown == ("grayscale", 1) and isinstance(game.observation_space, Box)
    return fits and compiled_once(_make_gray) is not None


def screens_shown(env: AnyGym) -> "ScreensEnv | None":
    """Return what fetches the screens that an environment shows as they are, if anything does.

    Wrappers that show what is inside them say so by `shows_the_same`, each class for itself: a
    subclass may change it. What they do with steps and ends is their own business.
    """
    while "shows_the_same" in vars(type(env)):
        env = env.env  # type: ignore[attr-defined]
    return env if isinstance(env, ScreensEnv) and not env.shrunk else None


class Screens:
    """The gray screen of a game, kept; a look at it works on the rows that changed since the last.

    ale-py does not tell how bright its colours are, so the table of them is filled from its own
    gray screens, one of which is asked for where a colour was not met before.
    """

    def __init__(self, ale: Any) -> None:
        self._ale, self._table = ale, np.full(256, UNKNOWN, np.uint16)
        self._colours = ale.getScreen().copy()
        self.gray = ale.getScreenGrayscale()
        self.changed = np.ones(len(self.gray), np.uint8)
        """1 for each row that the last look found changed."""
        loop = compiled_once(_make_gray)
        assert loop is not None, "has_screens asks for Numba"
        self._loop = loop

    def look(self) -> Any:
        """Return the screen, `[height, width]` uint8; the next look writes over it."""
        screen = self._ale.getScreen()
        if self._loop(screen, self._colours, self.gray, self._table, self.changed) >= UNKNOWN:
            self.gray[:] = self._ale.getScreenGrayscale()
            self._table[screen] = self.gray
        return self.gray


def _make_gray(screen: Any, before: Any, gray: Any, table: Any, changed: Any) -> Any:
    """Write a screen to `before`, and to `gray` the rows in which the two were not equal.

    All `[height, width]`; `changed` `[height]` becomes 1 for those rows, 0 for others. Return at
    least `UNKNOWN` where there is a colour that is not known.
    """
    met = np.uint16(0)
    for row in range(screen.shape[0]):
        new, old, line = screen[row], before[row], gray[row]
        different = np.uint8(0)
        for j in range(new.shape[0]):  # no branch here, so that it vectorises
            different = max(different, np.uint8(new[j] ^ old[j]))
            old[j] = new[j]
        changed[row] = different != 0
        if different:
            for j in range(new.shape[0]):
                bright = table[new[j]]
                line[j] = np.uint8(bright)
                met |= bright
    return met


def _make_brighter(one: Any, other: Any, here: Any, there: Any, both: Any, changed: Any) -> None:
    """Write to `both` the brighter of two screens, in the rows where one of them changed.

    Screens `[height, width]`; `here`, `there` and what is written to `changed` `[height]`.
    """
    for row in range(both.shape[0]):
        changed[row] = here[row] | there[row]
        if changed[row]:
            line, first, second = both[row], one[row], other[row]
            for j in range(line.shape[0]):
                line[j] = max(first[j], second[j])


class ScreensEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Holds an action for `skip` frames and shows the brighter of the last two at every place.

    What `MaxAndSkipObservation` does, in two steps of the game instead of `skip`: one up to the
    last frame but one, and one more; a `skip` of 1 shows every frame as it is. The game is told to
    show its 128 bytes of memory, and the screens are fetched here. An episode that ends on the way
    shows its last frame alone. `shrink` makes what is shown smaller.
    """

    def __init__(self, env: AnyGym, skip: int) -> None:
        super().__init__(env)
        self.observation_space = env.observation_space
        game: Any = env.unwrapped
        self._game, self._held = game, skip - 1
        game._obs_type = "ram"
        game.observation_space = Box(0, 255, (game.ale.getRAMSize(),), np.uint8)
        self._before, self._last = Screens(game.ale), Screens(game.ale)
        self._both, self._changed = self._last.gray.copy(), self._last.changed.copy()
        self._brighter = compiled_once(_make_brighter)
        self._alone: bool | None = None
        self._average: RowAverage | None = None

    @property
    def shrunk(self) -> bool:
        """Whether it shows pictures of another size than the screen's."""
        return self._average is not None

    def shrink(self, height: int, width: int) -> bool:
        """Show pictures of another size from now on, where `row_average` can; say whether."""
        shape = self._both.shape
        self._average = row_average((shape[0], shape[1]), (height, width))
        self._alone = None  # nothing was shown yet in this size
        if self.shrunk:
            self.observation_space = Box(0, 255, (height, width), np.uint8)
        return self.shrunk

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._show(alone=True), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take `skip` steps, fewer where the episode ends."""
        if not self._held:
            _, reward, terminated, truncated, info = self.env.step(action)
            return self._show(alone=True), reward, terminated, truncated, info
        self._game._frameskip = self._held
        try:
            _, reward, terminated, truncated, info = self.env.step(action)
        finally:
            self._game._frameskip = 1  # what is inside may take steps of its own, in `reset`
        if terminated or truncated:
            return self._show(alone=True), float(reward), terminated, truncated, info
        self._before.look()
        _, last, terminated, truncated, info = self.env.step(action)
        return self._show(alone=False), float(reward) + float(last), terminated, truncated, info

    def _show(self, alone: bool) -> Any:
        """Return the screen, alone or with the one before it, in an array of its own."""
        before, last = self._before, self._last
        picture, changed = last.look(), last.changed
        if alone != self._alone:  # what was shown last was made of other screens
            self._alone = alone
            changed[:] = 1
        if not alone:
            assert self._brighter is not None
            shown = self._both, self._changed
            self._brighter(before.gray, picture, before.changed, changed, *shown)
            picture, changed = shown
        return picture.copy() if self._average is None else self._average(picture, changed)
