"""Images among observations: which of their axes is which, and the torso around convolutions."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from rlrun.config import ConfigError, Problem, option
from rlrun.nets.layers import ACTIVATIONS, LayerOptions
from rlrun.nets.torso import Encoder, Torso
from rlrun.types import Obs, shown

Layout: TypeAlias = Literal["auto", "channels_first", "channels_last"]


@dataclass(frozen=True, kw_only=True)
class ImageLayers(LayerOptions):
    """Convolutions and the dense layer after them, by themselves or in another network."""

    channels: tuple[int, ...] = option("channels of the convolutions", at_least=1)
    dense: int = option("width of the dense layer after the convolutions", at_least=1)


@dataclass(frozen=True, kw_only=True)
class ImageConfig(ImageLayers):
    """Options of a network for images."""

    layout: Layout = option("where an image's channels are; auto: at the smaller outer axis")
    shared: bool = option("one trunk for policy and value, instead of one each")


class Image(NamedTuple):
    """The shape of an image and the axis its channels are on."""

    channels: int
    height: int
    width: int
    channels_first: bool

    def __str__(self) -> str:
        return f"{self.height} x {self.width} pixels with {self.channels} channels"


def image_of(space: Space[Any], layout: Layout) -> Image | None:
    """Return the image in a Box of three dimensions, None for any other space.

    With `layout` "auto" the channels are on the first axis where that is smaller than the last,
    else on the last: a cube such as MinAtar's 10 x 10 x 10 is read as Gymnasium's own images are.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return None
    first, middle, last = space.shape
    if layout == "channels_first" or (layout == "auto" and first < last):
        return Image(first, middle, last, channels_first=True)
    return Image(last, first, middle, channels_first=False)


def pixels(obs: Tensor, image: Image) -> Tensor:
    """Return images `[..., *shape]` as float32 `[B, C, H, W]`; uint8 is scaled to [0, 1].

    On a processor the channels of a pixel lie side by side in memory: there the convolutions of a
    minibatch of Atari take 0.63 of the time.
    """
    rows = obs.reshape(obs.shape[:-3].numel(), *obs.shape[-3:])
    if not image.channels_first:
        rows = rows.permute(0, 3, 1, 2)
    elif rows.device.type == "cpu":
        rows = rows.contiguous(memory_format=torch.channels_last)
    return rows.float() / 255.0 if obs.dtype == torch.uint8 else rows.float()


def convolution(
    config: ImageLayers, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> nn.Module:
    """Return a convolution as configured, without its activation."""
    layer = config.prepared(nn.Conv2d(inputs, outputs, kernel, stride, padding))
    # one group: moments over the whole image, scale and shift for each channel
    return nn.Sequential(layer, nn.GroupNorm(1, outputs)) if config.layer_norm else layer


class Activation(nn.Module):
    """One of `ACTIVATIONS` as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: Tensor) -> Tensor:
        """Return the activated features."""
        return self.function(features)


class ImageTorso(Torso):
    """Convolutions on each image of an observation, and a dense layer on all the observation holds.

    In a Dict, what is no image joins the flattened convolutions before the dense layer, so that a
    critic's action meets the picture there. Raises ConfigError for an observation without an
    image, or with one whose sides are below `least`.
    """

    Config = ImageConfig
    name: ClassVar[str]
    least: ClassVar[int]
    instead: ClassVar[str]

    def __init__(self, config: ImageConfig, space: Space[Any]) -> None:
        super().__init__(config, space)
        parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        found = {key: image_of(part, config.layout) for key, part in parts.items()}
        self.images = {key: image for key, image in found.items() if image is not None}
        self._check(space)
        # by number, as a module's name may hold no dot
        self.trunks = nn.ModuleList(
            self.convolutions(config, image) for image in self.images.values()
        )
        rest = {key: part for key, part in parts.items() if found[key] is None}
        self.encoder = Encoder(spaces.Dict(rest)) if rest else None
        self.activation = ACTIVATIONS[config.activation]
        self.features = config.dense
        inputs = sum(map(_flat_size, self.trunks, self.images.values()))
        inputs += self.encoder.size if self.encoder else 0
        self.dense = config.prepared(nn.Linear(inputs, config.dense))
        self.norm = nn.LayerNorm(config.dense) if config.layer_norm else None

    @abstractmethod
    def convolutions(self, config: Any, image: Image) -> nn.Module:
        """Return the layers from images `[B, C, H, W]` to features `[B, C', H', W']`, activated."""

    def forward(self, obs: Obs) -> Tensor:
        """Return features `[..., dense]`."""
        parts = obs if isinstance(obs, dict) else {"": obs}
        leading: torch.Size | None = None
        flat: list[Tensor] = []
        for trunk, (key, image) in zip(self.trunks, self.images.items(), strict=True):
            leading = parts[key].shape[:-3]
            flat.append(trunk(pixels(parts[key], image)).flatten(1))
        assert leading is not None
        if self.encoder is not None:
            flat.append(self.encoder(parts).reshape(leading.numel(), self.encoder.size))
        features = self.dense(torch.cat(flat, 1) if len(flat) > 1 else flat[0])
        if self.norm is not None:
            features = self.norm(features)
        return self.activation(features).view(*leading, self.features)

    def _check(self, space: Space[Any]) -> None:
        if not self.images:
            flat = isinstance(space, spaces.Box) and len(space.shape) == 2
            fix = "add frame_stack to env.wrappers, or use" if flat else "use"
            reason = (
                f"{self.name} serves images, which are Boxes of three dimensions, and "
                f"{shown(space)} holds none; {fix} network=mlp or network=auto"
            )
            raise ConfigError(Problem("network", reason))
        for key, image in self.images.items():
            if min(image.height, image.width) < self.least:
                of_key = f" in {key!r}" if key else ""
                reason = (
                    f"{self.name} needs images of at least {self.least} x {self.least} pixels, "
                    f"and the one{of_key} is read as {image}; use {self.instead}, or "
                    "network.layout if the channels are on another axis"
                )
                raise ConfigError(Problem("network", reason))


def _flat_size(trunk: nn.Module, image: Image) -> int:
    with torch.no_grad():
        return int(trunk(torch.zeros(1, image.channels, image.height, image.width)).numel())
