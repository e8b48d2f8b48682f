"""SARSA: learns the action values of the exploring policy itself, from the actions it takes.

Rummery & Niranjan 1994, "On-line Q-learning using connectionist systems"; Sutton & Barto 2018,
section 6.4, eq. 6.7. The target needs the next action, so a transition waits for the next step;
the order of drawing and learning is the book's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.functional.bellman import td_target
from rlrun.functional.schedules import Schedule
from rlrun.nets.table import ExplorationConfig, QTable
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class SarsaConfig:
    """Options of `algo=sarsa`."""

    learning_rate: Schedule = option("step size of an update", at_least=0, at_most=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    initial_value: float = option("every action value at the start")
    exploration: ExplorationConfig = option("how actions are chosen while learning")


class Transition(NamedTuple):
    """Steps of B environments, `[B]` or `[1, N]` each."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor

    def where(self, mask: Tensor) -> "Transition":
        """Return the rows that the mask selects, `[B]`."""
        return Transition(*(column[mask] for column in self))


class Pending:
    """The last step of every environment, and where it waits for the next action.

    `restored` says that it came from a checkpoint: then another episode may have begun since.
    """

    def __init__(self) -> None:
        self.transition: Transition | None = None
        self.waiting = torch.zeros(0, dtype=torch.bool)
        self.everywhere = self.restored = False

    def hold(self, row: Transition, waiting: Tensor, *, everywhere: bool) -> None:
        """Keep a copy of a step; `everywhere` says that all of it waits."""
        self.transition = Transition(*(column.clone() for column in row))
        self.waiting, self.everywhere, self.restored = waiting, everywhere, False

    def state_dict(self) -> dict[str, Any]:
        """Return the columns, or nothing before the first step."""
        if self.transition is None:
            return {}
        return {**self.transition._asdict(), "waiting": self.waiting}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the columns back."""
        if state:
            self.transition = Transition(*(state[name] for name in Transition._fields))
            self.waiting = state["waiting"]
            self.everywhere, self.restored = bool(self.waiting.all()), True


class Sarsa(Algorithm):
    """Updates a table one step late, with the action then taken."""

    Config = SarsaConfig
    obs_spaces = (spaces.Discrete,)
    action_spaces = (spaces.Discrete,)
    horizon = 1

    def __init__(self, config: SarsaConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.config = config
        table = QTable(setting.spec, config.exploration, config.initial_value)
        self.policy = table.to(setting.device)
        self.pending = Pending()
        self.anneal(0.0)

    def anneal(self, progress: float) -> None:
        """Set the step size and the rate of exploration."""
        self.learning_rate = self.config.learning_rate(progress)
        self.policy.rate = self.config.exploration.rate(progress)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Sample from the exploring policy, or take the best action."""
        return self.policy.act(obs, explore)

    def update(self, fragment: Fragment) -> Metrics:
        """Learn from the transitions that waited, and at once from those that ended an episode.

        A terminal state has no next action; after a truncation one is drawn for the state at
        which the episode was cut.
        """
        obs, next_obs, done = fragment.obs, fragment.next_obs, fragment.done
        assert isinstance(obs, Tensor)
        assert isinstance(next_obs, Tensor)
        metrics: dict[str, Tensor | float] = {
            "train/learning_rate": self.learning_rate,
            "rollout/exploration_rate": self.policy.rate,
        }
        row = Transition(obs, fragment.action, fragment.reward, next_obs)
        if self.pending.transition is not None:
            metrics["train/td_error"] = self._complete(self.pending.transition, row)
        any_done = bool(done.any())
        if any_done:
            ended = row.where(done)
            self._learn(ended, self._draw(ended.next_obs), fragment.terminated[done])
        self.pending.hold(row, ~done, everywhere=not any_done)
        return metrics

    def parts(self) -> dict[str, Stateful]:
        """Return the table and the transitions that wait for their next action."""
        return {"policy": self.policy, "pending": self.pending}

    def _complete(self, held: Transition, row: Transition) -> Tensor:
        pending, next_action = self.pending, row.action
        if pending.restored:
            next_action = self._rejoin(held, row, pending.waiting)
        if not pending.everywhere:
            held, next_action = held.where(pending.waiting), next_action[pending.waiting]
        if not len(next_action):
            return next_action.sum()
        return self._learn(held, next_action, torch.zeros_like(next_action, dtype=torch.bool))

    def _rejoin(self, held: Transition, row: Transition, waiting: Tensor) -> Tensor:
        """Return the next actions of restored transitions, whose episodes may not have gone on."""
        lost = waiting & (held.next_obs != row.obs)
        next_action = row.action.clone()
        next_action[lost] = self._draw(held.next_obs[lost])
        return next_action

    def _learn(self, row: Transition, next_action: Tensor, terminated: Tensor) -> Tensor:
        next_value = self.policy.q[row.next_obs, next_action]
        target = td_target(row.reward, next_value, terminated, self.config.gamma)
        return self.policy.learn(row.obs, row.action, target, self.learning_rate).abs().mean()

    def _draw(self, obs: Tensor) -> Tensor:
        return self.policy.act(obs, explore=True).action
