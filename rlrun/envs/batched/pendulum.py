"""Pendulum: swing it up and keep it there. Gymnasium's constants."""

import math

import torch
from torch import Tensor

from rlrun.envs.batched.base import Dynamics

FASTEST, TORQUE, SECONDS = 8.0, 2.0, 0.05
GRAVITY_TERM, TORQUE_TERM = 15.0, 3.0  # 3 g / (2 l) and 3 / (m l^2) with g = 10, m = l = 1


class Pendulum(Dynamics):
    """State: angle, upright being 0, and angular velocity. It never terminates."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return pendulums anywhere, slow."""
        angle = self.uniform(-math.pi, math.pi, (count, 1), generator)
        return torch.cat((angle, self.uniform(-1.0, 1.0, (count, 1), generator)), 1)

    def step(
        self, state: Tensor, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply a torque `[N, 1]`, clipped to the bounds."""
        angle, spin = state.unbind(1)
        torque = action.view(-1).double().clamp(-TORQUE, TORQUE)
        turned = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        cost = turned.square() + 0.1 * spin.square() + 0.001 * torque.square()
        spin = spin + (GRAVITY_TERM * angle.sin() + TORQUE_TERM * torque) * SECONDS
        spin = spin.clamp(-FASTEST, FASTEST)
        state = torch.stack((angle + spin * SECONDS, spin), 1)
        return state, -cost.float(), torch.zeros_like(cost, dtype=torch.bool)

    def observe(self, state: Tensor) -> Tensor:
        """Return cosine and sine of the angle, and the angular velocity."""
        angle, spin = state.unbind(1)
        return torch.stack((angle.cos(), angle.sin(), spin), 1).float()
