"""A copy of a network that follows it slowly, so that a learner does not chase its own tail."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from rlrun.nets.learner import flatten

Net = TypeVar("Net", bound=nn.Module)


class Target(nn.Module, Generic[Net]):
    """A module's copy, whose parameters are views of one vector laid out like the learner's.

    `source` is that learner's `flat`: following it is one operation, whatever the layers.
    """

    def __init__(self, module: Net, source: Tensor) -> None:
        super().__init__()
        self.module: Net = copy.deepcopy(module)
        learned = [each for each in self.module.parameters() if each.requires_grad]
        self._flat, self._source = flatten(learned).detach(), source.detach()
        self.requires_grad_(False)

    @torch.no_grad()
    def follow(self, tau: float) -> None:
        """Move by the share `tau` of the way to the source; 1 copies it.

        Source: Lillicrap et al. 2016, "Continuous control with deep reinforcement learning",
        section 3.
        """
        self._flat.lerp_(self._source, tau)
