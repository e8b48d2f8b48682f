"""Targets and losses of critics that learn from stored transitions; one value a row."""

import torch
from torch import Tensor

from rlrun.functional.returns import same_shape


def td_target(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """Return reward + discount * next_value, `[B]`.

    `discount` is 0 where the task ended, so nothing is hoped for there; a time limit keeps it.
    """
    same_shape(reward, discount, next_value)
    return torch.addcmul(reward, discount, next_value)


def squared_errors(q: Tensor, target: Tensor) -> Tensor:
    """Return the squared errors of K critics against one target, summed over them.

    `q` is `[K, B]`, `target` `[B]`, the result `[B]`. Each critic learns as if it were alone.
    Source: Fujimoto et al. 2018, "Addressing function approximation error", algorithm 1.
    """
    same_shape(q[0], target)
    return (q - target).square().sum(0)
