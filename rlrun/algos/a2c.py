"""Advantage actor-critic, synchronous: one gradient step on each short fragment.

Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", arXiv:1602.01783,
algorithm S3, without the asynchrony; docs/algorithms/a2c.md lists the details and which matter.
"""

from dataclasses import dataclass
from typing import Any

from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.functional.losses import normalize, policy_gradient
from rlrun.functional.returns import explained_variance, generalized_advantage
from rlrun.functional.schedules import Schedule
from rlrun.nets.actor_critic import ActorCritic, PolicyConfig
from rlrun.nets.learner import Learner
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class A2CConfig:
    """Options of `algo=a2c`."""

    n_steps: int = option("steps per environment between updates", at_least=1)
    learning_rate: Schedule = option("step size of the optimizer", at_least=0, at_most=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    gae_lambda: float = option("1 gives n-step returns; less, less variance", at_least=0, at_most=1)
    ent_coef: float = option("weight of the entropy bonus", at_least=0)
    vf_coef: float = option("weight of the value loss", at_least=0)
    max_grad_norm: float = option("the gradient's norm is clipped to this", above=0)
    normalize_advantage: bool = option("give each fragment mean 0 and deviation 1")
    use_rms_prop: bool = option("RMSprop (smoothing 0.99), as in the paper, instead of Adam")
    rms_prop_eps: float = option("added to the optimizer's denominator", above=0)
    policy: PolicyConfig = option("the policy bundle")


class A2C(Algorithm):
    """Collects `n_steps` in every environment, then takes one policy-gradient step."""

    Config = A2CConfig
    recurrent = steady = True
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)

    def __init__(self, config: A2CConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        self.horizon = config.n_steps
        policy = ActorCritic(config.policy, setting.spec, setting.network, config.gamma)
        self.policy = policy.to(setting.device)
        self.learner = Learner(
            self.policy.parameters(),
            optimizer="rmsprop" if config.use_rms_prop else "adam",
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
        """Take one gradient step on the whole fragment."""
        batch = {
            "obs": self.policy.recall(fragment),
            "action": fragment.action,
            "reward": self.policy.scale_reward(fragment.reward, fragment.done),
            "next_value": self.policy.next_value(fragment),
            "terminated": fragment.terminated,
            "truncated": fragment.truncated,
        }
        metrics = self.learner.minimize(self.loss, batch)
        self.policy.absorb(fragment.obs)
        return {**metrics, "train/learning_rate": self.learner.learning_rate}

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch `[T, N, ...]`, a scalar, and its parts.

        The values of one forward pass serve twice: without their gradient in the advantage and its
        target, with it in the value loss.
        """
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
