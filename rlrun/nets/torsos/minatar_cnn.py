"""The network of the MinAtar games: 3 x 3 convolutions and a dense layer.

Young & Tian 2019, "MinAtar: An Atari-inspired testbed for thorough and reproducible reinforcement
learning experiments", arXiv:1903.03176, section 3.
"""

from itertools import pairwise

from torch import nn

from rlrun.config import ConfigError, Problem
from rlrun.nets.images import Activation, Image, ImageLayers, ImageTorso, convolution
from rlrun.nets.layers import ACTIVATIONS


class MinAtarCNN(ImageTorso):
    """A convolution of 3 x 3 pixels and a dense layer, for small images."""

    name = "minatar_cnn"
    least = 3
    instead = "network=impala_cnn (any size)"

    def convolutions(self, config: ImageLayers, image: Image) -> nn.Module:
        """Return one convolution for each of `channels`; ConfigError if they use up the image."""
        self._check_depth(len(config.channels), image)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([image.channels, *config.channels]):
            layers.append(convolution(config, inputs, outputs, 3))
            layers.append(Activation(ACTIVATIONS[config.activation]))
        return nn.Sequential(*layers)

    def _check_depth(self, depth: int, image: Image) -> None:
        deepest = (min(image.height, image.width) - 1) // 2  # each takes a pixel from every edge
        if depth > deepest:
            reason = f"{depth} convolutions of 3 x 3 use up {image}; name {deepest} or fewer"
            raise ConfigError(Problem("network.channels", reason))
