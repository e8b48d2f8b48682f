"""Q-learning: learns the best policy's action values while following another, exploring one.

Watkins & Dayan 1992, "Q-learning", Machine Learning 8; Sutton & Barto 2018, section 6.5, eq. 6.8.
"""

from dataclasses import dataclass

from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.functional.bellman import td_target
from rlrun.functional.schedules import Schedule
from rlrun.nets.table import ExplorationConfig, QTable
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class QLearningConfig:
    """Options of `algo=q_learning`."""

    learning_rate: Schedule = option("step size of an update", at_least=0, at_most=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    initial_value: float = option("every action value at the start")
    exploration: ExplorationConfig = option("how actions are chosen while learning")


class QLearning(Algorithm):
    """Updates a table after every step, in every environment."""

    Config = QLearningConfig
    obs_spaces = (spaces.Discrete,)
    action_spaces = (spaces.Discrete,)
    horizon = 1

    def __init__(self, config: QLearningConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        table = QTable(setting.spec, config.exploration, config.initial_value)
        self.policy = table.to(setting.device)
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size and the rate of exploration."""
        self.learning_rate = self.config.learning_rate(progress)
        self.policy.rate = self.config.exploration.rate(progress)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Sample from the exploring policy, or take the best action."""
        return self.policy.act(obs, explore)

    def update(self, fragment: Fragment) -> Metrics:
        """Move each value taken towards r + gamma max_a q(s', a)."""
        obs, next_obs = fragment.obs, fragment.next_obs
        assert isinstance(obs, Tensor)
        assert isinstance(next_obs, Tensor)
        next_value = self.policy.q[next_obs].amax(-1)
        target = td_target(fragment.reward, next_value, fragment.terminated, self.config.gamma)
        error = self.policy.learn(obs, fragment.action, target, self.learning_rate)
        return {
            "train/td_error": error.abs().mean(),
            "train/learning_rate": self.learning_rate,
            "rollout/exploration_rate": self.policy.rate,
        }

    def parts(self) -> dict[str, Stateful]:
        """Return the table."""
        return {"policy": self.policy}
