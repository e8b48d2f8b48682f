"""Fully connected layers: the network for observations that are vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from gymnasium import Space
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.config import option
from rlrun.nets.layers import ACTIVATIONS, LayerOptions
from rlrun.nets.torso import Encoder, Torso, TorsoStack
from rlrun.nets.tracing import traced
from rlrun.types import Obs


@dataclass(frozen=True, kw_only=True)
class MLPLayers(LayerOptions):
    """Fully connected layers, by themselves or as a part of another network."""

    sizes: tuple[int, ...] = option("widths of the hidden layers", at_least=1)


@dataclass(frozen=True, kw_only=True)
class MLPConfig(MLPLayers):
    """Options of `network=mlp`."""

    shared: bool = option("one trunk for policy and value, instead of one each")


class MLP(Torso):
    """Hidden layers on the encoded observation; without any, the encoded observation itself."""

    Config = MLPConfig

    def __init__(self, config: MLPLayers, space: Space[Any]) -> None:
        super().__init__(config, space)
        self.encoder = Encoder(space)
        widths = [self.encoder.size, *config.sizes]
        self.features = widths[-1]
        self.activation = ACTIVATIONS[config.activation]
        self.linears = nn.ModuleList()
        self.norms = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            self.linears.append(config.prepared(nn.Linear(inputs, outputs)))
            if config.layer_norm:
                self.norms.append(nn.LayerNorm(outputs))

    def forward(self, obs: Obs) -> Tensor:
        """Return features `[..., sizes[-1]]`."""
        features: Tensor = self.encoder(obs)
        for index, linear in enumerate(self.linears):
            features = linear(features)
            if self.norms:
                features = self.norms[index](features)
            features = self.activation(features)
        return features

    @classmethod
    def stack(cls, config: MLPLayers, space: Space[Any], copies: int) -> TorsoStack:
        """Return K networks whose layers are one batched product each."""
        if config.spectral_norm:
            return super().stack(config, space, copies)
        return MLPStack([cls(config, space) for _ in range(copies)])


class MLPStack(TorsoStack):
    """K MLPs as one: weights `[K, in, out]`, biases `[K, 1, out]`.

    On small networks the time goes into calling operations, so half the calls is half the time.
    """

    def __init__(self, torsos: Sequence[MLP]) -> None:
        nn.Module.__init__(self)
        first = torsos[0]
        self.features, self.encoder, self.activation = (
            first.features,
            first.encoder,
            first.activation,
        )
        self.copies, depth = len(torsos), range(len(first.linears))
        self.weights = nn.ParameterList(
            [_joined([_linear(t, i).weight.T for t in torsos]) for i in depth]
        )
        self.biases = nn.ParameterList(
            [_joined([_linear(t, i).bias.unsqueeze(0) for t in torsos]) for i in depth]
        )
        norms = depth if first.norms else range(0)
        shape = (len(torsos), 1)
        self.scales = nn.ParameterList([torch.ones(*shape, self._width(i)) for i in norms])
        self.shifts = nn.ParameterList([torch.zeros(*shape, self._width(i)) for i in norms])
        # looking a parameter up by name at every call costs more than a small product
        self._layers = tuple(zip(self.weights, self.biases, strict=True))
        self._affine = tuple(zip(self.scales, self.shifts, strict=True))
        self._views: list[list[tuple[Tensor, Tensor]]] = []
        self._viewed = 0

    def forward(self, obs: Obs) -> Tensor:
        """Return the features of all K, `[K, ..., F]`."""
        encoded: Tensor = self.encoder(obs)
        rows = encoded.reshape(-1, encoded.shape[-1])
        features = rows.expand(self.copies, *rows.shape)
        for index, (weight, bias) in enumerate(self._layers):
            features = torch.baddbmm(bias, features, weight)
            if self._affine:
                scale, shift = self._affine[index]
                normed = F.layer_norm(features, features.shape[-1:])
                features = torch.addcmul(shift, normed, scale)
            features = self.activation(features)
        return features.view(self.copies, *encoded.shape[:-1], self.features)

    def only(self, index: int, obs: Obs) -> Tensor:
        """Return the features of one of them, `[..., F]`."""
        encoded: Tensor = self.encoder(obs)
        features = encoded.reshape(-1, encoded.shape[-1])
        for layer, (weight, bias) in enumerate(self._layers_of(index)):
            features = torch.addmm(bias, features, weight)
            if self._affine:
                scale, shift = self._affine[layer]
                normed = F.layer_norm(features, features.shape[-1:])
                features = torch.addcmul(shift[index], normed, scale[index])
            features = self.activation(features)
        return features.view(*encoded.shape[:-1], self.features)

    def _layers_of(self, index: int) -> list[tuple[Tensor, Tensor]]:
        """Return one network's weights; while acting, views made once, as slicing costs a call."""
        if torch.is_grad_enabled() or traced():
            return [(weight[index], bias[index]) for weight, bias in self._layers]
        if not self._layers:
            return []
        if self._layers[0][0].data_ptr() != self._viewed:
            self._viewed = self._layers[0][0].data_ptr()
            copies = range(self.copies)
            self._views = [[(w.data[k], b.data[k]) for w, b in self._layers] for k in copies]
        return self._views[index]

    def _width(self, layer: int) -> int:
        return int(self.weights[layer].shape[-1])


def _linear(torso: MLP, index: int) -> nn.Linear:
    layer = torso.linears[index]
    assert isinstance(layer, nn.Linear)
    return layer


def _joined(parts: list[Tensor]) -> nn.Parameter:
    return nn.Parameter(torch.stack([part.detach() for part in parts]))
