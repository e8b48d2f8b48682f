"""Proximal policy optimisation with a clipped objective.

Schulman et al. 2017, "Proximal policy optimization algorithms", arXiv:1707.06347, eq. 7 and 9;
advantages by Schulman et al. 2016, eq. 16. The details follow the list of Huang et al. 2022, "The
37 implementation details of PPO"; docs/algorithms/ppo.md says which and why.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import mse_loss

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import Problem, option
from rlrun.data.minibatch import flat_rows, minibatches, undivided
from rlrun.functional.losses import (
    approximate_kl,
    clipped_surrogate,
    clipped_value_loss,
    normalize,
)
from rlrun.functional.returns import explained_variance, generalized_advantage
from rlrun.functional.schedules import Schedule
from rlrun.nets.actor_critic import ActorCritic, PolicyConfig
from rlrun.nets.learner import Learner, mean_metrics
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful

LOG_RATIO = "log_ratio"  # kept by row and reduced once an update, not once a minibatch


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Options of `algo=ppo`."""

    n_steps: int = option("steps per environment between updates", at_least=1)
    batch_size: int = option("rows of a minibatch", at_least=1)
    n_epochs: int = option("passes over each fragment", at_least=1)
    learning_rate: Schedule = option("step size of Adam", at_least=0, at_most=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    gae_lambda: float = option("bias against variance of the advantage", at_least=0, at_most=1)
    clip_range: Schedule = option("how far the probability ratio may move", at_least=0, at_most=1)
    clip_range_vf: float | None = option("how far the value may move; null does not clip", above=0)
    ent_coef: float = option("weight of the entropy bonus", at_least=0)
    vf_coef: float = option("weight of the value loss", at_least=0)
    max_grad_norm: float = option("the gradient's norm is clipped to this", above=0)
    target_kl: float | None = option("stop an update early beyond 1.5 times this", above=0)
    normalize_advantage: bool = option("give each minibatch mean 0 and deviation 1")
    recompute_advantage: bool = option("compute advantages anew before every epoch")
    policy: PolicyConfig = option("the policy bundle")


class PPO(Algorithm):
    """Collects `n_steps`, then takes `n_epochs` passes of clipped policy-gradient steps."""

    Config = PPOConfig
    recurrent = steady = True
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
        """Return the minibatches that do not divide a fragment."""
        return undivided(values, num_envs)

    def __init__(self, config: PPOConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        self.horizon = config.n_steps
        policy = ActorCritic(config.policy, setting.spec, setting.network, config.gamma)
        self.policy = policy.to(setting.device)
        self.learner = Learner(
            self.policy.parameters(), epsilon=1e-5, max_grad_norm=config.max_grad_norm
        )
        # a tensor, so that a compiled loss reads it instead of being compiled anew
        self.clip_range = torch.zeros((), device=setting.device)
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size and the clipping range."""
        self.learner.learning_rate = self.config.learning_rate(progress)
        self.clip_range.fill_(self.config.clip_range(progress))

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Sample from the policy, or take its most likely action."""
        return self.policy.act(obs, carry, explore)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the policy's carry at an episode's start."""
        return self.policy.initial_carry(num_envs)

    def update(self, fragment: Fragment) -> Metrics:
        """Take `n_epochs` passes over the fragment in shuffled minibatches."""
        reward = self.policy.scale_reward(fragment.reward, fragment.done)
        rows = self._rows(fragment, reward)
        old_value, target = rows["old_value"], rows["target"]
        history: list[dict[str, Tensor]] = []
        for batch in self._batches(fragment, rows, reward):
            history.append(self.learner.minimize(self.loss, batch))
            if self._moved_too_far(history[-1][LOG_RATIO]):
                break
        log_ratio = torch.cat([row.pop(LOG_RATIO) for row in history])
        clipped = (log_ratio.exp() - 1.0).abs() > self.clip_range
        self.policy.absorb(fragment.obs)
        return {
            **mean_metrics(history),
            "train/approx_kl": approximate_kl(log_ratio),
            "train/clip_fraction": clipped.float().mean(),
            "train/explained_variance": explained_variance(old_value, target),
            "train/learning_rate": self.learner.learning_rate,
            "train/clip_range": self.clip_range.clone(),
        }

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective of eq. 9, negated, and its parts."""
        config = self.config
        distribution, value = self.policy(batch["obs"])
        log_prob, entropy = distribution.evaluate(batch["action"])
        log_ratio = log_prob - batch["old_log_prob"]
        advantage = batch["advantage"]
        if config.normalize_advantage:
            advantage = normalize(advantage)
        policy_loss = clipped_surrogate(log_ratio, advantage, self.clip_range).mean()
        if config.clip_range_vf is None:
            value_loss = mse_loss(value, batch["target"])
        else:
            clip = config.clip_range_vf
            errors = clipped_value_loss(value, batch["old_value"], batch["target"], clip)
            value_loss = errors.mean()
        loss = policy_loss.add(value_loss, alpha=config.vf_coef)
        mean_entropy = entropy.mean()
        if config.ent_coef > 0.0:
            loss = loss.sub(mean_entropy, alpha=config.ent_coef)
        return loss, {
            "train/policy_gradient_loss": policy_loss.detach(),
            "train/value_loss": value_loss.detach(),
            "train/entropy_loss": -mean_entropy.detach(),
            LOG_RATIO: log_ratio.detach(),
        }

    def parts(self) -> dict[str, Stateful]:
        """Return the policy bundle and the optimizer."""
        return {"policy": self.policy, "optimizer": self.learner}

    def _batches(
        self, fragment: Fragment, rows: dict[str, Any], reward: Tensor
    ) -> Iterator[dict[str, Any]]:
        for epoch in range(self.config.n_epochs):
            if epoch and self.config.recompute_advantage:
                rows = {**rows, **self._targets(fragment, reward)}
            yield from minibatches(flat_rows(**rows), self.config.batch_size)

    @torch.no_grad()
    def _rows(self, fragment: Fragment, reward: Tensor) -> dict[str, Any]:
        seen = self.policy.recall(fragment)
        log_prob = self.policy.distribution(seen).log_prob(fragment.action)
        rows = {"obs": seen, "action": fragment.action, "old_log_prob": log_prob}
        return {**rows, **self._targets(fragment, reward)}

    def _targets(self, fragment: Fragment, reward: Tensor) -> dict[str, Any]:
        value, next_value = self.policy.values(fragment)
        advantage = generalized_advantage(
            reward,
            value,
            next_value,
            fragment.terminated,
            fragment.truncated,
            self.config.gamma,
            self.config.gae_lambda,
        )
        return {"old_value": value, "advantage": advantage, "target": advantage + value}

    def _moved_too_far(self, log_ratio: Tensor) -> bool:
        limit = self.config.target_kl
        return limit is not None and float(approximate_kl(log_ratio)) > 1.5 * limit
