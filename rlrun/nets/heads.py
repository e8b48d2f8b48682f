"""Action heads: from features `[..., F]` to a distribution over the actions of a space.

A head may carry state from step to step (the exploration noise of gSDE); like the carry of a
recurrent torso it is handed in and out, and zeros mean "an episode starts here".
"""

import math
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor, nn
from torch.nn.functional import softplus

from rlrun.config import ConfigError, Problem
from rlrun.functional.bounded import Beta, SquashedGaussian
from rlrun.functional.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gaussian,
    MultiCategorical,
)
from rlrun.nets.layers import orthogonal
from rlrun.types import Carry

POLICY_GAIN = 0.01  # near-uniform first actions (Andrychowicz et al. 2021, section 3.2)
LOG_STD_RANGE = (-20.0, 2.0)  # Haarnoja et al.'s code: wide enough to be met by mistakes only


class ActionHead(nn.Module):
    """A linear map to the parameters of a distribution; one subclass a kind of action space."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.linear = orthogonal(nn.Linear(features, outputs), POLICY_GAIN)

    def outputs(self, features: Tensor) -> Tensor:
        """Return the map of features `[..., F]`, float32 also where products are of less."""
        found: Tensor = self.linear(features)
        return found.float()

    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution for features `[..., F]`."""
        raise NotImplementedError

    def decide(self, features: Tensor, carry: Carry, explore: bool) -> tuple[Tensor, Carry]:
        """Return an action and the next carry; without `explore` the most likely action."""
        distribution = self(features)
        return (distribution.sample() if explore else distribution.mode()), carry

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the carry of an episode's first step for N environments."""
        return ()


class CategoricalHead(ActionHead):
    """For Discrete."""

    def forward(self, features: Tensor) -> Categorical:
        """Return the distribution for features `[..., F]`."""
        return Categorical(self.outputs(features))


class MultiCategoricalHead(ActionHead):
    """For MultiDiscrete."""

    def __init__(self, features: int, sizes: tuple[int, ...]) -> None:
        super().__init__(features, sum(sizes))
        self.sizes = sizes

    def forward(self, features: Tensor) -> MultiCategorical:
        """Return the distribution for features `[..., F]`."""
        return MultiCategorical(self.outputs(features), self.sizes)


class BernoulliHead(ActionHead):
    """For MultiBinary."""

    def forward(self, features: Tensor) -> Bernoulli:
        """Return the distribution for features `[..., F]`."""
        return Bernoulli(self.outputs(features))


class GaussianHead(ActionHead):
    """For Box: a mean that depends on the state, a standard deviation that does not."""

    def __init__(self, features: int, size: int, log_std_init: float) -> None:
        super().__init__(features, size)
        self.log_std = nn.Parameter(torch.full((size,), log_std_init))

    def forward(self, features: Tensor) -> Gaussian:
        """Return the distribution for features `[..., F]`."""
        return Gaussian(self.outputs(features), self.log_std)


class SpreadHead(ActionHead):
    """For Box: a mean and a standard deviation that both depend on the state."""

    def __init__(self, features: int, size: int, log_std_init: float = 0.0) -> None:
        super().__init__(features, 2 * size)
        with torch.no_grad():
            self.linear.bias[size:] = log_std_init

    def forward(self, features: Tensor) -> Gaussian:
        """Return the distribution for features `[..., F]`."""
        mean, log_std = self.outputs(features).chunk(2, -1)
        return Gaussian(mean, log_std.clamp(*LOG_STD_RANGE))


class SquashedGaussianHead(GaussianHead):
    """For bounded Box: a Gaussian through tanh, so that every action is inside the bounds."""

    low: Tensor
    high: Tensor

    def __init__(self, features: int, space: spaces.Box, log_std_init: float) -> None:
        super().__init__(features, math.prod(space.shape), log_std_init)
        _hold_bounds(self, space)

    def forward(self, features: Tensor) -> SquashedGaussian:  # type: ignore[override]
        """Return the distribution for features `[..., F]`."""
        return SquashedGaussian(super().forward(features), self.low, self.high)


class BetaHead(ActionHead):
    """For bounded Box: Beta distributions, which have no mass outside the bounds to cut off."""

    low: Tensor
    high: Tensor

    def __init__(self, features: int, space: spaces.Box) -> None:
        super().__init__(features, 2 * math.prod(space.shape))
        _hold_bounds(self, space)

    def forward(self, features: Tensor) -> Beta:
        """Return the distribution for features `[..., F]`."""
        # a little above 1: at 1 and 1 every action is as likely, and none the most
        one, other = (softplus(self.outputs(features)) + 1.0001).chunk(2, -1)
        return Beta(one, other, self.low, self.high)


class StateDependentHead(ActionHead):
    """For Box: generalised state-dependent exploration (gSDE).

    The noise is a linear function of the features, theta_epsilon ~ N(0, sigma^2), drawn anew every
    `sample_freq` steps, so exploration is smooth in time. Carry: noise `[N, F * A]` and age `[N]`.
    Source: Raffin et al. 2021, "Smooth exploration for robotic reinforcement learning", eq. 7-9.
    """

    def __init__(self, features: int, size: int, log_std_init: float, sample_freq: int) -> None:
        super().__init__(features, size)
        self.log_std = nn.Parameter(torch.full((features, size), log_std_init))
        self.sample_freq = sample_freq

    def forward(self, features: Tensor) -> Gaussian:
        """Return the marginal distribution: variance = features^2 @ sigma^2."""
        latent = features.detach()  # the noise shapes exploration, not the features
        with torch.autocast(latent.device.type, enabled=False):  # a log-probability's part
            variance = latent.float().square() @ (2.0 * self.log_std).exp() + 1e-6
        return Gaussian(self.outputs(features), 0.5 * variance.log())

    def decide(self, features: Tensor, carry: Carry, explore: bool) -> tuple[Tensor, Carry]:
        """Return mean + features @ noise, with fresh noise where its age is a multiple."""
        mean = self.linear(features)
        if not explore:
            return mean, carry
        noise, age = carry
        shape = (len(features), *self.log_std.shape)
        fresh = torch.randn(shape, device=features.device) * self.log_std.exp()
        due = (age % self.sample_freq == 0).unsqueeze(-1)
        noise = torch.where(due, fresh.flatten(1), noise)
        action = mean + torch.bmm(features.unsqueeze(1), noise.view(shape)).squeeze(1)
        return action, (noise, age + 1)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return zero noise of age 0: the first step draws it."""
        zeros = self.log_std.new_zeros
        return zeros(num_envs, self.log_std.numel()), zeros(num_envs)


def action_head(
    space: Space[Any], features: int, distribution: str, log_std_init: float, sde_sample_freq: int
) -> ActionHead:
    """Build the head for an action space; ConfigError names a space or choice it cannot serve."""
    if isinstance(space, spaces.Discrete):
        return CategoricalHead(features, int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        if space.nvec.ndim != 1:
            raise ConfigError(Problem("env", f"MultiDiscrete of more than one axis: {space}"))
        return MultiCategoricalHead(features, tuple(int(n) for n in space.nvec))
    if isinstance(space, spaces.MultiBinary):
        return BernoulliHead(features, math.prod(space.shape or ()))
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        raise ConfigError(Problem("env", f"action space {space} is not supported"))
    if distribution == "gsde":
        return StateDependentHead(features, math.prod(space.shape), log_std_init, sde_sample_freq)
    if distribution == "conditioned_gaussian":
        low, high = LOG_STD_RANGE
        if not low < log_std_init < high:
            reason = f"{log_std_init} is not between {low} and {high}, and would never change"
            raise ConfigError(Problem("algo.policy.log_std_init", reason))
        return SpreadHead(features, math.prod(space.shape), log_std_init)
    if distribution in ("squashed_gaussian", "beta"):
        _require_bounds(space)
        if distribution == "beta":
            return BetaHead(features, space)
        return SquashedGaussianHead(features, space, log_std_init)
    return GaussianHead(features, math.prod(space.shape), log_std_init)


def _require_bounds(space: spaces.Box) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        width = space.high.astype(np.float32) - space.low.astype(np.float32)
    if not (np.isfinite(width) & (width > 0)).all():
        reason = f"needs a bounded Box with room between its bounds, the action space is {space}"
        raise ConfigError(Problem("algo.policy.action_distribution", f"{reason}; use gaussian"))


def _hold_bounds(head: nn.Module, space: spaces.Box) -> None:
    """Give a head the bounds of its actions, flat, as the buffers `low` and `high`."""
    head.register_buffer("low", torch.as_tensor(space.low, dtype=torch.float32).flatten())
    head.register_buffer("high", torch.as_tensor(space.high, dtype=torch.float32).flatten())
