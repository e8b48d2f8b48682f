"""Running statistics that travel with the weights: observations to unit scale, rewards likewise.

Both change only between fragments, when an algorithm's `update` calls `absorb`, so that acting,
learning and evaluation see one and the same function in between.
"""

from typing import Any

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from rlrun.config import ConfigError, Problem
from rlrun.types import Obs, map_obs


class RunningMoments(nn.Module):
    """Mean and variance over all rows seen, by Chan et al. 1979 (parallel update), in float64."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def absorb(self, rows: Tensor) -> None:
        """Take in rows `[B, *shape]`."""
        rows = rows.double()
        count = self.count + len(rows)
        mean, variance = rows.mean(0), rows.var(0, correction=0)
        shift, weight = mean - self.mean, len(rows) / count
        spread = self.variance * (1 - weight) + variance * weight
        self.variance.copy_(spread + shift.square() * weight * (1 - weight))
        self.mean.add_(shift * weight)
        self.count.copy_(count)


class ObsNormalizer(nn.Module):
    """Observations `[..., D]` to mean 0 and variance 1, clipped; identity until the first rows.

    Float Box spaces, and Dicts of them, only: ConfigError names any other.
    """

    def __init__(self, space: Space[Any], clip: float = 10.0) -> None:
        super().__init__()
        self.clip = clip
        parts = space.spaces if isinstance(space, spaces.Dict) else {"obs": space}
        for part in parts.values():
            if not isinstance(part, spaces.Box) or part.dtype.kind != "f":
                raise ConfigError(
                    Problem("algo.policy.normalize_observation", f"needs float Boxes, got {part}")
                )
        # by number, as a module's name may hold no dot
        self._number = {key: number for number, key in enumerate(parts)}
        self.moments = nn.ModuleList(RunningMoments(part.shape or ()) for part in parts.values())

    def forward(self, obs: Obs) -> Obs:
        """Return the normalised observation, float32."""
        if isinstance(obs, dict):
            return {key: self._normalize(key, leaf) for key, leaf in obs.items()}
        return self._normalize("obs", obs)

    def absorb(self, obs: Obs) -> None:
        """Take in a fragment's observations `[T, N, ...]`."""
        rows: Obs = map_obs(lambda leaf: leaf.flatten(0, 1), obs)
        for key, leaf in rows.items() if isinstance(rows, dict) else [("obs", rows)]:
            self._part(key).absorb(leaf)

    def _part(self, key: str) -> RunningMoments:
        moments = self.moments[self._number[key]]
        assert isinstance(moments, RunningMoments)
        return moments

    def _normalize(self, key: str, leaf: Tensor) -> Tensor:
        moments = self._part(key)
        scale = (moments.variance + 1e-8).rsqrt().float()
        return ((leaf.float() - moments.mean.float()) * scale).clamp(-self.clip, self.clip)


class RewardScaler(nn.Module):
    """Divides rewards by the standard deviation of the discounted return, never shifting them.

    Source: Engstrom et al. 2020, "Implementation matters in deep policy gradients", algorithm 1.
    """

    running: Tensor

    def __init__(self, num_envs: int, gamma: float, clip: float = 10.0) -> None:
        super().__init__()
        self.gamma, self.clip = gamma, clip
        self.register_buffer("running", torch.zeros(num_envs, dtype=torch.float64))
        self.moments = RunningMoments(())

    @torch.no_grad()
    def forward(self, reward: Tensor, done: Tensor) -> Tensor:
        """Take in the rewards of a fragment `[T, N]` and return them scaled, float32."""
        returns = []
        for now, ended in zip(reward.double().unbind(0), done.unbind(0), strict=True):
            self.running.mul_(self.gamma).add_(now)
            returns.append(self.running.clone())
            self.running.masked_fill_(ended, 0.0)
        self.moments.absorb(torch.cat(returns))
        scale = (self.moments.variance + 1e-8).rsqrt().float()
        return (reward * scale).clamp(-self.clip, self.clip)
