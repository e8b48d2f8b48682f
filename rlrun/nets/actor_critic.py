"""Policy and value function as one bundle: what PPO, A2C, REINFORCE and TRPO train and save."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlrun.config import ConfigError, Problem, option
from rlrun.functional.distributions import Distribution
from rlrun.nets.heads import action_head
from rlrun.nets.layers import orthogonal
from rlrun.nets.memory import MemoryStack, segments
from rlrun.nets.normalizer import ObsNormalizer, RewardScaler
from rlrun.nets.torso import Network, TorsoStack
from rlrun.types import Carry, Decision, EnvSpec, Fragment, History, Obs, Seen, map_obs


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Options of the bundle, under `algo.policy`."""

    normalize_observation: bool = option("scale observations by running statistics")
    normalize_reward: bool = option("scale rewards by the running deviation of the return")
    action_distribution: Literal[
        "gaussian", "conditioned_gaussian", "squashed_gaussian", "beta", "gsde"
    ] = option(
        "for Box actions: clipped normal, one whose deviation depends on the state, normal through "
        "tanh, Beta, state-dependent exploration"
    )
    log_std_init: float = option("logarithm of the first standard deviation, for Box actions")
    sde_sample_freq: int = option("steps between fresh gSDE noise", at_least=1)


class ActorCritic(nn.Module):
    """Normalisers, torso(s), action head and value head; all inputs `[..., *obs_shape]`,
    or for torsos with memory histories of them.

    With `network.shared` one torso serves both heads. With `apart` no parameter serves policy and
    value both, or lies in one tensor with the other's, so that each can be moved alone.
    """

    def __init__(
        self,
        config: PolicyConfig,
        spec: EnvSpec,
        network: Network,
        gamma: float,
        *,
        apart: bool = False,
    ) -> None:
        super().__init__()
        if apart and network.shared:
            reason = "policy and value are learned apart here; set network.shared=false"
            raise ConfigError(Problem("network.shared", reason))
        self.normalizer = ObsNormalizer(spec.obs_space) if config.normalize_observation else None
        scale = config.normalize_reward
        self.reward_scaler = RewardScaler(spec.num_envs, gamma) if scale else None
        self.torsos = (
            TorsoStack([network.build(spec.obs_space) for _ in range(2)])
            if apart
            else network.stack(spec.obs_space, 1 if network.shared else 2)
        )
        self._critic = 0 if network.shared else 1
        self._memory = len(self.torsos.initial_carry(1))
        self.action_head = action_head(
            spec.action_space,
            self.torsos.features,
            config.action_distribution,
            config.log_std_init,
            config.sde_sample_freq,
        )
        self.value_head = orthogonal(nn.Linear(self.torsos.features, 1), 1.0)

    def act(self, obs: Obs, carry: Carry, explore: bool) -> Decision:
        """Choose actions for observations `[N, ...]`; without memory only the policy's half runs.

        A value with a memory of its own has to see every step too.
        """
        features, memory = self.torsos.step(self._normalize(obs), carry[: self._memory])
        action, noise = self.action_head.decide(features, carry[self._memory :], explore)
        return Decision(action, memory + noise)

    def recall(self, fragment: Fragment) -> Seen:
        """Return what policy and value are functions of in a fragment, `[T, N, ...]`."""
        if not self.torsos.recurrent:
            return fragment.obs
        return History(fragment.obs, fragment.start, fragment.carry[: self._memory])

    def forward(self, obs: Seen) -> tuple[Distribution, Tensor]:
        """Return the action distribution and the value `[...]`."""
        features = self.torsos(self._normalized(obs)).unbind(0)
        return self.action_head(features[0]), self._value(features[self._critic])

    def distribution(self, obs: Seen) -> Distribution:
        """Return the action distribution alone."""
        head: Distribution = self.action_head(self.torsos.only(0, self._normalized(obs)))
        return head

    def value(self, obs: Seen) -> Tensor:
        """Return the value alone, `[...]`."""
        return self._value(self.torsos.only(self._critic, self._normalized(obs)))

    @torch.no_grad()
    def values(self, fragment: Fragment) -> tuple[Tensor, Tensor]:
        """Return the values of a fragment's observations and of their successors, both `[T, N]`.

        A network with memory knows the successor as the next step of the same episode; where an
        episode or the fragment ends, that is a step of its own.
        """
        if not isinstance(self.torsos, MemoryStack):
            return self.value(fragment.obs), self.next_value(fragment)
        history = self._normalized(self.recall(fragment))
        features, carry = self.torsos.unroll(self._critic, history)
        value = self._value(features)
        env, _, last = segments(history.start)
        ends: Obs = map_obs(lambda leaf: leaf[last, env], fragment.next_obs)
        after = self.torsos.follow(self._critic, self._normalize(ends), carry)
        next_value = value.roll(-1, 0)
        next_value[last, env] = self._value(after)
        return value, next_value

    @torch.no_grad()
    def next_value(self, fragment: Fragment) -> Tensor:
        """Return the values of a fragment's successors alone, `[T, N]`."""
        if self.torsos.recurrent:
            return self.values(fragment)[1]
        return self.value(fragment.next_obs)

    def parameters_apart(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters of the policy and those of the value of a bundle built `apart`."""
        policy, value = self.torsos.torsos
        actor = [*policy.parameters(), *self.action_head.parameters()]
        return actor, [*value.parameters(), *self.value_head.parameters()]

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of parameters of policy and value, and of a trunk they share."""
        trunk, policy, value = (
            sum(each.numel() for each in part.parameters())
            for part in (self.torsos, self.action_head, self.value_head)
        )
        if self._critic == 0:
            return {"shared": trunk, "policy": policy, "value": value}
        return {"policy": trunk // 2 + policy, "value": trunk - trunk // 2 + value}

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the carry of an episode's first step: what the torsos remember, then the noise."""
        return self.torsos.initial_carry(num_envs) + self.action_head.initial_carry(num_envs)

    @property
    def empty_memory(self) -> Callable[[int], Carry] | None:
        """What gives the torsos' memory at an episode's start, None if they have none."""
        return self.torsos.initial_carry if self.torsos.recurrent else None

    def scale_reward(self, reward: Tensor, done: Tensor) -> Tensor:
        """Return a fragment's rewards `[T, N]` on the scale the value function learns."""
        return reward if self.reward_scaler is None else self.reward_scaler(reward, done)

    @torch.no_grad()
    def absorb(self, obs: Obs) -> None:
        """Let the observation normaliser take in a fragment's observations `[T, N, ...]`."""
        if self.normalizer is not None:
            self.normalizer.absorb(obs)

    def _value(self, features: Tensor) -> Tensor:
        value: Tensor = self.value_head(features)
        return value.float().squeeze(-1)

    def _normalize(self, obs: Obs) -> Obs:
        return obs if self.normalizer is None else self.normalizer(obs)

    def _normalized(self, obs: Seen) -> Any:
        if isinstance(obs, History):
            return obs._replace(obs=self._normalize(obs.obs))
        return self._normalize(obs)
