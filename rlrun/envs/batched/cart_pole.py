"""CartPole. Barto, Sutton & Anderson 1983, as Gymnasium integrates it (explicit Euler)."""

import math
from typing import Any

import torch
from torch import Tensor

from rlrun.envs.batched.base import Dynamics

GRAVITY, POLE_MASS, TOTAL_MASS, HALF_LENGTH = 9.8, 0.1, 1.1, 0.5
FORCE, SECONDS = 10.0, 0.02
POLE_MOMENT = POLE_MASS * HALF_LENGTH
BOUNDS = (2.4, 12 * 2 * math.pi / 360)  # of the position and of the angle


class CartPole(Dynamics):
    """State: position, velocity, angle, angular velocity."""

    def __init__(self, env: Any, device: torch.device) -> None:
        super().__init__(env, device)
        self._bounds = torch.tensor(BOUNDS, dtype=torch.float64, device=device)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return states close to upright rest."""
        return self.uniform(-0.05, 0.05, (count, 4), generator)

    def step(
        self, state: Tensor, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Push to the left (0) or to the right (1)."""
        _, velocity, angle, spin = state.unbind(1)
        force = action * (2.0 * FORCE) - FORCE
        cos, sin = angle.cos(), angle.sin()
        push = (force + POLE_MOMENT * spin.square() * sin) / TOTAL_MASS
        inertia = HALF_LENGTH * (4.0 / 3.0 - cos.square() * (POLE_MASS / TOTAL_MASS))
        spin_rate = (GRAVITY * sin - cos * push) / inertia
        acceleration = push - spin_rate * cos * (POLE_MOMENT / TOTAL_MASS)
        rates = torch.stack((velocity, acceleration, spin, spin_rate), 1)
        state = torch.add(state, rates, alpha=SECONDS)
        terminated = (state[:, ::2].abs() > self._bounds).any(1)
        return state, torch.ones(len(state), device=state.device), terminated

    def observe(self, state: Tensor) -> Tensor:
        """Return the state."""
        return state.float()
