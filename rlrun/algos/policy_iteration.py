"""Policy iteration: evaluate a policy exactly, make it greedy, until it no longer changes.

Howard 1960, "Dynamic programming and Markov processes"; Sutton & Barto 2018, section 4.3. An
update is one evaluation and one improvement; the clock counts them.
"""

from dataclasses import dataclass

import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.functional.bellman import (
    action_values,
    discounting_model,
    improved_action,
    policy_value,
)
from rlrun.nets.table import Plan, known_model
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class PolicyIterationConfig:
    """Options of `algo=policy_iteration`."""

    gamma: float = option("discount", at_least=0, at_most=1)
    tie_tolerance: float = option("an action is replaced by one better by this much", at_least=0)


class PolicyIteration(Algorithm):
    """Evaluates by solving the linear equations; done when no action improves.

    With gamma = 1 many actions can be equally good, and some only postpone the reward; those are
    improved as a gamma just below 1 would.
    """

    Config = PolicyIterationConfig
    obs_spaces = (spaces.Discrete,)
    action_spaces = (spaces.Discrete,)
    horizon = 0

    def __init__(self, config: PolicyIterationConfig, setting: Setting) -> None:
        self.model = known_model("policy_iteration", setting.spec, setting.device)
        super().__init__(config, setting)
        self.config = config
        self.policy = Plan(self.model)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Take the planned action."""
        return self.policy.act(obs)

    @torch.no_grad()
    def update(self, fragment: Fragment) -> Metrics:
        """Evaluate the policy and improve it once. Raises Diverged where it has no finite value."""
        plan, gamma = self.policy, self.config.gamma
        value = policy_value(self.model, self._probability(), gamma)
        change = (value - plan.value).abs().max()
        plan.value.copy_(value)
        q = action_values(self.model, value, gamma)
        action = improved_action(q, plan.action, self.config.tie_tolerance)
        if gamma == 1.0 and bool((action == plan.action).all()):
            action = self._sooner(q)
        replaced = (action != plan.action).sum()
        plan.action.copy_(action)
        self.converged = not replaced
        return {
            "train/value_change": change,
            "train/value_mean": value.mean(),
            "train/actions_replaced": replaced,
        }

    def parts(self) -> dict[str, Stateful]:
        """Return the values and the actions."""
        return {"policy": self.policy}

    def _probability(self) -> Tensor:
        actions = self.model.reward.shape[1]
        return F.one_hot(self.policy.action, actions).to(self.model.reward.dtype)

    def _sooner(self, q: Tensor) -> Tensor:
        """Return improved actions among the equally good: those that earn as much, but sooner."""
        model = discounting_model(self.model, self.policy.value)
        sooner = action_values(model, policy_value(model, self._probability(), 1.0), 1.0)
        tied = q >= q.amax(-1, keepdim=True) - self.config.tie_tolerance
        sooner = sooner.masked_fill(~tied, -torch.inf)
        return improved_action(sooner, self.policy.action, self.config.tie_tolerance)
