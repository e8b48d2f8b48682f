"""Asynchronous advantage actor-critic: workers in processes of their own, one set of parameters.

Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", arXiv:1602.01783,
algorithm S3. This file is what one worker does; `rlrun/async_runner.py` starts the workers, and
docs/algorithms/a3c.md says when A2C is the better choice.
"""

from dataclasses import dataclass
from typing import Any

from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import ConfigError, Problem, option
from rlrun.functional.losses import normalize, policy_gradient
from rlrun.functional.returns import explained_variance, generalized_advantage
from rlrun.functional.schedules import Schedule
from rlrun.nets.actor_critic import ActorCritic, PolicyConfig
from rlrun.nets.shared_learner import SharedLearner
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class A3CConfig:
    """Options of `algo=a3c`."""

    n_steps: int = option("steps of a worker between its updates", at_least=1)
    learning_rate: Schedule = option("step size of RMSprop", at_least=0, at_most=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    gae_lambda: float = option("1 gives n-step returns; less, less variance", at_least=0, at_most=1)
    ent_coef: float = option("weight of the entropy bonus", at_least=0)
    vf_coef: float = option("weight of the value loss", at_least=0)
    max_grad_norm: float = option("a worker's gradient's norm is clipped to this", above=0)
    normalize_advantage: bool = option("give each fragment mean 0 and deviation 1")
    rms_prop_eps: float = option("added to RMSprop's denominator", above=0)
    policy: PolicyConfig = option("the policy bundle")


class A3C(Algorithm):
    """Collects `n_steps`, then moves the parameters that all workers share by one gradient."""

    Config = A3CConfig
    runner = "async"
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)

    def __init__(self, config: A3CConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        self.horizon = config.n_steps
        self._check_shareable()
        self.policy = ActorCritic(config.policy, setting.spec, setting.network, config.gamma)
        self.learner = SharedLearner(
            self.policy.parameters(),
            epsilon=config.rms_prop_eps,
            max_grad_norm=config.max_grad_norm,
        )
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size."""
        self.learner.learning_rate = self.config.learning_rate(progress)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Sample from the policy, or take its most likely action."""
        return self.policy.act(obs, carry, explore)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the policy's carry at an episode's start."""
        return self.policy.initial_carry(num_envs)

    def update(self, fragment: Fragment) -> Metrics:
        """Apply one gradient of the whole fragment to the shared parameters."""
        batch = {
            "obs": fragment.obs,
            "action": fragment.action,
            "reward": fragment.reward,
            "next_value": self.policy.next_value(fragment),
            "terminated": fragment.terminated,
            "truncated": fragment.truncated,
        }
        metrics = self.learner.minimize(self.loss, batch)
        return {**metrics, "train/learning_rate": self.learner.learning_rate}

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch `[T, N, ...]`, a scalar, and its parts."""
        config = self.config
        distribution, value = self.policy(batch["obs"])
        old_value = value.detach()
        advantage = generalized_advantage(
            batch["reward"],
            old_value,
            batch["next_value"],
            batch["terminated"],
            batch["truncated"],
            config.gamma,
            config.gae_lambda,
        )
        target = advantage + old_value
        if config.normalize_advantage:
            advantage = normalize(advantage)
        log_prob, entropy = distribution.evaluate(batch["action"])
        policy_loss = policy_gradient(log_prob, advantage).mean()
        value_loss = (value - target).square().mean()
        entropy_loss = -entropy.mean()
        loss = policy_loss + config.vf_coef * value_loss + config.ent_coef * entropy_loss
        return loss, {
            "train/policy_gradient_loss": policy_loss.detach(),
            "train/value_loss": value_loss.detach(),
            "train/entropy_loss": entropy_loss.detach(),
            "train/explained_variance": explained_variance(old_value, target),
        }

    def parts(self) -> dict[str, Stateful]:
        """Return the policy bundle and the optimizer."""
        return {"policy": self.policy, "optimizer": self.learner}

    def _check_shareable(self) -> None:
        """Refuse what lies outside the memory that workers share."""
        problems = []
        if self.device.type != "cpu":
            reason = f"workers share memory of the CPU, not of {self.device.type}; set device=cpu"
            problems.append(Problem("device.name", reason))
        for key in ("normalize_observation", "normalize_reward"):
            if getattr(self.config.policy, key):
                reason = "workers share parameters, not running statistics; set it to false"
                problems.append(Problem(f"algo.policy.{key}", reason))
        if problems:
            raise ConfigError(*problems)
