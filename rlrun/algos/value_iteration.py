"""Value iteration: synchronous sweeps of the Bellman optimality equation over a known model.

Bellman 1957, "Dynamic programming"; Sutton & Barto 2018, section 4.4, eq. 4.10. An update is one
sweep; the clock counts sweeps.
"""

from dataclasses import dataclass

import torch
from gymnasium import spaces

from rlrun.algos.base import Algorithm, Setting
from rlrun.config import option
from rlrun.functional.bellman import action_values, improved_action
from rlrun.nets.table import Plan, known_model
from rlrun.types import Carry, Decision, Fragment, Metrics, Obs, Stateful


@dataclass(frozen=True, kw_only=True)
class ValueIterationConfig:
    """Options of `algo=value_iteration`."""

    gamma: float = option("discount", at_least=0, at_most=1)
    tolerance: float = option("done when no value changes by as much as this in a sweep", above=0)
    tie_tolerance: float = option("an action is replaced by one better by this much", at_least=0)


class ValueIteration(Algorithm):
    """Sweeps until no value changes by `tolerance`."""

    Config = ValueIterationConfig
    obs_spaces = (spaces.Discrete,)
    action_spaces = (spaces.Discrete,)
    horizon = 0

    def __init__(self, config: ValueIterationConfig, setting: Setting) -> None:
        self.model = known_model("value_iteration", setting.spec, setting.device)
        super().__init__(config, setting)
        self.config = config
        self.policy = Plan(self.model)

    def act(self, obs: Obs, carry: Carry, *, explore: bool) -> Decision:
        """Take the planned action."""
        return self.policy.act(obs)

    @torch.no_grad()
    def update(self, fragment: Fragment) -> Metrics:
        """Take one sweep, v(s) = max_a q(s, a)."""
        plan = self.policy
        q = action_values(self.model, plan.value, self.config.gamma)
        plan.action.copy_(improved_action(q, plan.action, self.config.tie_tolerance))
        value = q.amax(-1)
        change = (value - plan.value).abs().max()
        plan.value.copy_(value)
        self.converged = bool(change < self.config.tolerance)
        return {"train/value_change": change, "train/value_mean": value.mean()}

    def parts(self) -> dict[str, Stateful]:
        """Return the values and the actions."""
        return {"policy": self.policy}
