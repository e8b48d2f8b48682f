"""`env.wrappers`: from names and options to an environment with everything around it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from gymnasium import error

from rlrun.config import ConfigError, Problem, near_miss, parse
from rlrun.envs.wrappers import actions, games, limits, observations
from rlrun.envs.wrappers.base import AnyGym, Wrapper

WRAPPERS: dict[str, type[Wrapper]] = {
    kind.name: kind
    for kind in (
        limits.TimeLimit,
        *(observations.FrameStack, observations.Grayscale, observations.Resize),
        *(observations.MaxAndSkip, games.EpisodicLife, games.NoopStart, games.FireReset),
        *(actions.ClipReward, actions.ActionRepeat, observations.Flatten, observations.OneHot),
        *(observations.TimeAware, actions.StickyAction, actions.RescaleAction, games.Atari),
        observations.Select,
    )
}
LONGEST = 20
"""So many wrappers may be written; a file from elsewhere cannot ask for a million."""


@dataclass(frozen=True)
class Wrappers:
    """The entries of `env.wrappers`, the innermost first."""

    entries: tuple[Wrapper, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read a list of names and of mappings with a name; ValueError says what is wrong."""
        if not isinstance(value, list | tuple):
            raise ValueError(f"{value!r} is not a list, write [a, {{name: b, size: 4}}]")
        if len(value) > LONGEST:
            raise ValueError(f"{len(value)} wrappers are more than {LONGEST}")
        entries = tuple(_entry(each) for each in value)
        for entry in entries[1:]:
            if entry.ends_games:
                raise ValueError(f"{entry.name} cuts whole games; write it first, and only once")
        return cls(entries)

    def plain(self) -> list[dict[str, Any]]:
        """Return the list as JSON holds it."""
        return [entry.plain() for entry in self.entries]

    def around(self, env: AnyGym) -> AnyGym:
        """Put everything around an environment; ConfigError names the wrapper that does not fit."""
        name = env.spec.id if env.spec else type(env.unwrapped).__name__
        score = None
        for entry in self.entries:
            if self.scored and score is None and not entry.ends_games:
                env = score = games.ScoreEnv(env)
            if lacking := entry.needs(env):
                fix = "else take it out of env.wrappers, whose order counts"
                raise _refused(f"{entry.name} on {name} needs {lacking}; {fix}")
            try:
                env = entry.wrap(env)
            except (error.DependencyNotInstalled, ModuleNotFoundError) as fault:
                reason = "needs OpenCV, which is not installed: pip install 'rlrun[atari]'"
                raise _refused(f"{entry.name} {reason}") from fault
            except (TypeError, ValueError, AssertionError, error.Error) as fault:
                reason = (str(fault).splitlines() or [type(fault).__name__])[0]
                raise _refused(f"{entry.name} does not fit {name}: {reason}") from fault
        return games.TellScoreEnv(env, score) if score else env

    @property
    def scored(self) -> bool:
        """Whether rewards or lives are for training only, so that a game's score is told apart."""
        left = Wrappers(tuple(entry for entry in self.entries if not entry.ends_games))
        return left.in_evaluation() != left

    def in_evaluation(self) -> "Wrappers":
        """Return those that stay where whole games are scored in their own rewards."""
        left = (entry.in_evaluation() for entry in self.entries)
        return Wrappers(tuple(entry for entry in left if entry is not None))


def _entry(value: Any) -> Wrapper:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError(f"{value!r} is neither a name nor {{name: ..., ...}}")
    name = value["name"]
    if name not in WRAPPERS:
        hint = near_miss(name, WRAPPERS) or f"; there are {', '.join(WRAPPERS)}"
        raise ValueError(f"{name!r} does not exist{hint}")
    problems: list[Problem] = []
    options = {key: option for key, option in value.items() if key != "name"}
    entry = parse(WRAPPERS[name], options, f"{name}.", problems)
    if entry is None:
        raise ValueError(", ".join(f"{each.key}: {each.message}" for each in problems))
    return entry


def _refused(reason: str) -> ConfigError:
    return ConfigError(Problem("env.wrappers", reason))
