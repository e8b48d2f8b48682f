"""The torso: from an observation to features. Heads belong to the algorithm.

`Encoder` turns any supported observation into one float vector; torsos for vectors start with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.config import ConfigError, Problem
from rlrun.types import Carry, Obs


class Torso(nn.Module, ABC):
    """Maps an observation `[..., *shape]` to features `[..., F]`; `features` is F."""

    Config: ClassVar[type]
    recurrent: ClassVar[bool] = False
    """Whether it remembers: then it is a `MemoryTorso`."""
    features: int

    @abstractmethod
    def __init__(self, config: Any, space: Space[Any]) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, obs: Any) -> Tensor:
        """Return features for observations with any leading shape."""

    def initial_carry(self, num_envs: int) -> Carry:
        """Return what it remembers at the start of an episode: nothing."""
        return ()

    def step(self, obs: Obs, carry: Carry) -> tuple[Tensor, Carry]:
        """Return features `[N, F]` of observations `[N, ...]`, and what it remembers then."""
        return self(obs), carry

    @classmethod
    def stack(cls, config: Any, space: Space[Any], copies: int) -> "TorsoStack":
        """Return several torsos with weights of their own that are evaluated together."""
        return TorsoStack([cls(config, space) for _ in range(copies)])


class TorsoStack(nn.Module):
    """K torsos of one network, `[..., *shape]` to features `[K, ..., F]`.

    This one asks each in turn; a network that can do all at once overrides `Torso.stack`.
    """

    recurrent: ClassVar[bool] = False
    features: int

    def __init__(self, torsos: Sequence[Torso]) -> None:
        super().__init__()
        self.torsos = nn.ModuleList(torsos)
        self.features = torsos[0].features

    def forward(self, obs: Any) -> Tensor:
        """Return the features of all K, `[K, ..., F]`."""
        return torch.stack([torso(obs) for torso in self.torsos])

    def only(self, index: int, obs: Any) -> Tensor:
        """Return the features of one of them, `[..., F]`."""
        features: Tensor = self.torsos[index](obs)
        return features

    def initial_carry(self, num_envs: int) -> Carry:
        """Return what they remember at the start of an episode: nothing."""
        return ()

    def step(self, obs: Obs, carry: Carry) -> tuple[Tensor, Carry]:
        """Return the features of the first, `[N, F]`, and what all remember afterwards."""
        return self.only(0, obs), carry


@dataclass(frozen=True)
class Network:
    """The configured network: builds a fresh torso for any observation space."""

    torso: type[Torso]
    config: Any

    @property
    def shared(self) -> bool:
        """Whether policy and value share one torso; networks without the choice do not."""
        return bool(getattr(self.config, "shared", False))

    def build(self, space: Space[Any]) -> Torso:
        """Return a torso with freshly drawn weights."""
        return self.torso(self.config, space)

    def stack(self, space: Space[Any], copies: int) -> TorsoStack:
        """Return K freshly drawn torsos that are evaluated together."""
        return self.torso.stack(self.config, space, copies)


class Encoder(nn.Module):
    """Any supported observation as one float32 vector `[..., size]`.

    Box is flattened, uint8 images scaled to [0, 1]; Discrete and MultiDiscrete become one-hot;
    MultiBinary float; a Dict the concatenation of its entries in the order of their names.
    Raises ConfigError for any other space.
    """

    def __init__(self, space: Space[Any]) -> None:
        super().__init__()
        self.space = space
        self.size = encoded_size(space)
        plain = isinstance(space, spaces.Box) and len(space.shape) == 1
        self._identity = plain and space.dtype == "float32"

    def forward(self, obs: Obs) -> Tensor:
        """Return `[..., size]` for an observation `[..., *shape]`."""
        if self._identity:
            return obs  # type: ignore[return-value]
        return encode(self.space, obs)


def encoded_size(space: Space[Any]) -> int:
    """Return the length of the encoded vector of a space."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return int(torch.Size(space.shape).numel())
    if isinstance(space, spaces.Dict):
        return sum(encoded_size(part) for part in space.spaces.values())
    raise ConfigError(
        Problem("env", f"observation space {type(space).__name__} is not supported: {space}")
    )


def encode(space: Space[Any], obs: Obs) -> Tensor:
    """Return an observation of `space` as a float32 vector, keeping the leading shape."""
    if isinstance(space, spaces.Dict):
        parts = [encode(part, obs[key]) for key, part in space.spaces.items()]  # type: ignore[index]
        return torch.cat(parts, -1)
    assert isinstance(obs, Tensor)
    if isinstance(space, spaces.Discrete):
        return F.one_hot(obs.long(), int(space.n)).float()
    if isinstance(space, spaces.MultiDiscrete):
        choices = zip(obs.long().unbind(-1), space.nvec.tolist(), strict=True)
        return torch.cat([F.one_hot(choice, size).float() for choice, size in choices], -1)
    flat = obs.flatten(obs.ndim - len(space.shape or ())) if space.shape else obs.unsqueeze(-1)
    return flat.float() / 255.0 if obs.dtype == torch.uint8 else flat.float()
