"""Wrappers for Atari: random starts, lives, the fire button, and the usual list of all of them.

Mnih et al. 2015, as Stable-Baselines3 and CleanRL have it: no-ops, four frames an action with the
maximum of the last two, 84 x 84 gray, lives as episodes, FIRE at the start, rewards in [-1, 1],
four pictures in a stack.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Self

import gymnasium as gym
from gymnasium import spaces

from rlrun.config import option
from rlrun.envs.base import SCORE_KEY
from rlrun.envs.wrappers.actions import ClipReward
from rlrun.envs.wrappers.base import AnyGym, Wrapper, action_meanings
from rlrun.envs.wrappers.observations import FrameStack, Grayscale, MaxAndSkip, Resize
from rlrun.types import shown

AnyWrapper = gym.Wrapper[Any, Any, Any, Any]
Reset = tuple[Any, dict[str, Any]]
NOOP, FIRE = 0, 1
UNTOLD = 8
"""So many games that finish in the steps of resets are remembered until an episode ends."""


@dataclass(frozen=True, kw_only=True)
class NoopStart(Wrapper):
    """Starts each episode with a random number of steps that do nothing."""

    name = "noop_start"
    noop_max: int = option("at most so many steps", at_least=1, at_most=1000)

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return NoopStartEnv(env, self.noop_max)

    def needs(self, env: AnyGym) -> str:
        """Ask for an action that does nothing."""
        return (
            "" if action_meanings(env)[:1] == ["NOOP"] else "an environment whose action 0 is NOOP"
        )


@dataclass(frozen=True, kw_only=True)
class FireReset(Wrapper):
    """Presses FIRE where an episode starts, without which some games wait for ever."""

    name = "fire_reset"

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return FireResetEnv(env)

    def needs(self, env: AnyGym) -> str:
        """Ask for the button."""
        return "" if has_fire(env) else "an environment whose action 1 is FIRE"


@dataclass(frozen=True, kw_only=True)
class EpisodicLife(Wrapper):
    """Ends an episode where a life is lost; the game goes on behind it. Not in evaluation."""

    name = "episodic_life"
    training_only = True

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put it around."""
        return EpisodicLifeEnv(env)

    def needs(self, env: AnyGym) -> str:
        """Ask for lives."""
        return "" if hasattr(env.unwrapped, "ale") else "a game of Atari, which counts lives"


@dataclass(frozen=True, kw_only=True)
class Atari(Wrapper):
    """The usual list for Atari; lives and clipped rewards are for training only."""

    name = "atari"
    noop_max: int = option("steps that do nothing at a start", at_least=0, at_most=1000)
    skip: int = option("frames an action is held", at_least=1, at_most=1000)
    size: int = option("height and width in pixels", at_least=1, at_most=4096)
    stack: int = option("pictures in a stack", at_least=1, at_most=64)
    episodic_life: bool = option("end an episode where a life is lost, in training")
    fire_reset: bool = option("press FIRE at a start, where the game has it")
    clip_reward: bool = option("rewards between -1 and 1, in training")

    def wrap(self, env: AnyGym) -> AnyGym:
        """Put the list around, the stack outermost."""
        for each in self._listed(env):
            env = each.wrap(env)
        return env

    def needs(self, env: AnyGym) -> str:
        """Ask for a game that shows every frame as an image."""
        if not hasattr(env.unwrapped, "ale"):
            return "a game of Atari, such as env=ALE/Pong-v5"
        if not isinstance(env.action_space, spaces.Discrete):
            return f"Discrete actions, not {shown(env.action_space)}"
        if len(env.observation_space.shape or ()) not in (2, 3):
            return f"env.kwargs.obs_type=grayscale or rgb, not {shown(env.observation_space)}"
        if getattr(env.unwrapped, "_frameskip", 1) != 1:
            return "env.kwargs.frameskip=1, because it skips frames itself"
        return ""

    def in_evaluation(self) -> Self:
        """Play whole games for their own rewards."""
        return replace(self, episodic_life=False, clip_reward=False)

    def _listed(self, env: AnyGym) -> list[Wrapper]:
        colours = len(env.observation_space.shape or ()) == 3
        chosen: list[tuple[bool, Wrapper]] = [
            (self.noop_max > 0, NoopStart(noop_max=self.noop_max)),
            (self.skip > 1, MaxAndSkip(skip=self.skip)),
            (self.episodic_life, EpisodicLife()),
            (self.fire_reset and has_fire(env), FireReset()),
            (colours, Grayscale(keep_dim=False)),
            (True, Resize(shape=(self.size, self.size))),
            (self.clip_reward, ClipReward(low=-1.0, high=1.0)),
            (True, FrameStack(size=self.stack)),
        ]
        return [each for wanted, each in chosen if wanted]


class ScoreEnv(AnyWrapper):
    """Adds up the rewards of each game, for the inside of a list; `finished` are those not told."""

    transparent = True

    def __init__(self, env: AnyGym) -> None:
        super().__init__(env)
        self._score = 0.0
        self.finished: deque[float] = deque(maxlen=UNTOLD)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        """Start a game."""
        self._score = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._score += float(reward)
        if terminated or truncated:
            self.finished.append(self._score)
        return obs, reward, terminated, truncated, info


class TellScoreEnv(AnyWrapper):
    """Tells at an episode's end the score of a game that finished since the last, outside a list.

    A game that finished in the steps that a reset takes is told at the next end.
    """

    def __init__(self, env: AnyGym, games: ScoreEnv) -> None:
        super().__init__(env)
        self._finished = games.finished

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if (terminated or truncated) and self._finished:
            info = {**info, SCORE_KEY: self._finished.popleft()}
        return obs, reward, terminated, truncated, info


class NoopStartEnv(AnyWrapper):
    """Takes 1 to `noop_max` steps of action 0 after each reset."""

    transparent = True

    def __init__(self, env: AnyGym, noop_max: int) -> None:
        super().__init__(env)
        self._most = noop_max

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        """Start an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        for _ in range(int(self.unwrapped.np_random.integers(1, self._most + 1))):
            obs, info = _step_or_reset(self.env, NOOP)
        return obs, info


class FireResetEnv(AnyWrapper):
    """Takes actions 1 and 2 after each reset, which start every game that waits for FIRE."""

    shows_the_same = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        """Start an episode."""
        self.env.reset(seed=seed, options=options)
        _step_or_reset(self.env, FIRE)
        return _step_or_reset(self.env, 2)


class EpisodicLifeEnv(AnyWrapper):
    """Terminates where a life is lost; the next reset then goes on in the same game.

    A reset with a seed always starts a game, because a seed decides everything that follows.
    """

    shows_the_same = True

    def __init__(self, env: AnyGym) -> None:
        super().__init__(env)
        self._lives, self._over = 0, True

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._over = terminated or truncated
        # some games show 0 lives for a few frames before they are over: no life is lost then
        lives = self._count()
        terminated = terminated or 0 < lives < self._lives
        self._lives = lives
        return obs, reward, terminated, truncated, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        """Start a game, or go on with the one at hand by a step that does nothing."""
        if self._over or seed is not None:
            obs, info = self.env.reset(seed=seed, options=options)
        else:
            obs, info = _step_or_reset(self.env, NOOP)
        self._lives, self._over = self._count(), False
        return obs, info

    def _count(self) -> int:
        game: Any = self.unwrapped
        return int(game.ale.lives())


def has_fire(env: AnyGym) -> bool:
    """Whether a game has the button among three actions or more."""
    meanings = action_meanings(env)
    return len(meanings) > 2 and meanings[FIRE] == "FIRE"


def _step_or_reset(env: AnyGym, action: int) -> Reset:
    obs, _, terminated, truncated, info = env.step(action)
    return env.reset() if terminated or truncated else (obs, info)
