"""Deep Q-learning and its descendants, each a switch that may be combined with the others.

Mnih et al. 2015, "Human-level control through deep reinforcement learning"; double, dueling, noisy,
prioritized, n-step and distributional as in Hessel et al. 2018, "Rainbow", arXiv:1710.02298, and
Dabney et al. 2018 (quantiles); docs/algorithms/dqn.md has every detail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import Problem, option
from rlrun.data.experience import Experience, ExperienceConfig
from rlrun.data.priorities import PrioritizedConfig
from rlrun.data.replay import Batch
from rlrun.data.sequences import SequenceConfig
from rlrun.functional.critics import td_target
from rlrun.functional.q_values import (
    cross_entropy,
    double_value,
    huber_loss,
    project,
    quantile_huber_loss,
    squared_loss,
    taken,
    weighted_mean,
)
from rlrun.functional.schedules import Schedule
from rlrun.nets.learner import Learner, mean_metrics
from rlrun.nets.q_network import QHeadConfig, QNetwork, ValueExplorationConfig
from rlrun.nets.target import Target
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Seen, Stateful

TD_ERROR = "td_error"  # kept by row: it becomes priorities


@dataclass(frozen=True, kw_only=True)
class DQNConfig(ExperienceConfig, ValueExplorationConfig, QHeadConfig):
    """Options of `algo=dqn` and `algo=rainbow`."""

    learning_rate: Schedule = option("step size of Adam", at_least=0, at_most=1)
    tau: float = option("share by which the target follows; 1 copies", above=0, at_most=1)
    target_update_interval: int = option("environment steps between target updates", at_least=1)
    max_grad_norm: float = option("the gradient's norm is clipped to this", above=0)
    loss: Literal["huber", "mse"] = option(
        "errors count squared up to 1 and straight beyond, or squared"
    )
    double: bool = option("the online network chooses the action that the target values")
    prioritized: bool = option("draw transitions in proportion to their error")
    priority: PrioritizedConfig = option("how, if prioritized")
    sequence: SequenceConfig = option("what a network with memory learns from")


class DQN(Algorithm):
    """Stores what it sees and learns action values from draws of it."""

    Config = DQNConfig
    recurrent = True
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Discrete,)

    @classmethod
    def faults(cls, values: Mapping[str, Any], num_envs: int) -> list[Problem]:
        """Return a loss that distributions do not have."""
        kind = values.get("distributional")
        if values.get("loss") != "mse" or kind not in ("c51", "qr"):
            return []
        reason = f"algo.distributional={kind} has a loss of its own; leave algo.loss=huber"
        return [Problem("algo.loss", reason)]

    def __init__(self, config: DQNConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        policy = QNetwork(config, setting.spec, setting.network, config)
        self.policy = policy.to(setting.device)
        self.steady = self.policy.steady
        self.learner = Learner(self.policy.parameters(), max_grad_norm=config.max_grad_norm)
        self.target = Target(self.policy, self.learner.flat)
        self.experience = Experience(
            config,
            setting.spec,
            setting.device,
            prioritized=config.priority if config.prioritized else None,
            sequence=config.sequence if setting.network.torso.recurrent else None,
        )
        self.replay, self.horizon = self.experience.replay, self.experience.horizon
        self.policy.warming = not self.experience.warm
        kinds = {"none": self._mean_losses, "c51": self._atoms_losses, "qr": self._quantiles_losses}
        self._losses = kinds[config.distributional]
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size, the rate of exploration, and the weights of prioritized draws."""
        self.learner.learning_rate = self.config.learning_rate(progress)
        self.policy.rate = self.policy.schedule(progress)
        if self.replay.priorities is not None:
            self.replay.priorities.beta = self.config.priority.beta(progress)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Explore around the best action, or take it."""
        return self.policy.act(obs, carry, explore)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return what the network remembers at an episode's start."""
        return self.policy.initial_carry(num_envs)

    def update(self, fragment: Fragment) -> Metrics:
        """Store the fragment, take the gradient steps that are due, and let the target follow."""
        interval = self.config.target_update_interval
        updates = self.replay.added // interval
        history = [self._learn(batch) for batch in self.experience.absorb(fragment)]
        if self.replay.added // interval > updates:
            self.target.follow(self.config.tau)
        self.policy.warming = not self.experience.warm
        return {
            **mean_metrics(history),
            "train/learning_rate": self.learner.learning_rate,
            "rollout/exploration_rate": self.policy.rate,
        }

    def parts(self) -> dict[str, Stateful]:
        """Return the network, its target, the optimizer and the memory."""
        return {
            "policy": self.policy,
            "target": self.target,
            "optimizer": self.learner,
            "experience": self.experience,
        }

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        metrics = self.learner.minimize(self.loss, batch)
        error = metrics.pop(TD_ERROR)
        self.replay.update_priorities(batch.index, error)
        return metrics

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a minibatch, a scalar: each row's loss times its weight, averaged."""
        q = taken(self.policy(batch.obs), batch.action)
        with torch.no_grad():
            next_q = self._next(batch.next_obs)
        losses, error = self._losses(q, next_q, batch)
        return weighted_mean(losses, batch.weight), {TD_ERROR: error.detach()}

    def _next(self, obs: Seen) -> Tensor:
        """Return what the target says of the best next action, `[B]` or `[B, K]`.

        With `double` the online network says which action that is.
        """
        next_q: Tensor = self.target.module(obs)
        if self.config.double:
            return double_value(next_q, self.policy.mean(self.policy(obs)))
        if next_q.ndim == 2:
            return next_q.amax(1)
        return double_value(next_q, self.policy.mean(next_q))

    def _mean_losses(self, q: Tensor, next_q: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = td_target(batch.reward, batch.discount, next_q)
        loss = huber_loss if self.config.loss == "huber" else squared_loss
        return loss(q, target), q - target

    def _atoms_losses(self, q: Tensor, next_q: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        probability = next_q.softmax(1)
        target = project(probability, batch.reward, batch.discount, self.policy.support)
        losses = cross_entropy(q.log_softmax(1), target)
        return losses, losses

    def _quantiles_losses(self, q: Tensor, next_q: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        reward, discount = batch.reward.unsqueeze(1), batch.discount.unsqueeze(1)
        losses = quantile_huber_loss(q, reward + discount * next_q)
        return losses, losses
