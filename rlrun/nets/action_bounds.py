"""Unit actions, in [-1, 1], and the environment's own: networks work in the former."""

import math
from typing import Any

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from rlrun.config import ConfigError, Problem


class ActionBounds(nn.Module):
    """The bounds of a Box `[A]`, its axes flattened; each dimension has its own, symmetric or not.

    Raises ConfigError for a Box that is not bounded or does not hold floats.
    """

    centre: Tensor
    reach: Tensor
    inverse: Tensor

    def __init__(self, space: Space[Any]) -> None:
        super().__init__()
        if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
            raise ConfigError(Problem("env", f"action space {space} is not a Box of floats"))
        if not space.is_bounded():
            reason = (
                f"its actions are not bounded: {space}; bound them with "
                "gymnasium.wrappers.RescaleAction, or choose algo=ppo, which needs no bounds"
            )
            raise ConfigError(Problem("env", reason))
        low = torch.as_tensor(space.low, dtype=torch.float64).flatten()
        high = torch.as_tensor(space.high, dtype=torch.float64).flatten()
        half = 0.5 * (high - low)
        self.register_buffer("centre", (0.5 * (low + high)).float())
        self.register_buffer("reach", half.float())
        # a dimension without room has one action, whose unit is 0
        self.register_buffer("inverse", torch.where(half > 0, 1.0 / half, 0.0).float())

    def stretch(self, unit: Tensor) -> Tensor:
        """Return unit actions `[..., A]` in the environment's units."""
        return torch.addcmul(self.centre, self.reach, unit)

    def shrink(self, action: Tensor) -> Tensor:
        """Return the environment's actions `[..., A]` as unit actions."""
        return (action - self.centre) * self.inverse


def action_size(space: Space[Any]) -> int:
    """Return A, the number of dimensions of a Box."""
    assert isinstance(space, spaces.Box)
    return math.prod(space.shape)
