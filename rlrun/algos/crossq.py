"""CrossQ: soft actor-critic with batch-normalised critics and without target networks.

Bhatt et al. 2024, "CrossQ: batch normalization in deep reinforcement learning for greater sample
efficiency and simplicity", arXiv:1902.05605; docs/algorithms/crossq.md says what is done otherwise.
"""

from dataclasses import dataclass
from typing import Literal

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
from rlrun.nets.actors import SquashedActor
from rlrun.nets.batch_norm import NormalisedCritics
from rlrun.nets.learner import Learner, mean_metrics
from rlrun.nets.temperature import EntropyCoefficient, Temperature, default_target_entropy
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class CrossQConfig(ExperienceConfig):
    """Options of `algo=crossq`."""

    learning_rate: Schedule = option("step size of Adam", at_least=0, at_most=1)
    adam_beta1: float = option("how long Adam remembers gradients", at_least=0, below=1)
    policy_delay: int = option("critic steps for one of actor and temperature", at_least=1)
    critic_sizes: tuple[int, ...] = option("widths of the critics' hidden layers", at_least=1)
    batch_renorm: bool = option("correct batch moments by running ones, once these are good")
    renorm_warmup: int = option("critic steps before batch_renorm begins", at_least=0)
    ent_coef: EntropyCoefficient = option("worth of entropy: a number, or auto", at_least=0)
    target_entropy: Literal["auto"] | float = option("what ent_coef=auto aims at")


class CrossQ(Algorithm):
    """SAC whose critics see present and future in one normalised batch, and need no targets."""

    Config = CrossQConfig
    steady = True
    obs_spaces = (
        spaces.Box,
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Dict,
    )
    action_spaces = (spaces.Box,)

    def __init__(self, config: CrossQConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        spec = setting.spec
        self.policy = SquashedActor(spec, setting.network).to(setting.device)
        warmup = config.renorm_warmup if config.batch_renorm else None
        critics = NormalisedCritics(spec, config.critic_sizes, 2, warmup)
        self.critics = critics.to(setting.device)
        self.temperature = Temperature(config.ent_coef).to(setting.device)
        self.experience = Experience(config, spec, setting.device)
        self.horizon = self.experience.horizon
        aim = config.target_entropy
        self.target_entropy = default_target_entropy(spec.action_space) if aim == "auto" else aim
        betas = (config.adam_beta1, 0.999)
        self.learners = {
            "actor_optimizer": Learner(self.policy.parameters(), betas=betas),
            "critic_optimizer": Learner(self.critics.parameters(), betas=betas),
        }
        if config.ent_coef.learned:
            self.learners["ent_coef_optimizer"] = Learner(self.temperature.parameters())
        self.policy.warming = not self.experience.warm
        self._actor_metrics: dict[str, Tensor] = {}
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size."""
        self.learning_rate = self.config.learning_rate(progress)
        for learner in self.learners.values():
            learner.learning_rate = self.learning_rate

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Sample from the policy, or take its mean."""
        return self.policy.act(obs, carry, explore)

    def update(self, fragment: Fragment) -> Metrics:
        """Store the fragment and take the gradient steps that are due."""
        history = [self._learn(batch) for batch in self.experience.absorb(fragment)]
        self.policy.warming = not self.experience.warm
        metrics = {**self._actor_metrics, **mean_metrics(history)}
        return {**metrics, "train/learning_rate": self.learning_rate}

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        metrics = self.learners["critic_optimizer"].minimize(self.critic_loss, batch)
        if self.experience.updates % self.config.policy_delay == 0:
            # the last one stays in the metrics until the next
            self._actor_metrics = self._improve(batch)
        return metrics

    def _improve(self, batch: Batch) -> dict[str, Tensor]:
        """Take a step of the actor, and one of the temperature if it is learned."""
        metrics = self.learners["actor_optimizer"].minimize(self.actor_loss, batch)
        metrics["train/ent_coef"] = self.temperature()
        log_prob = metrics.pop("log_prob")
        if self.config.ent_coef.learned:
            learner = self.learners["ent_coef_optimizer"]
            metrics = {**learner.minimize(self.ent_coef_loss, log_prob), **metrics}
        return metrics

    def critic_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error against the soft value by the very same critics."""
        with torch.no_grad():
            next_action, log_prob = self.policy(batch.next_obs)
        now = (batch.obs, self.policy.unit(batch.action))
        q, next_q = self.critics.joint(now, (batch.next_obs, next_action))
        next_value = next_q.detach().amin(0) - self.temperature() * log_prob
        target = td_target(batch.reward, batch.discount, next_value)
        loss = 0.5 * squared_errors(q, target).mean()
        return loss, {"train/critic_loss": loss.detach()}

    def actor_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return minus the soft value of the policy's own actions."""
        q, log_prob = self.policy.expect(batch.obs, self.critics)
        loss = (self.temperature() * log_prob - q).mean()
        return loss, {"train/actor_loss": loss.detach(), "log_prob": log_prob.detach()}

    def ent_coef_loss(self, log_prob: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the temperature's loss for the log-probabilities of a batch `[B]`."""
        losses = temperature_loss(self.temperature.log_alpha, log_prob, self.target_entropy)
        loss = losses.mean()
        return loss, {"train/ent_coef_loss": loss.detach()}

    def parts(self) -> dict[str, Stateful]:
        """Return the policy, the critics, optimizers, temperature and memory."""
        return {
            "policy": self.policy,
            "critics": self.critics,
            "temperature": self.temperature,
            "experience": self.experience,
            **self.learners,
        }
