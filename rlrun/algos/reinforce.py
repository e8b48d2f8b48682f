"""REINFORCE: the Monte-Carlo policy gradient, on whole episodes.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning"; Sutton & Barto 2018, sections 13.3 and 13.4 (baseline). docs/algorithms/reinforce.md
says what differs from the textbook and why.
"""

from dataclasses import dataclass
from typing import Any, Literal

from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.data.episodes import Episodes
from rlrun.functional.losses import normalize, policy_gradient
from rlrun.functional.returns import explained_variance
from rlrun.functional.schedules import Schedule
from rlrun.nets.actor_critic import ActorCritic, PolicyConfig
from rlrun.nets.learner import Learner
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig:
    """Options of `algo=reinforce`."""

    n_steps: int = option("steps per environment between updates", at_least=1)
    learning_rate: Schedule = option("step size of Adam", at_least=0, at_most=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    baseline: Literal["none", "value"] = option(
        "subtract nothing, or a learned value, from returns"
    )
    ent_coef: float = option("weight of the entropy bonus", at_least=0)
    vf_coef: float = option("weight of the baseline's squared error", at_least=0)
    max_grad_norm: float | None = option("the gradient's norm is clipped to this, or not", above=0)
    normalize_advantage: bool = option(
        "give the returns of an update, less their baseline, mean 0 and deviation 1"
    )
    policy: PolicyConfig = option("the policy bundle")


class Reinforce(Algorithm):
    """Collects `n_steps`, then takes one step on the episodes that have finished, if any."""

    Config = ReinforceConfig
    recurrent = steady = True
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)

    def __init__(self, config: ReinforceConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        self.horizon = config.n_steps
        policy = ActorCritic(config.policy, setting.spec, setting.network, config.gamma)
        self.policy = policy.to(setting.device)
        self.learner = Learner(self.policy.parameters(), max_grad_norm=config.max_grad_norm)
        self.episodes = Episodes(config.gamma, self.policy.empty_memory)
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
        """Take one gradient step on the episodes that ended in this fragment, if any did."""
        reward = self.policy.scale_reward(fragment.reward, fragment.done)
        finished = self.episodes.add(fragment._replace(reward=reward))
        if finished is None:
            self.policy.absorb(fragment.obs)
            return {}
        metrics = self.learner.minimize(self.loss, finished._asdict())
        self.policy.absorb(fragment.obs)
        return {
            **metrics,
            "train/episodes": float(finished.episodes),
            "train/learning_rate": self.learner.learning_rate,
        }

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the rows `[B, ...]` of finished episodes, a scalar, and its parts."""
        config = self.config
        target = batch["returns"]
        metrics = {}
        if config.baseline == "value":
            distribution, value = self.policy(batch["obs"])
            advantage = target - value.detach()
            value_loss = (value - target).square().mean()
            metrics["train/value_loss"] = value_loss.detach()
            metrics["train/explained_variance"] = explained_variance(value.detach(), target)
        else:
            distribution, advantage = self.policy.distribution(batch["obs"]), target
            value_loss = target.new_zeros(())
        if config.normalize_advantage:
            advantage = normalize(advantage)
        log_prob, entropy = distribution.evaluate(batch["action"])
        policy_loss = policy_gradient(log_prob, advantage).mean()
        entropy_loss = -entropy.mean()
        loss = policy_loss + config.vf_coef * value_loss + config.ent_coef * entropy_loss
        metrics["train/policy_gradient_loss"] = policy_loss.detach()
        metrics["train/entropy_loss"] = entropy_loss.detach()
        return loss, metrics

    def parts(self) -> dict[str, Stateful]:
        """Return the policy bundle and the optimizer; unfinished episodes do not survive a run."""
        return {"policy": self.policy, "optimizer": self.learner}
