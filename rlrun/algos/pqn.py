"""Parallelised Q-network: Q-learning from many environments at once, without replay or target.

Gallici et al. 2024, "Simplifying deep temporal difference learning", arXiv:2407.04811, algorithm 1:
layer normalisation keeps the values from diverging, lambda returns and many environments replace
the memory; docs/algorithms/pqn.md has the details.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import Problem, option
from rlrun.data.minibatch import flat_rows, minibatches, undivided
from rlrun.functional.q_values import taken
from rlrun.functional.returns import generalized_advantage, same_shape
from rlrun.functional.schedules import Schedule
from rlrun.nets.learner import Learner, mean_metrics
from rlrun.nets.q_network import QNetwork, ValueExplorationConfig
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful, map_obs


@dataclass(frozen=True, kw_only=True)
class PQNConfig(ValueExplorationConfig):
    """Options of `algo=pqn`."""

    n_steps: int = option("steps per environment between updates", at_least=1)
    batch_size: int = option("rows of a minibatch", at_least=1)
    n_epochs: int = option("passes over each fragment", at_least=1)
    learning_rate: Schedule = option("step size of Adam", at_least=0, at_most=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    q_lambda: float = option("how far returns look before they bootstrap", at_least=0, at_most=1)
    max_grad_norm: float = option("the gradient's norm is clipped to this", above=0)


class PQN(Algorithm):
    """Collects `n_steps`, then takes `n_epochs` passes towards the lambda returns."""

    Config = PQNConfig
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
        """Return the minibatches that do not divide a fragment."""
        return undivided(values, num_envs)

    def __init__(self, config: PQNConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        self.horizon = config.n_steps
        self.policy = QNetwork(config, setting.spec, setting.network).to(setting.device)
        self.steady = self.policy.steady
        self.learner = Learner(self.policy.parameters(), max_grad_norm=config.max_grad_norm)
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size and the rate of exploration."""
        self.learner.learning_rate = self.config.learning_rate(progress)
        self.policy.rate = self.policy.schedule(progress)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Explore around the best action, or take it."""
        return self.policy.act(obs, carry, explore)

    def update(self, fragment: Fragment) -> Metrics:
        """Take `n_epochs` passes over the fragment in shuffled minibatches."""
        rows = flat_rows(
            obs=fragment.obs, action=fragment.action, target=self._lambda_return(fragment)
        )
        history = [
            self.learner.minimize(self.loss, batch)
            for _ in range(self.config.n_epochs)
            for batch in minibatches(rows, self.config.batch_size)
        ]
        return {
            **mean_metrics(history),
            "train/learning_rate": self.learner.learning_rate,
            "rollout/exploration_rate": self.policy.rate,
        }

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return half the mean squared error of a minibatch, a scalar, and the mean value."""
        q = taken(self.policy(batch["obs"]), batch["action"])
        target = batch["target"]
        same_shape(q, target)
        loss = 0.5 * (q - target).square().mean()
        return loss, {"train/q_value": q.detach().mean()}

    def parts(self) -> dict[str, Stateful]:
        """Return the network and the optimizer."""
        return {"policy": self.policy, "optimizer": self.learner}

    @torch.no_grad()
    def _lambda_return(self, fragment: Fragment) -> Tensor:
        """Return r + gamma ((1 - lambda) max_a Q' + lambda return'), `[T, N]`, eq. 3.

        It is the generalised advantage over the greedy values, plus those values.
        """
        value, next_value = self._value(fragment.obs), self._value(fragment.next_obs)
        advantage = generalized_advantage(
            fragment.reward,
            value,
            next_value,
            fragment.terminated,
            fragment.truncated,
            self.config.gamma,
            self.config.q_lambda,
        )
        return advantage + value

    def _value(self, obs: Obs) -> Tensor:
        """Return the value of the best action, `[T, N]`."""
        shape = (self.horizon, self.spec.num_envs)
        rows: Obs = map_obs(lambda leaf: leaf.flatten(0, 1), obs)
        return self.policy.value(rows).view(shape)
