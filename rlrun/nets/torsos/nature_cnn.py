"""The network of deep Q-learning on Atari: three convolutions and a dense layer.

Mnih et al. 2015, "Human-level control through deep reinforcement learning", Methods, "Model
architecture".
"""

from itertools import pairwise

from torch import nn

from rlrun.config import ConfigError, Problem
from rlrun.nets.images import Activation, Image, ImageLayers, ImageTorso, convolution
from rlrun.nets.layers import ACTIVATIONS

KERNELS, STRIDES = (8, 4, 3), (4, 2, 1)


class NatureCNN(ImageTorso):
    """Convolutions of 8 x 8, 4 x 4 and 3 x 3 pixels, for images of 36 x 36 and up, as Atari's."""

    name = "nature_cnn"
    least = 36  # leaves one pixel: 36 -> 8 -> 3 -> 1
    instead = "network=minatar_cnn (from 3 x 3) or network=impala_cnn (any size)"

    def convolutions(self, config: ImageLayers, image: Image) -> nn.Module:
        """Return the three convolutions; ConfigError unless `channels` are three."""
        if len(config.channels) != len(KERNELS):
            reason = f"nature_cnn has 3 convolutions, and {list(config.channels)} does not name 3"
            raise ConfigError(Problem("network.channels", reason))
        widths = pairwise([image.channels, *config.channels])
        layers: list[nn.Module] = []
        for (inputs, outputs), kernel, stride in zip(widths, KERNELS, STRIDES, strict=True):
            layers.append(convolution(config, inputs, outputs, kernel, stride))
            layers.append(Activation(ACTIVATIONS[config.activation]))
        return nn.Sequential(*layers)
