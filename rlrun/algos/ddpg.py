"""Deep deterministic policy gradient.

Lillicrap et al. 2016, "Continuous control with deep reinforcement learning", arXiv:1509.02971,
algorithm 1; docs/algorithms/ddpg.md says what is done otherwise.
"""

from dataclasses import dataclass

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.data.experience import Experience, ExperienceConfig
from rlrun.data.replay import Batch
from rlrun.functional.critics import squared_errors, td_target
from rlrun.functional.schedules import Schedule
from rlrun.nets.actors import DeterministicActor, NoiseConfig
from rlrun.nets.critics import ActionCritics
from rlrun.nets.learner import Learner, mean_metrics
from rlrun.nets.target import Target
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class DDPGConfig(ExperienceConfig, NoiseConfig):
    """Options of `algo=ddpg`."""

    learning_rate: Schedule = option("step size of Adam", at_least=0, at_most=1)
    tau: float = option("share by which targets follow at each gradient step", above=0, at_most=1)


class DDPG(Algorithm):
    """Climbs its critic's value of the action it takes; both learn from memory."""

    Config = DDPGConfig
    steady = True
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Box,)

    def __init__(self, config: DDPGConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        spec, network = setting.spec, setting.network
        self.policy = DeterministicActor(spec, network, config).to(setting.device)
        self.critics = ActionCritics(spec, network, 1).to(setting.device)
        self.experience = Experience(config, spec, setting.device)
        self.horizon = self.experience.horizon
        self.actor_learner = Learner(self.policy.parameters())
        self.critic_learner = Learner(self.critics.parameters())
        self.target_actor = Target(self.policy, self.actor_learner.flat)
        self.target_critics = Target(self.critics, self.critic_learner.flat)
        self.policy.warming = not self.experience.warm
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size."""
        rate = self.config.learning_rate(progress)
        self.actor_learner.learning_rate = self.critic_learner.learning_rate = rate

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Take the policy's action, with noise to explore."""
        return self.policy.act(obs, carry, explore)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the noise at an episode's start."""
        return self.policy.initial_carry(num_envs)

    def update(self, fragment: Fragment) -> Metrics:
        """Store the fragment and take the gradient steps that are due."""
        history = [self._learn(batch) for batch in self.experience.absorb(fragment)]
        self.policy.warming = not self.experience.warm
        rate = self.critic_learner.learning_rate
        return {**mean_metrics(history), "train/learning_rate": rate}

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        metrics = self.critic_learner.minimize(self.critic_loss, batch)
        metrics = {**self.actor_learner.minimize(self.actor_loss, batch), **metrics}
        self.target_critics.follow(self.config.tau)
        self.target_actor.follow(self.config.tau)
        return metrics

    def critic_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error of eq. 4 and 5."""
        with torch.no_grad():
            next_action = self.target_actor.module(batch.next_obs)
            next_value = self.target_critics.module(batch.next_obs, next_action)[0]
            target = td_target(batch.reward, batch.discount, next_value)
        q = self.critics(batch.obs, self.policy.unit(batch.action))
        loss = squared_errors(q, target).mean()
        return loss, {"train/critic_loss": loss.detach()}

    def actor_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return minus the value of the policy's own actions; its gradient is eq. 6."""
        loss = -self.critics.first(batch.obs, self.policy(batch.obs)).mean()
        return loss, {"train/actor_loss": loss.detach()}

    def parts(self) -> dict[str, Stateful]:
        """Return the actor, the critic, their targets and optimizers, and the memory."""
        return {
            "policy": self.policy,
            "critics": self.critics,
            "target_actor": self.target_actor,
            "target_critics": self.target_critics,
            "actor_optimizer": self.actor_learner,
            "critic_optimizer": self.critic_learner,
            "experience": self.experience,
        }
