"""Actors of off-policy algorithms: deterministic, squashed normal, and a choice among A.

Those for Box work in unit actions, `[-1, 1]`, and act in the environment's units.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlrun.config import option
from rlrun.functional.distributions import Categorical
from rlrun.functional.noise import ornstein_uhlenbeck, perturbed
from rlrun.functional.soft import categorical_expectation, squashed_normal
from rlrun.nets.action_bounds import ActionBounds, action_size
from rlrun.nets.critics import ChoiceCritics
from rlrun.nets.heads import POLICY_GAIN, ActionHead, SpreadHead, StateDependentHead
from rlrun.nets.layers import orthogonal
from rlrun.nets.torso import Network
from rlrun.nets.tracing import traced
from rlrun.nets.warming import WarmingPolicy
from rlrun.types import Carry, Decision, EnvSpec, Obs, leaves


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Options of exploring around a deterministic policy."""

    action_noise: Literal["none", "normal", "ornstein_uhlenbeck"] = option("what explores")
    noise_std: float = option("its scale; actions are in [-1, 1] here", at_least=0)
    noise_theta: float = option("pull of ornstein_uhlenbeck back to 0", at_least=0)
    noise_dt: float = option("time of one step of ornstein_uhlenbeck", above=0)


class Actor(WarmingPolicy):
    """What acts: at random while `warming`, then as it has learned.

    `warming` travels with the weights, so that a loaded policy explores as it did when saved.
    """

    def __init__(self) -> None:
        super().__init__(warming=True)

    def act(self, obs: Obs, carry: Carry, explore: bool) -> Decision:
        """Choose actions for observations `[N, ...]`."""
        compiling = traced()
        if not explore or not (compiling or self.warming):
            return Decision(*self.decide(obs, carry, explore))
        drawn = self.draw_uniformly(len(leaves(obs)[0]))
        if not compiling:
            return Decision(drawn, carry)
        action, carry = self.decide(obs, carry, explore)
        return Decision(torch.where(self.cold, drawn, action), carry)

    @abstractmethod
    def draw_uniformly(self, count: int) -> Tensor:
        """Draw actions of the environment, all equally likely."""

    @abstractmethod
    def decide(self, obs: Obs, carry: Carry, explore: bool) -> tuple[Tensor, Carry]:
        """Return actions of the environment `[N, ...]` and the next carry."""

    def unit(self, action: Tensor) -> Tensor:
        """Return the environment's actions as the critics see them."""
        return action

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the carry of an episode's first step."""
        return ()

    def get_extra_state(self) -> bool:
        """Return what a checkpoint holds besides the weights."""
        return self.warming

    def set_extra_state(self, state: Any) -> None:
        """Take it back."""
        self.warming = bool(state)


class BoxActor(Actor):
    """An actor for a bounded Box of floats; ConfigError names any other."""

    def __init__(self, spec: EnvSpec, network: Network) -> None:
        super().__init__()
        self.bounds = ActionBounds(spec.action_space)
        self.size = action_size(spec.action_space)
        self.torso = network.build(spec.obs_space)

    def draw_uniformly(self, count: int) -> Tensor:
        """Draw actions `[count, A]` of the environment, uniform within its bounds."""
        centre = self.bounds.centre
        return self.bounds.stretch(centre.new_empty(count, self.size).uniform_(-1.0, 1.0))

    def unit(self, action: Tensor) -> Tensor:
        """Return actions `[..., A]` in [-1, 1]."""
        return self.bounds.shrink(action)


class DeterministicActor(BoxActor):
    """One action for each observation, through tanh; noise explores around it.

    Carry: the state of the Ornstein-Uhlenbeck noise `[N, A]`, if that is the noise.
    """

    def __init__(self, spec: EnvSpec, network: Network, noise: NoiseConfig) -> None:
        super().__init__(spec, network)
        self.noise = noise
        self.linear = nn.Linear(self.torso.features, self.size)

    def forward(self, obs: Obs) -> Tensor:
        """Return unit actions `[..., A]`."""
        action: Tensor = self.linear(self.torso(obs))
        return action.float().tanh()

    def decide(self, obs: Obs, carry: Carry, explore: bool) -> tuple[Tensor, Carry]:
        """Return actions `[N, A]` of the environment, with noise to explore."""
        action, kind = self(obs), self.noise.action_noise
        if explore and kind != "none":
            draw = torch.randn_like(action)
            if kind == "normal":
                draw = draw * self.noise.noise_std
            else:
                draw = self._wander(carry[0], draw)
                carry = (draw,)
            action = perturbed(action, draw)
        return self.bounds.stretch(action), carry

    def initial_carry(self, num_envs: int) -> Carry:
        """Return noise at rest."""
        if self.noise.action_noise != "ornstein_uhlenbeck":
            return ()
        return (self.bounds.centre.new_zeros(num_envs, self.size),)

    def _wander(self, state: Tensor, draw: Tensor) -> Tensor:
        noise = self.noise
        return ornstein_uhlenbeck(state, draw, noise.noise_theta, noise.noise_std, noise.noise_dt)


class SquashedActor(BoxActor):
    """A normal distribution through tanh, with noise of its own or, by `gsde`, smooth in time.

    While learning, gSDE's noise is drawn for each row from its marginal distribution.
    """

    def __init__(
        self, spec: EnvSpec, network: Network, gsde: tuple[float, int] | None = None
    ) -> None:
        """Build it; `gsde` is the first log-deviation of gSDE and the steps between its draws."""
        super().__init__(spec, network)
        features = self.torso.features
        self.head: ActionHead = (
            SpreadHead(features, self.size)
            if gsde is None
            else StateDependentHead(features, self.size, *gsde)
        )

    def forward(self, obs: Obs) -> tuple[Tensor, Tensor]:
        """Draw unit actions `[..., A]`; return them with their log-density `[...]`."""
        mean, log_std = self.head(self.torso(obs))
        return squashed_normal(mean, log_std, torch.randn_like(mean))

    def expect(self, obs: Obs, critics: Callable[[Obs, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Estimate the mean of min_k q and of log pi under the policy from one draw, `[B]` each."""
        action, log_prob = self(obs)
        return critics(obs, action).amin(0), log_prob

    def decide(self, obs: Obs, carry: Carry, explore: bool) -> tuple[Tensor, Carry]:
        """Return actions `[N, A]` of the environment."""
        raw, carry = self.head.decide(self.torso(obs), carry, explore)
        return self.bounds.stretch(raw.tanh()), carry

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the carry of an episode's first step."""
        return self.head.initial_carry(num_envs)


class CategoricalActor(Actor):
    """A choice among the A actions of a Discrete space."""

    def __init__(self, spec: EnvSpec, network: Network) -> None:
        super().__init__()
        assert isinstance(spec.action_space, spaces.Discrete)
        self.choices = int(spec.action_space.n)
        self.torso = network.build(spec.obs_space)
        self.linear = orthogonal(nn.Linear(self.torso.features, self.choices), POLICY_GAIN)

    def forward(self, obs: Obs) -> Tensor:
        """Return logits `[..., A]`."""
        logits: Tensor = self.linear(self.torso(obs))
        return logits.float()

    def expect(self, obs: Obs, critics: ChoiceCritics) -> tuple[Tensor, Tensor]:
        """Return the exact means of min_k q and of log pi under the policy, `[B]` each."""
        with torch.no_grad():  # the values do not depend on the policy
            values = critics.every(obs).amin(0)
        return categorical_expectation(self(obs), values)

    def draw_uniformly(self, count: int) -> Tensor:
        """Draw actions `[count]`, all equally likely."""
        return torch.randint(self.choices, (count,), device=self.linear.weight.device)

    def decide(self, obs: Obs, carry: Carry, explore: bool) -> tuple[Tensor, Carry]:
        """Return actions `[N]`: drawn, or the most likely."""
        choice = Categorical(self(obs))
        return (choice.sample() if explore else choice.mode()), carry
