"""The network that chooses by what there is to observe."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from rlrun.config import option
from rlrun.nets.images import ImageConfig, ImageLayers, Layout, image_of
from rlrun.nets.torso import Torso, TorsoStack
from rlrun.nets.torsos.minatar_cnn import MinAtarCNN
from rlrun.nets.torsos.mlp import MLP, MLPLayers
from rlrun.nets.torsos.nature_cnn import NatureCNN
from rlrun.types import Obs


@dataclass(frozen=True, kw_only=True)
class AutoLayers:
    """The options of each network that may be chosen."""

    nature_cnn: ImageLayers = option("for images from 36 x 36")
    minatar_cnn: ImageLayers = option("for smaller images from 3 x 3")
    mlp: MLPLayers = option("for everything else")
    joint: tuple[int, ...] = option(
        "widths of the layers on the parts of a Dict with images, otherwise as in mlp", at_least=1
    )
    layout: Layout = option("where an image's channels are; auto: at the smaller outer axis")


@dataclass(frozen=True, kw_only=True)
class AutoConfig(AutoLayers):
    """Options of `network=auto`."""

    shared: bool = option("one trunk for policy and value, instead of one each")


class Auto(Torso):
    """Chooses nature_cnn, minatar_cnn or mlp, whichever suits the observation.

    A Dict without an image is one vector to `mlp`. With one, each key has a torso of its own, and
    layers join what they find: a head, linear in features that only stand side by side, could not
    value an action differently in different states.
    """

    Config = AutoConfig

    def __init__(self, config: AutoLayers, space: Space[Any]) -> None:
        super().__init__(config, space)
        self.keys = _keys(config, space)
        parts = space.spaces.values() if isinstance(space, spaces.Dict) and self.keys else [space]
        torsos = [_build(config, part) for part in parts]
        self.torsos = nn.ModuleList(torsos)
        widths = [torso.features for torso in torsos]
        self.joint = _joint(config, sum(widths)) if len(widths) > 1 else None
        self.features = widths[0] if self.joint is None else self.joint.features

    def forward(self, obs: Obs) -> Tensor:
        """Return features `[..., F]`."""
        if not self.keys:
            features: Tensor = self.torsos[0](obs)
            return features
        pairs = zip(self.torsos, self.keys, strict=True)
        features = torch.cat([torso(obs[key]) for torso, key in pairs], -1)  # type: ignore[index]
        return features if self.joint is None else self.joint(features)

    @classmethod
    def stack(cls, config: AutoLayers, space: Space[Any], copies: int) -> TorsoStack:
        """Return K networks; where each is an `mlp` and no more, as one batched product a layer."""
        if not _keys(config, space) and _choice(config, space) is MLP:
            return MLP.stack(config.mlp, space, copies)
        return super().stack(config, space, copies)


def _keys(config: AutoLayers, space: Space[Any]) -> tuple[str, ...]:
    """Return the keys of a Dict that holds an image to convolve, () for every other space."""
    if not isinstance(space, spaces.Dict):
        return ()
    seen = any(_choice(config, part) is not MLP for part in space.spaces.values())
    return tuple(space.spaces) if seen else ()


def _choice(config: AutoLayers, space: Space[Any]) -> type[Torso]:
    image = image_of(space, config.layout)
    side = 0 if image is None else min(image.height, image.width)
    if side >= NatureCNN.least:
        return NatureCNN
    return MinAtarCNN if side >= MinAtarCNN.least else MLP


def _build(config: AutoLayers, space: Space[Any]) -> Torso:
    torso = _choice(config, space)
    if torso is MLP:
        return MLP(config.mlp, space)
    layers = config.nature_cnn if torso is NatureCNN else config.minatar_cnn
    return torso(ImageConfig(**vars(layers), layout=config.layout, shared=False), space)


def _joint(config: AutoLayers, width: int) -> MLP:
    layers = replace(config.mlp, sizes=config.joint)
    return MLP(layers, spaces.Box(-np.inf, np.inf, (width,), np.float32))
