"""MountainCar, discrete and continuous. Moore 1990; Gymnasium's constants."""

import torch
from torch import Tensor

from rlrun.envs.batched.base import Dynamics

LEFT, RIGHT, FASTEST = -1.2, 0.6, 0.07
GRAVITY = 0.0025


class MountainCar(Dynamics):
    """State: position, velocity. The goal is at 0.5."""

    goal, power = 0.5, 0.001

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return cars at rest in the valley."""
        position = self.uniform(-0.6, -0.4, (count, 1), generator)
        return torch.cat((position, torch.zeros_like(position)), 1)

    def step(
        self, state: Tensor, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Push to the left (0), not at all (1), or to the right (2)."""
        state, terminated = self.drive(state, (action - 1) * self.power)
        return state, torch.full((len(state),), -1.0, device=state.device), terminated

    def drive(self, state: Tensor, acceleration: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state and where the goal was reached; the left wall stops the car."""
        position, velocity = state.unbind(1)
        velocity = velocity + acceleration - GRAVITY * (3.0 * position).cos()
        velocity = velocity.clamp(-FASTEST, FASTEST)
        position = (position + velocity).clamp(LEFT, RIGHT)
        velocity = torch.where((position <= LEFT) & (velocity < 0), 0.0, velocity)
        terminated = (position >= self.goal) & (velocity >= 0)
        return torch.stack((position, velocity), 1), terminated

    def observe(self, state: Tensor) -> Tensor:
        """Return the state."""
        return state.float()


class MountainCarContinuous(MountainCar):
    """Actions are forces `[N, 1]` in [-1, 1]; the goal is at 0.45 and worth 100."""

    goal, power = 0.45, 0.0015

    def step(
        self, state: Tensor, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Push with a force, clipped to the bounds."""
        force = action.view(-1).double().clamp(-1.0, 1.0)
        state, terminated = self.drive(state, force * self.power)
        reward = 100.0 * terminated - 0.1 * force.square()
        return state, reward.float(), terminated
