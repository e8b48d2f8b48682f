"""A policy that acts at random until there is enough to learn from."""

import torch
from torch import Tensor, nn


class WarmingPolicy(nn.Module):
    """Holds `warming`, and `cold`, the same as a tensor: a compiled `act` would keep a flag."""

    cold: Tensor

    def __init__(self, warming: bool) -> None:
        super().__init__()
        self._warming = warming
        self.register_buffer("cold", torch.tensor(warming), persistent=False)

    @property
    def warming(self) -> bool:
        """Whether it acts at random."""
        return self._warming

    @warming.setter
    def warming(self, warming: bool) -> None:
        if warming != self._warming:
            self._warming = warming
            self.cold.fill_(warming)
