"""What the loop asks of an algorithm: to act, to update, and to say what a checkpoint must hold."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from gymnasium import Space

from rlrun.config import ConfigError, Problem
from rlrun.nets.torso import Network
from rlrun.types import Carry, Decision, EnvSpec, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True)
class Setting:
    """The world an algorithm is built into."""

    spec: EnvSpec
    network: Network
    device: torch.device


class Algorithm(ABC):
    """Two verbs and one number.

    `horizon` is the number of environment steps, per environment, between updates; 0 means that
    the algorithm plans from `spec.model` and takes no steps. Subclasses are built as
    `(config, setting)`, set `Config` to a frozen dataclass of their own file, and name the spaces
    they serve. `runner` "async" asks for workers in processes, each with a copy of the algorithm;
    what they share are the `SharedLearner`s among its `parts`.
    """

    Config: ClassVar[type]
    obs_spaces: ClassVar[tuple[type[Space[Any]], ...]]
    action_spaces: ClassVar[tuple[type[Space[Any]], ...]]
    recurrent: ClassVar[bool] = False
    """Whether it can use networks with memory."""
    steady: bool = False
    """Whether `act`, which explores, depends on tensors alone, so that it can be compiled."""
    runner: ClassVar[Literal["sync", "async"]] = "sync"
    horizon: int
    converged: bool = False

    def __init__(self, config: Any, setting: Setting) -> None:
        self.spec = setting.spec
        self.device = setting.device
        faults = self.faults(vars(config), setting.spec.num_envs)
        if faults:
            raise ConfigError(*faults)
        self._require("observation", setting.spec.obs_space, self.obs_spaces)
        self._require("action", setting.spec.action_space, self.action_spaces)

    @classmethod
    def faults(cls, values: Mapping[str, Any], num_envs: int) -> list[Problem]:
        """Return what is wrong with options together, each of which is right by itself.

        `values` may lack options that are wrong; it is asked before anything is built.
        """
        return []

    def anneal(self, progress: float) -> None:
        """Set whatever depends on how far the run is, `progress` in [0, 1]; called before acting.

        Schedules are functions of progress alone, so a resumed run continues where it was.
        """
        return

    @abstractmethod
    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Choose actions for observations `[N, ...]`."""

    @abstractmethod
    def update(self, fragment: Fragment) -> Metrics:
        """Learn from a fragment and return what is worth logging."""

    @abstractmethod
    def parts(self) -> Mapping[str, Stateful]:
        """Return what a checkpoint must hold; `policy` is the part that acting needs."""

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the carry of an episode's first step for N environments."""
        return ()

    def _require(self, kind: str, space: Space[Any], served: tuple[type[Space[Any]], ...]) -> None:
        if not isinstance(space, served):
            names = " or ".join(each.__name__ for each in served)
            name = type(self).__module__.rsplit(".", 1)[-1]
            reason = f"{name} needs {names} {kind}s; {self.spec.name} has {space}"
            fix = "'rlrun list algos' shows which serves it"
            raise ConfigError(Problem("algo", f"{reason}; {fix}"))
