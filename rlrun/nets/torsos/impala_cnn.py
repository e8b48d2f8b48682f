"""The deep residual network of IMPALA.

Espeholt et al. 2018, "IMPALA: Scalable distributed deep-RL with importance weighted actor-learner
architectures", arXiv:1802.01561, figure 3, right; without its recurrent layer.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from rlrun.config import option
from rlrun.nets.images import Activation, Image, ImageConfig, ImageLayers, ImageTorso, convolution
from rlrun.nets.layers import ACTIVATIONS


@dataclass(frozen=True, kw_only=True)
class ImpalaConfig(ImageConfig):
    """Options of `network=impala_cnn`."""

    blocks: int = option("residual blocks after each halving of the image", at_least=0)


class ImpalaCNN(ImageTorso):
    """Residual convolutions that halve the image for each of `channels`, for images of any size."""

    Config = ImpalaConfig
    name = "impala_cnn"
    least = 1
    instead = "network=mlp"

    def convolutions(self, config: ImpalaConfig, image: Image) -> nn.Module:
        """Return convolution, halving and residual blocks for each of `channels`."""
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([image.channels, *config.channels]):
            layers.append(convolution(config, inputs, outputs, 3, padding=1))
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
            layers += [Residual(config, outputs) for _ in range(config.blocks)]
        return nn.Sequential(*layers, Activation(ACTIVATIONS[config.activation]))


class Residual(nn.Module):
    """Two convolutions, each after an activation, whose result is added to what came in."""

    def __init__(self, config: ImageLayers, channels: int) -> None:
        super().__init__()
        self.first = convolution(config, channels, channels, 3, padding=1)
        self.second = convolution(config, channels, channels, 3, padding=1)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape `[B, C, H, W]`."""
        inner = self.first(self.activation(features))
        result: Tensor = features + self.second(self.activation(inner))
        return result
