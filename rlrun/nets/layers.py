"""What the layers of every network share: activations, normalisation, initialisation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.config import option
from rlrun.nets.spectral import spectral

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
}


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """Options of hidden layers, dense or convolutional."""

    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = option("between the layers")
    layer_norm: bool = option("normalise each layer's output before its activation")
    spectral_norm: bool = option("hold each layer's largest singular value at one")
    init: Literal["orthogonal", "uniform"] = option(
        "orthogonal with gain sqrt(2), or PyTorch's uniform default"
    )

    def prepared(self, layer: Layer) -> Layer:
        """Initialise a hidden layer as configured, and return it."""
        if self.init == "orthogonal":
            orthogonal(layer, math.sqrt(2))
        return spectral(layer) if self.spectral_norm else layer


def orthogonal(layer: Layer, gain: float) -> Layer:
    """Initialise a layer orthogonally with zero bias, and return it (Saxe et al. 2014)."""
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
