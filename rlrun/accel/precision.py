"""The arithmetic in which networks learn: bfloat16 for products of matrices, float32 for all else.

Parameters, optimizers, losses and log-probabilities stay float32, and so does acting. Source:
Kalamkar et al. 2019, "A study of BFLOAT16 for deep learning training", arXiv:1905.12322.
"""

from typing import Literal, TypeAlias

import torch

from rlrun.accel.processor import abilities
from rlrun.accel.products import ProductChoice, onednn_is_faster
from rlrun.algos.base import Algorithm
from rlrun.config import ConfigError, Problem
from rlrun.nets.learner import Learner

Precision: TypeAlias = Literal["float32", "bfloat16"]
ABLE = ("amx_bf16", "avx512_bf16", "bf16")
"""What processors call their arithmetic in bfloat16; the last is ARM's."""


def learn_in(precision: Precision, algorithm: Algorithm) -> str:
    """Let every learner of an algorithm compute in a precision; return what there is to say of it.

    Raises ConfigError where bfloat16 has nothing to work on, or a device cannot do it.
    """
    learners = [part for part in algorithm.parts().values() if isinstance(part, Learner)]
    if precision == "float32":
        if algorithm.device.type == "cpu" and learners and onednn_is_faster():
            for learner in learners:
                learner.within = ProductChoice(learner.parameters)
            return "large products by oneDNN, which here is faster than MKL"
        return ""
    if not learners:
        name = type(algorithm).__module__.rsplit(".", 1)[-1]
        reason = f"{name} trains no network, which bfloat16 is for; use float32"
        raise ConfigError(Problem("precision", reason))
    if algorithm.device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        name = torch.cuda.get_device_name(algorithm.device)
        raise ConfigError(Problem("precision", f"{name} cannot do bfloat16; use float32"))
    for learner in learners:
        learner.precision = torch.bfloat16
    return "products of losses and gradients; all else in float32"


def doubt(precision: Precision, device: torch.device) -> list[Problem]:
    """Return what is doubtful about a precision on a device."""
    able = abilities()
    if precision == "float32" or device.type != "cpu" or not able:
        return []
    if any(able.get(name) for name in ABLE):
        return []
    return [Problem("precision", "this processor has no bfloat16 arithmetic: float32 is faster")]
