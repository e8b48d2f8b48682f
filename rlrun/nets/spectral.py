"""Layers whose largest singular value is held at one, so that values cannot grow steep.

Miyato et al. 2018, "Spectral normalization for generative adversarial networks", arXiv:1802.05957,
algorithm 1; for reinforcement learning Gogianu et al. 2021, arXiv:2105.05246.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)
FIRST_STEPS = 15
"""Power iterations before the first use."""


class SpectralScale(nn.Module):
    """Divides a weight `[out, ...]`, as a matrix `[out, rest]`, by its largest singular value.

    One step of power iteration goes with every pass that a gradient follows, none with acting and
    evaluating, so that those change nothing.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("right", normalize(torch.randn_like(matrix[0]), dim=0))
        for _ in range(FIRST_STEPS):
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the scaled weight, of the same shape."""
        matrix = weight.flatten(1)
        with torch.autocast(weight.device.type, enabled=False):  # a norm is float32
            if torch.is_grad_enabled():
                self._iterate(matrix.detach())
            # clones, because the next step of iteration overwrites what a gradient still needs
            largest = self.left.clone() @ (matrix @ self.right.clone())
        return weight / largest

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.left.copy_(normalize(matrix @ self.right, dim=0))
        self.right.copy_(normalize(matrix.T @ self.left, dim=0))


def spectral(layer: Layer) -> Layer:
    """Hold a layer's largest singular value at one, and return the layer."""
    parametrize.register_parametrization(layer, "weight", SpectralScale(layer.weight))
    return layer
