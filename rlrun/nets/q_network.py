"""A network of action values that explores: what the DQN family trains and saves."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.config import ConfigError, Problem, option
from rlrun.functional.exploration import random_or_best, sample_boltzmann
from rlrun.functional.schedules import Schedule
from rlrun.nets.q_heads import QHead
from rlrun.nets.torso import Network
from rlrun.nets.tracing import traced
from rlrun.nets.warming import WarmingPolicy
from rlrun.types import Carry, Decision, EnvSpec, Obs, Seen, leaves


@dataclass(frozen=True, kw_only=True)
class ValueExplorationConfig:
    """How a value method acts while it learns."""

    exploration: Literal["epsilon_greedy", "boltzmann"] = option("the family of exploring policies")
    exploration_fraction: float = option("part of the run epsilon falls in", above=0, at_most=1)
    exploration_initial_eps: float = option("first epsilon", at_least=0, at_most=1)
    exploration_final_eps: float = option("last epsilon", at_least=0, at_most=1)
    temperature: Schedule = option("how evenly boltzmann spreads its actions", at_least=0)

    def rate(self) -> Schedule:
        """Return the schedule of the chosen family: epsilon, or the temperature."""
        if self.exploration == "boltzmann":
            return self.temperature
        first, last = self.exploration_initial_eps, self.exploration_final_eps
        return Schedule("linear", first, last, self.exploration_fraction)


@dataclass(frozen=True, kw_only=True)
class QHeadConfig:
    """What a network of action values says of each action."""

    dueling: bool = option("a value and advantages instead of action values")
    noisy: bool = option("learned noise in the last layer; explores without epsilon")
    distributional: Literal["none", "c51", "qr"] = option(
        "learn the mean return, its distribution on fixed atoms, or its quantiles"
    )
    n_atoms: int = option("atoms of c51, quantiles of qr", at_least=2)
    v_min: float = option("return of the first atom of c51")
    v_max: float = option("return of the last atom of c51")


class QNetwork(WarmingPolicy):
    """Torso and head; `forward` gives what is learned, `mean` the action values `[B, A]` in it.

    Without a `head` it is action values that are learned. `rate` is the epsilon or temperature of
    its exploration and travels with the weights; while `warming` is set it acts at random. With
    `steady` exploring depends on tensors alone.
    """

    support: Tensor
    epsilon: Tensor

    def __init__(
        self,
        exploration: ValueExplorationConfig,
        spec: EnvSpec,
        network: Network,
        head: QHeadConfig | None = None,
    ) -> None:
        super().__init__(warming=False)
        assert isinstance(spec.action_space, spaces.Discrete)
        self.actions = int(spec.action_space.n)
        self.boltzmann = exploration.exploration == "boltzmann"
        self.schedule = exploration.rate()
        self.steady = not self.boltzmann
        self._rate = self.schedule(0.0)
        self.register_buffer("epsilon", torch.tensor(self._rate), persistent=False)
        self.kind = "none" if head is None else head.distributional
        dueling, noisy = (False, False) if head is None else (head.dueling, head.noisy)
        atoms = 0 if head is None or self.kind == "none" else head.n_atoms
        self.torso = network.build(spec.obs_space)
        self.head = QHead(self.torso.features, self.actions, atoms, dueling, noisy)
        if head is not None and self.kind == "c51":
            if head.v_min >= head.v_max:
                reason = f"{head.v_min:g} is not below algo.v_max = {head.v_max:g}"
                raise ConfigError(Problem("algo.v_min", reason))
            self.register_buffer("support", torch.linspace(head.v_min, head.v_max, atoms))

    @property
    def rate(self) -> float:
        """The epsilon or the temperature; `epsilon` is the same as a tensor."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        if rate != self._rate:
            self._rate = rate
            self.epsilon.fill_(rate)

    def forward(self, obs: Seen, noisy: bool = True) -> Tensor:
        """Return action values `[B, A]`, logits of the atoms or quantiles `[B, A, K]`.

        Networks with memory see histories with rows chosen.
        """
        found: Tensor = self.head(self.torso(obs), noisy)
        return found

    def mean(self, found: Tensor) -> Tensor:
        """Return the action values `[B, A]` in what `forward` returned."""
        if self.kind == "c51":
            return (found.softmax(2) * self.support).sum(2)
        return found.mean(2) if self.kind == "qr" else found

    def value(self, obs: Obs) -> Tensor:
        """Return the value of the best action, `[B]`, without noise."""
        return self.mean(self(obs, noisy=False)).amax(1)

    def act(self, obs: Obs, carry: Carry, explore: bool) -> Decision:
        """Explore, or take the best action, for observations `[N, ...]`."""
        compiling = traced()  # asked first: a graph would hold on to the flag
        if explore and not compiling and self.warming and not carry:
            return Decision(self._any_action(obs))
        features, carry = self.torso.step(obs, carry)
        q = self.mean(self.head(features, explore))
        if not explore:
            return Decision(q.argmax(1), carry)
        if self.boltzmann:
            action = sample_boltzmann(q, self._rate, "first")
        else:
            action = random_or_best(q, self.epsilon)
        if compiling or self.warming:
            action = torch.where(self.cold, self._any_action(obs), action)
        return Decision(action, carry)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return what the network remembers at an episode's start."""
        return self.torso.initial_carry(num_envs)

    def _any_action(self, obs: Obs) -> Tensor:
        leaf = leaves(obs)[0]
        return torch.randint(self.actions, leaf.shape[:1], device=leaf.device)

    def get_extra_state(self) -> dict[str, Any]:
        """Return how it explores, which a checkpoint holds besides the weights."""
        return {"rate": self.rate, "warming": self.warming}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take that back."""
        self.rate, self.warming = float(state["rate"]), bool(state["warming"])
