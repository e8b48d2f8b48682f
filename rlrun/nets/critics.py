"""Critics: action values of an ensemble that is evaluated as one batched network."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlrun.nets.action_bounds import action_size
from rlrun.nets.torso import Network
from rlrun.types import EnvSpec, Obs

T = TypeVar("T")


class EnsembleLinear(nn.Module):
    """K linear layers as one product: `[K, B, in]` to `[K, B, out]`, PyTorch's uniform init."""

    def __init__(self, copies: int, inputs: int, outputs: int) -> None:
        super().__init__()
        layers = [nn.Linear(inputs, outputs) for _ in range(copies)]
        weights = [layer.weight.detach().T for layer in layers]
        self.weight = nn.Parameter(torch.stack(weights))
        self.bias = nn.Parameter(
            torch.stack([layer.bias.detach().unsqueeze(0) for layer in layers])
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return `[K, B, out]`."""
        return torch.baddbmm(self.bias, features, self.weight)


class ActionCritics(nn.Module):
    """K critics of unit actions `[B, A]`: the network sees observation and action as one Dict."""

    def __init__(self, spec: EnvSpec, network: Network, copies: int) -> None:
        super().__init__()
        self.torsos = network.stack(pair_space(spec), copies)
        self.head = EnsembleLinear(copies, self.torsos.features, 1)

    def forward(self, obs: Obs, action: Tensor) -> Tensor:
        """Return the values of actions in observations, `[K, B]`."""
        values: Tensor = self.head(self.torsos(pair(obs, action)))
        return values.float().squeeze(-1)

    def first(self, obs: Obs, action: Tensor) -> Tensor:
        """Return the values by the first critic alone, `[B]`."""
        features = self.torsos.only(0, pair(obs, action))
        value = torch.addmm(self.head.bias[0], features, self.head.weight[0])
        return value.float().squeeze(-1)


class ChoiceCritics(nn.Module):
    """K critics that value each of A actions at once."""

    def __init__(self, spec: EnvSpec, network: Network, copies: int) -> None:
        super().__init__()
        assert isinstance(spec.action_space, spaces.Discrete)
        self.torsos = network.stack(spec.obs_space, copies)
        self.head = EnsembleLinear(copies, self.torsos.features, int(spec.action_space.n))

    def forward(self, obs: Obs, action: Tensor) -> Tensor:
        """Return the values of the actions `[B]` that were taken, `[K, B]`."""
        values = self.every(obs)
        return values.gather(-1, action.expand(len(values), -1).unsqueeze(-1)).squeeze(-1)

    def every(self, obs: Obs) -> Tensor:
        """Return the values of all actions, `[K, B, A]`."""
        values: Tensor = self.head(self.torsos(obs))
        return values.float()


def pair_space(spec: EnvSpec) -> spaces.Dict:
    """Return the space of an observation together with a unit action."""
    action = spaces.Box(-1.0, 1.0, (action_size(spec.action_space),))
    if not isinstance(spec.obs_space, spaces.Dict):
        return spaces.Dict({"obs": spec.obs_space, "action": action})
    return spaces.Dict({**_under_obs(spec.obs_space.spaces), "action": action})


def pair(obs: Obs, action: Tensor) -> dict[str, Tensor]:
    """Return a member of `pair_space`; a Dict observation stays flat, with dots in the names."""
    if isinstance(obs, dict):
        return {**_under_obs(obs), "action": action}
    return {"obs": obs, "action": action}


def _under_obs(parts: Mapping[str, T]) -> dict[str, T]:
    return {f"obs.{key}": part for key, part in parts.items()}
