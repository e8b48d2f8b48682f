"""Tables in place of networks: action values that explore, and plans that do not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from rlrun.config import ConfigError, Problem, option
from rlrun.functional.bellman import joint_step_size, way_to_the_end
from rlrun.functional.exploration import (
    Ties,
    boltzmann,
    epsilon_greedy,
    sample_boltzmann,
    sample_epsilon_greedy,
)
from rlrun.functional.schedules import Schedule
from rlrun.types import Decision, EnvSpec, Obs, TabularModel

Explorer = Callable[[Tensor, float, Ties], Tensor]


@dataclass(frozen=True, kw_only=True)
class ExplorationConfig:
    """How actions are chosen while learning, under `algo.exploration`."""

    kind: Literal["epsilon_greedy", "boltzmann"] = option("the family of exploring policies")
    epsilon: Schedule = option("share of random actions, of epsilon_greedy", at_least=0, at_most=1)
    temperature: Schedule = option("how evenly boltzmann spreads its actions", at_least=0)
    ties: Ties = option("which of equally good actions the greedy part takes")

    @property
    def rate(self) -> Schedule:
        """The schedule of the chosen kind."""
        return self.epsilon if self.kind == "epsilon_greedy" else self.temperature


class QTable(nn.Module):
    """Action values `q` `[S, A]`, float64, and an exploring policy over them.

    `rate` is the epsilon or temperature of that policy; it travels with the table, so that a
    loaded policy explores as it did when it was saved.
    """

    def __init__(self, spec: EnvSpec, exploration: ExplorationConfig, initial_value: float) -> None:
        super().__init__()
        shape = (size(spec.obs_space), size(spec.action_space))
        table = torch.full(shape, initial_value, dtype=torch.float64)
        self.q = nn.Parameter(table, requires_grad=False)
        self.rate, self.ties = exploration.rate(0.0), exploration.ties
        greedy = exploration.kind == "epsilon_greedy"
        self._sample: Explorer = sample_epsilon_greedy if greedy else sample_boltzmann
        self._spread: Explorer = epsilon_greedy if greedy else boltzmann

    def act(self, obs: Obs, explore: bool) -> Decision:
        """Sample actions for observations `[N]`, or take the first of the best."""
        assert isinstance(obs, Tensor)
        q = self.q[obs]
        return Decision(self._sample(q, self.rate, self.ties) if explore else q.argmax(-1))

    def probability(self, q: Tensor) -> Tensor:
        """Return the exploring policy `[..., A]` over rows of action values `[..., A]`."""
        return self._spread(q, self.rate, self.ties)

    def learn(self, obs: Tensor, action: Tensor, target: Tensor, learning_rate: float) -> Tensor:
        """Move q(obs, action) towards `target`, all `[...]`; return the errors before the move.

        Pairs may repeat: their moves are summed, with the step size of `joint_step_size`.
        """
        table = self.q
        error = target - table[obs, action]
        step: float | Tensor = learning_rate
        if len(error.view(-1)) > 1:
            entry = (obs * table.shape[1] + action).view(-1)
            if len(set(entry.tolist())) < len(entry):
                step = joint_step_size(entry, learning_rate).view_as(error)
        table.index_put_((obs, action), step * error, accumulate=True)
        return error

    def get_extra_state(self) -> float:
        """Return what a checkpoint holds besides the table: the rate."""
        return self.rate

    def set_extra_state(self, state: Any) -> None:
        """Take the rate back."""
        self.rate = float(state)


class Plan(nn.Module):
    """What a planner knows: values `[S]`, float64, and the action `[S]` that it takes.

    The first actions lead to the end of the episode, so that with gamma = 1 no improvement starts
    from a policy that goes on for ever.
    """

    action: Tensor

    def __init__(self, model: TabularModel) -> None:
        super().__init__()
        value = torch.zeros(len(model.reward), dtype=torch.float64)
        self.value = nn.Parameter(value, requires_grad=False)
        self.register_buffer("action", way_to_the_end(model.continuation)[0])

    def act(self, obs: Obs) -> Decision:
        """Take the planned actions for observations `[N]`."""
        assert isinstance(obs, Tensor)
        return Decision(self.action[obs])


def known_model(name: str, spec: EnvSpec, device: torch.device) -> TabularModel:
    """Return the model an algorithm plans from, on `device`; ConfigError where there is none."""
    model = spec.model
    if model is None:
        reason = f"{name} needs an environment with a known model; {spec.name} has none"
        raise ConfigError(Problem("algo", f"{reason} (try env=FrozenLake-v1)"))
    tables = (model.probability, model.reward, model.continuation)
    return TabularModel(*(table.to(device) for table in tables))


def size(space: Space[Any]) -> int:
    """Return the number of elements of a Discrete space."""
    assert isinstance(space, spaces.Discrete)
    return int(space.n)
