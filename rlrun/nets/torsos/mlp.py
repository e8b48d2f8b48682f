"""Fully connected layers: the network for observations that are vectors."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from gymnasium import Space
from torch import Tensor, nn

from rlrun.config import option
from rlrun.nets.torso import ACTIVATIONS, Encoder, Torso, orthogonal
from rlrun.types import Obs


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `network=mlp`."""

    sizes: tuple[int, ...] = option("widths of the hidden layers", at_least=1)
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = option("between the layers")
    layer_norm: bool = option("normalise each layer's output before its activation")
    init: Literal["orthogonal", "uniform"] = option(
        "orthogonal with gain sqrt(2), or PyTorch's uniform default"
    )
    shared: bool = option("one trunk for policy and value, instead of one each")


class MLP(Torso):
    """Hidden layers on the encoded observation; without any, the encoded observation itself."""

    Config = Config

    def __init__(self, config: Config, space: Space[Any]) -> None:
        super().__init__(config, space)
        self.encoder = Encoder(space)
        widths = [self.encoder.size, *config.sizes]
        self.features = widths[-1]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layer = nn.Linear(inputs, outputs)
            layers.append(orthogonal(layer, math.sqrt(2)) if config.init == "orthogonal" else layer)
            if config.layer_norm:
                layers.append(nn.LayerNorm(outputs))
            layers.append(ACTIVATIONS[config.activation]())
        self.layers = nn.Sequential(*layers)

    def forward(self, obs: Obs) -> Tensor:
        """Return features `[..., sizes[-1]]`."""
        features: Tensor = self.layers(self.encoder(obs))
        return features
