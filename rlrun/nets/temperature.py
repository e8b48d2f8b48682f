"""The entropy coefficient of soft algorithms: a number, or learned to meet a target entropy."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from rlrun.nets.action_bounds import action_size


@dataclass(frozen=True)
class EntropyCoefficient:
    """A constant, `auto`, or `auto_<first value>`, as Stable-Baselines3 writes it."""

    learned: bool
    first: float

    @classmethod
    def parse(cls, value: Any) -> "EntropyCoefficient":
        """Read a configuration value; ValueError says what is wrong."""
        text = str(value)
        learned = text == "auto" or text.startswith("auto_")
        try:
            first = float(text.removeprefix("auto_")) if text != "auto" else 1.0
        except ValueError:
            first = math.nan
        if isinstance(value, bool) or not math.isfinite(first):
            raise ValueError(f"{value!r} is not a number, auto or auto_<first value>")
        if learned and first <= 0.0:
            raise ValueError(f"{value!r}: a learned coefficient starts above 0")
        return cls(learned, first)

    def plain(self) -> Any:
        """Return what YAML and JSON hold and `parse` reads back."""
        return f"auto_{self.first}" if self.learned else self.first

    def extremes(self) -> tuple[float, float]:
        """Return the value, for range checks."""
        return self.first, self.first


class Temperature(nn.Module):
    """The coefficient as a module: `log_alpha` is its only parameter if it is learned."""

    log_alpha: Tensor
    alpha: Tensor

    def __init__(self, coefficient: EntropyCoefficient) -> None:
        super().__init__()
        self.learned = coefficient.learned
        if self.learned:
            self.log_alpha = nn.Parameter(torch.tensor(math.log(coefficient.first)))
        else:
            self.register_buffer("alpha", torch.tensor(coefficient.first))

    def forward(self) -> Tensor:
        """Return alpha, a constant to whatever is differentiated."""
        return self.log_alpha.detach().exp() if self.learned else self.alpha


def default_target_entropy(space: Space[Any]) -> float:
    """Return the usual target: -A for A dimensions in [-1, 1], 0.98 log A for A choices.

    Source: Haarnoja et al. 2018, "Soft actor-critic algorithms and applications", appendix D;
    Christodoulou 2019, "Soft actor-critic for discrete action settings", section 5.
    """
    if isinstance(space, spaces.Discrete):
        return 0.98 * math.log(int(space.n))
    return -float(action_size(space))
