"""What every entry of `env.wrappers` is: typed options, and how they are put around."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, TypeAlias

import gymnasium as gym

from rlrun.config import plain

AnyGym: TypeAlias = gym.Env[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Wrapper(ABC):
    """One entry of `env.wrappers`; a subclass holds its options as fields."""

    name: ClassVar[str]
    training_only: ClassVar[bool] = False
    ends_games: ClassVar[bool] = False
    """Whether an end it makes is that of a whole game; such an entry stands first."""

    @abstractmethod
    def wrap(self, env: AnyGym) -> AnyGym:
        """Return the environment with this around it."""

    def needs(self, env: AnyGym) -> str:
        """Return what the environment lacks, after "needs", or an empty string where it fits."""
        return ""

    def in_evaluation(self) -> Self | None:
        """Return what is left of it where whole games are scored in their own rewards."""
        return None if self.training_only else self

    def plain(self) -> dict[str, Any]:
        """Return name and options as JSON holds them."""
        options = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        return {"name": self.name, **options}


def action_meanings(env: AnyGym) -> list[str]:
    """Return the names that the environment gives its actions; Atari's does, most do not."""
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    return list(meanings()) if meanings is not None else []
