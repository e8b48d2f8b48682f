"""Acrobot. Sutton 1996; the equations of motion of Sutton & Barto's book, by Runge-Kutta."""

import math

import torch
from torch import Tensor

from rlrun.envs.batched.base import Dynamics

GRAVITY, SECONDS = 9.8, 0.2
FASTEST = (4 * math.pi, 9 * math.pi)
# both links: mass 1, length 1, centre of mass at 0.5, moment of inertia 1


class Acrobot(Dynamics):
    """State: the two joints' angles, hanging being 0, and their angular velocities."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return states close to hanging at rest."""
        return self.uniform(-0.1, 0.1, (count, 4), generator)

    def step(
        self, state: Tensor, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply a torque of -1, 0 or 1 to the joint between the links."""
        torque = (action - 1).double()
        first = rates(state, torque)
        second = rates(torch.add(state, first, alpha=SECONDS / 2), torque)
        third = rates(torch.add(state, second, alpha=SECONDS / 2), torque)
        fourth = rates(torch.add(state, third, alpha=SECONDS), torque)
        slope = first + 2.0 * (second + third) + fourth
        angles, spins = torch.add(state, slope, alpha=SECONDS / 6).split(2, 1)
        angles = torch.remainder(angles + math.pi, 2 * math.pi) - math.pi
        one, two = spins.unbind(1)
        one, two = one.clamp(-FASTEST[0], FASTEST[0]), two.clamp(-FASTEST[1], FASTEST[1])
        upper, lower = angles.unbind(1)
        terminated = -upper.cos() - (upper + lower).cos() > 1.0
        state = torch.stack((upper, lower, one, two), 1)
        return state, terminated.float() - 1.0, terminated

    def observe(self, state: Tensor) -> Tensor:
        """Return cosine and sine of each angle, and the angular velocities."""
        upper, lower, one, two = state.unbind(1)
        parts = (upper.cos(), upper.sin(), lower.cos(), lower.sin(), one, two)
        return torch.stack(parts, 1).float()


def rates(state: Tensor, torque: Tensor) -> Tensor:
    """Return the time derivative of states `[N, 4]`."""
    upper, lower, one, two = state.unbind(1)
    cos, sin = lower.cos(), lower.sin()
    d1 = 3.5 + cos  # m1 lc1^2 + m2 (l1^2 + lc2^2 + 2 l1 lc2 cos) + I1 + I2
    d2 = 1.25 + 0.5 * cos  # m2 (lc2^2 + l1 lc2 cos) + I2
    phi2 = 0.5 * GRAVITY * (upper + lower).sin()
    phi1 = phi2 + 1.5 * GRAVITY * upper.sin() - sin * two * (0.5 * two + one)
    ratio = d2 / d1
    numerator = torque + ratio * phi1 - 0.5 * one.square() * sin - phi2
    second = numerator / (1.25 - d2 * ratio)
    first = -(d2 * second + phi1) / d1
    return torch.stack((one, two, first, second), 1)
