"""Toy-text environments: the whole of their dynamics is the table Gymnasium gives."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlrun.envs.batched.base import Dynamics
from rlrun.envs.model import tabular_model


class Table(Dynamics):
    """State: its number `[N]`, int64. An outcome is one column of the K of a state and action."""

    random = True
    kwargs = (
        *("map_name", "desc", "is_slippery", "success_rate", "reward_schedule"),
        *("is_rainy", "rainy_probability"),
    )

    def __init__(self, env: Any, device: torch.device) -> None:
        super().__init__(env, device)
        inner = env.unwrapped
        self.model = tabular_model(env)
        outcomes = [list(by_action.values()) for by_action in inner.P.values()]
        self._actions = len(outcomes[0])
        width = max(len(each) for by_action in outcomes for each in by_action)
        # a column that is never drawn fills up the shorter ones
        rows = [
            [*each, *[(0.0, 0, 0.0, False)] * (width - len(each))]
            for by_action in outcomes
            for each in by_action
        ]
        table = torch.tensor(rows, dtype=torch.float64, device=device)  # [S * A, K, 4]
        self._bounds = table[..., 0].cumsum(1)[:, :-1].contiguous()
        self._next = table[..., 1].long().flatten()
        self._reward = table[..., 2].float().flatten()
        self._ends = table[..., 3].bool().flatten()
        self._width = width
        first = torch.as_tensor(np.asarray(inner.initial_state_distrib), dtype=torch.float64)
        self._first = first.to(device)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return first states by the environment's own probabilities."""
        return torch.multinomial(self._first, count, replacement=True, generator=generator)

    def step(
        self, state: Tensor, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one of the outcomes of each state and action."""
        row = state * self._actions + action
        draw = self.uniform(0.0, 1.0, (len(row), 1), generator)
        column = (draw >= self._bounds[row]).sum(1)
        outcome = row * self._width + column
        return self._next[outcome], self._reward[outcome], self._ends[outcome]

    def observe(self, state: Tensor) -> Tensor:
        """Return the state."""
        return state.clone()
