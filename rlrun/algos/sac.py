"""Soft actor-critic, for continuous and for discrete actions.

Haarnoja et al. 2018, "Soft actor-critic algorithms and applications", arXiv:1812.05905, algorithm
1; with discrete actions Christodoulou 2019, arXiv:1910.07207. docs/algorithms/sac.md says what is
done otherwise.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.data.experience import Experience, ExperienceConfig
from rlrun.data.replay import Batch
from rlrun.functional.critics import squared_errors, td_target
from rlrun.functional.schedules import Schedule
from rlrun.functional.soft import temperature_loss
from rlrun.nets.actors import CategoricalActor, SquashedActor
from rlrun.nets.critics import ActionCritics, ChoiceCritics
from rlrun.nets.learner import Learner, mean_metrics
from rlrun.nets.target import Target
from rlrun.nets.temperature import EntropyCoefficient, Temperature, default_target_entropy
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class SACConfig(ExperienceConfig):
    """Options of `algo=sac`."""

    learning_rate: Schedule = option("step size of Adam", at_least=0, at_most=1)
    tau: float = option("share by which targets follow at each gradient step", above=0, at_most=1)
    ent_coef: EntropyCoefficient = option("worth of entropy: a number, or auto", at_least=0)
    target_entropy: Literal["auto"] | float = option("what ent_coef=auto aims at")
    use_sde: bool = option("explore smoothly in time (gSDE), for Box actions")
    sde_sample_freq: int = option("steps between fresh gSDE noise", at_least=1)
    log_std_init: float = option("logarithm of the first standard deviation of gSDE")


class SAC(Algorithm):
    """Learns the value of acting well and at random, and the policy that has most of it."""

    Config = SACConfig
    steady = True
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Box, spaces.Discrete)

    def __init__(self, config: SACConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        spec, network = setting.spec, setting.network
        self.policy: Any  # the actor's `expect` takes the critics of its own kind
        if isinstance(spec.action_space, spaces.Discrete):
            self.policy = CategoricalActor(spec, network)
            critics: ActionCritics | ChoiceCritics = ChoiceCritics(spec, network, 2)
        else:
            gsde = (config.log_std_init, config.sde_sample_freq) if config.use_sde else None
            self.policy = SquashedActor(spec, network, gsde)
            critics = ActionCritics(spec, network, 2)
        self.policy.to(setting.device)
        self.critics = critics.to(setting.device)
        self.temperature = Temperature(config.ent_coef).to(setting.device)
        self.experience = Experience(config, spec, setting.device)
        self.horizon = self.experience.horizon
        aim = config.target_entropy
        self.target_entropy = default_target_entropy(spec.action_space) if aim == "auto" else aim
        self.learners = {
            "actor_optimizer": Learner(self.policy.parameters()),
            "critic_optimizer": Learner(self.critics.parameters()),
        }
        if config.ent_coef.learned:
            self.learners["ent_coef_optimizer"] = Learner(self.temperature.parameters())
        self.target = Target(self.critics, self.learners["critic_optimizer"].flat)
        self.policy.warming = not self.experience.warm
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size."""
        self.learning_rate = self.config.learning_rate(progress)
        for learner in self.learners.values():
            learner.learning_rate = self.learning_rate

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Sample from the policy, or take its mean or likeliest action."""
        decision: Decision = self.policy.act(obs, carry, explore)
        return decision

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the policy's carry at an episode's start."""
        carry: Carry = self.policy.initial_carry(num_envs)
        return carry

    def update(self, fragment: Fragment) -> Metrics:
        """Store the fragment and take the gradient steps that are due."""
        history = [self._learn(batch) for batch in self.experience.absorb(fragment)]
        self.policy.warming = not self.experience.warm
        return {**mean_metrics(history), "train/learning_rate": self.learning_rate}

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        critic = self.learners["critic_optimizer"].minimize(self.critic_loss, batch)
        actor = self.learners["actor_optimizer"].minimize(self.actor_loss, batch)
        metrics = {**actor, **critic, "train/ent_coef": self.temperature()}
        log_prob = metrics.pop("log_prob")
        if self.config.ent_coef.learned:
            learner = self.learners["ent_coef_optimizer"]
            metrics = {**learner.minimize(self.ent_coef_loss, log_prob), **metrics}
        self.target.follow(self.config.tau)
        return metrics

    def critic_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error against the soft value of eq. 5, of the lesser critic.

        With `n_step` the entropy of the states in between is left out, as elsewhere in the field.
        """
        with torch.no_grad():
            next_q, log_prob = self.policy.expect(batch.next_obs, self.target.module)
            next_value = next_q - self.temperature() * log_prob
            target = td_target(batch.reward, batch.discount, next_value)
        q = self.critics(batch.obs, self.policy.unit(batch.action))
        loss = 0.5 * squared_errors(q, target).mean()
        return loss, {"train/critic_loss": loss.detach()}

    def actor_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return eq. 9: minus the soft value of the policy's own actions."""
        q, log_prob = self.policy.expect(batch.obs, self.critics)
        loss = (self.temperature() * log_prob - q).mean()
        return loss, {"train/actor_loss": loss.detach(), "log_prob": log_prob.detach()}

    def ent_coef_loss(self, log_prob: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the temperature's loss, eq. 18, for the log-probabilities of a batch `[B]`."""
        losses = temperature_loss(self.temperature.log_alpha, log_prob, self.target_entropy)
        loss = losses.mean()
        return loss, {"train/ent_coef_loss": loss.detach()}

    def parts(self) -> dict[str, Stateful]:
        """Return the policy, the critics, their target, optimizers, temperature and memory."""
        return {
            "policy": self.policy,
            "critics": self.critics,
            "target": self.target,
            "temperature": self.temperature,
            "experience": self.experience,
            **self.learners,
        }
