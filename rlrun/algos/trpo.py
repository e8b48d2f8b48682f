"""Trust region policy optimisation.

Schulman et al. 2015, "Trust region policy optimization", arXiv:1502.05477, eq. 14 and appendix C;
advantages by Schulman et al. 2016, eq. 16; fragments used more than once as in Queeney et al. 2022,
"Generalized policy improvement algorithms", arXiv:2206.13714. docs/algorithms/trpo.md lists the
details.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import mse_loss

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import Problem, option
from rlrun.data.minibatch import flat_rows, minibatches, undivided
from rlrun.data.recent import Recent
from rlrun.functional.distributions import frozen
from rlrun.functional.losses import normalize
from rlrun.functional.returns import (
    explained_variance,
    temporal_difference,
    v_trace_advantage,
)
from rlrun.functional.schedules import Schedule
from rlrun.functional.trust_region import surrogate
from rlrun.nets.actor_critic import ActorCritic, PolicyConfig
from rlrun.nets.learner import Learner, mean_metrics
from rlrun.nets.natural_gradient import NaturalGradient
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful, map_obs


@dataclass(frozen=True, kw_only=True)
class TRPOConfig:
    """Options of `algo=trpo`."""

    n_steps: int = option("steps per environment between updates", at_least=1)
    n_fragments: int = option("newest fragments an update learns from, 1: each once", at_least=1)
    batch_size: int = option("rows of a minibatch of the value function", at_least=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    gae_lambda: float = option("bias against variance of the advantage", at_least=0, at_most=1)
    target_kl: Schedule = option("how far an update may move the policy, mean KL", at_least=0)
    cg_max_steps: int = option("most steps of the conjugate gradient", at_least=1)
    cg_damping: float = option("added to the diagonal of the Fisher matrix", at_least=0)
    line_search_shrinking_factor: float = option("what a refused step is cut by", above=0, below=1)
    line_search_max_iter: int = option("most steps tried before none is taken", at_least=1)
    n_critic_updates: int = option("passes of the value function over the rows", at_least=1)
    learning_rate: Schedule = option("step size of Adam for the value", at_least=0, at_most=1)
    normalize_advantage: bool = option("give an update's rows mean 0 and deviation 1")
    sub_sampling_factor: int = option("measure curvature on one row in this many", at_least=1)
    policy: PolicyConfig = option("the policy bundle")


class TRPO(Algorithm):
    """Collects `n_steps`, takes one bounded natural-gradient step, then fits the value."""

    Config = TRPOConfig
    steady = True
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)

    @classmethod
    def faults(cls, values: Mapping[str, Any], num_envs: int) -> list[Problem]:
        """Return a bound that holds the policy fast, and minibatches that do not divide."""
        problems = undivided(values, num_envs)
        bound = values.get("target_kl")
        if isinstance(bound, Schedule) and not any(bound.extremes()):
            reason = "at 0 the policy never moves; set 0.01, or a schedule"
            problems.append(Problem("algo.target_kl", reason))
        return problems

    def __init__(self, config: TRPOConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        self.horizon = config.n_steps
        policy = ActorCritic(config.policy, setting.spec, setting.network, config.gamma, apart=True)
        self.policy = policy.to(setting.device)
        actor, critic = self.policy.parameters_apart()
        self.critic = Learner(critic, epsilon=1e-5)
        self.actor = NaturalGradient(
            actor,
            target_kl=config.target_kl(0.0),
            cg_max_steps=config.cg_max_steps,
            cg_damping=config.cg_damping,
            shrinking_factor=config.line_search_shrinking_factor,
            max_iter=config.line_search_max_iter,
        )
        self.recent = Recent(config.n_fragments, setting.spec, setting.device)
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size of the value function and the bound on the policy's step."""
        self.critic.learning_rate = self.config.learning_rate(progress)
        self.actor.target_kl = self.config.target_kl(progress)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Sample from the policy, or take its most likely action."""
        return self.policy.act(obs, carry, explore)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the policy's carry at an episode's start."""
        return self.policy.initial_carry(num_envs)

    def update(self, fragment: Fragment) -> Metrics:
        """Move the policy once, then fit the value in shuffled minibatches."""
        joined = self.recent.join(self._judged(fragment))
        before = self._remember(flat_rows(obs=joined.obs, action=joined.action))
        ratio = (before["old_log_prob"].view_as(joined.reward) - joined.extra["log_prob"]).exp()
        weight = ratio.clamp(max=1.0)
        advantage, value = self._advantage(joined, weight)
        target = weight * advantage + value
        if self.config.normalize_advantage:
            advantage = normalize(advantage)
        before["advantage"] = (ratio * advantage).flatten()
        moved = self.actor.step(self.surrogate, before, self._sample(before))
        fitted = self._fit_value(flat_rows(obs=joined.obs, target=target))
        self.policy.absorb(fragment.obs)
        return {
            **fitted,
            **moved,
            "train/entropy_loss": -before["old"].entropy().mean(),
            "train/explained_variance": explained_variance(value, target),
            "train/learning_rate": self.critic.learning_rate,
            "train/target_kl": self.actor.target_kl,
        }

    def surrogate(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the objective of eq. 14, negated, and the mean KL divergence to the new policy."""
        distribution = self.policy.distribution(batch["obs"])
        log_ratio = distribution.log_prob(batch["action"]) - batch["old_log_prob"]
        loss = surrogate(log_ratio, batch["advantage"]).mean()
        return loss, batch["old"].kl(distribution).mean()

    def value_loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error of the value."""
        loss = mse_loss(self.policy.value(batch["obs"]), batch["target"])
        return loss, {"train/value_loss": loss.detach()}

    def parts(self) -> dict[str, Stateful]:
        """Return the policy bundle, the optimizer of the value, and the fragments kept."""
        return {"policy": self.policy, "optimizer": self.critic, "recent": self.recent}

    def _fit_value(self, rows: Mapping[str, Obs]) -> dict[str, Tensor]:
        history = [
            self.critic.minimize(self.value_loss, batch)
            for _ in range(self.config.n_critic_updates)
            for batch in minibatches(rows, self.config.batch_size)
        ]
        return mean_metrics(history)

    @torch.no_grad()
    def _judged(self, fragment: Fragment) -> Fragment:
        """Return a fragment with scaled rewards, and how likely its actions were when taken."""
        rows = flat_rows(obs=fragment.obs, action=fragment.action)
        log_prob = self._remember(rows)["old_log_prob"].view_as(fragment.reward)
        reward = self.policy.scale_reward(fragment.reward, fragment.done)
        return fragment._replace(reward=reward, extra={"log_prob": log_prob})

    @torch.no_grad()
    def _advantage(self, fragment: Fragment, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the advantage and the value it was measured against, both `[T, N]`."""
        value, next_value = self.policy.values(fragment)
        gamma, gae_lambda = self.config.gamma, self.config.gae_lambda
        seen = (fragment.reward, value, next_value, fragment.terminated)
        delta = temporal_difference(*seen, gamma)
        advantage = v_trace_advantage(delta, fragment.done, weight, gamma, gae_lambda)
        return advantage, value

    @torch.no_grad()
    def _remember(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return the rows with the policy as it is now, which the step is measured from."""
        old = frozen(self.policy.distribution(rows["obs"]))
        return {**rows, "old": old, "old_log_prob": old.log_prob(rows["action"])}

    def _sample(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the rows to measure curvature on: all, or a random share of them."""
        factor, count = self.config.sub_sampling_factor, len(before["advantage"])
        if factor == 1:
            return before
        chosen = torch.randperm(count, device=self.device)[: max(count // factor, 1)]
        names = ("obs", "action", "advantage")
        return self._remember(
            {name: map_obs(lambda leaf: leaf[chosen], before[name]) for name in names}
        )
