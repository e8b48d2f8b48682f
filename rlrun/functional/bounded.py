"""Distributions of actions that lie inside bounds, as `distributions.py` has those without."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.functional.distributions import Gaussian


class SquashedGaussian(NamedTuple):
    """A normal through tanh, stretched to `[low, high]` (tensors `[A]`).

    Source of the change of variables: Haarnoja et al. 2018, "Soft actor-critic", appendix C.
    """

    base: Gaussian
    low: Tensor
    high: Tensor

    def sample(self) -> Tensor:
        """Draw an action inside the bounds, `[..., A]`."""
        return self._stretch(self.base.sample())

    def mode(self) -> Tensor:
        """Return the squashed mean (the field's convention; not the density's maximum)."""
        return self._stretch(self.base.mean)

    def sample_with_log_prob(self) -> tuple[Tensor, Tensor]:
        """Draw an action and return it with its log-density, without inverting tanh."""
        raw = self.base.sample()
        return self._stretch(raw), self._log_prob_of_raw(raw)

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-density of actions inside the bounds, `[...]`."""
        unit = (2.0 * (action - self.low) / (self.high - self.low) - 1.0).clamp(-1 + 1e-6, 1 - 1e-6)
        return self._log_prob_of_raw(unit.atanh())

    def entropy(self) -> Tensor:
        """Estimate the entropy from one sample: it has no closed form."""
        return -self.sample_with_log_prob()[1]

    def evaluate(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probability and an estimate of the entropy."""
        return self.log_prob(action), self.entropy()

    def kl(self, other: "SquashedGaussian") -> Tensor:
        """Return KL(self || other): squashing both alike leaves the divergence unchanged."""
        return self.base.kl(other.base)

    def _stretch(self, raw: Tensor) -> Tensor:
        return self.low + 0.5 * (self.high - self.low) * (raw.tanh() + 1.0)

    def _log_prob_of_raw(self, raw: Tensor) -> Tensor:
        # log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)), which does not underflow
        slope = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
        stretch = (0.5 * (self.high - self.low)).log()
        return self.base.log_prob(raw) - (slope + stretch).sum(-1)


class Beta(NamedTuple):
    """Beta distributions, stretched to `[low, high]` (tensors `[A]`): `one` and `other` `[..., A]`.

    Both above 1, so that each has one peak, inside the bounds. Source: Chou et al. 2017, "Improving
    stochastic policy gradients in continuous control with deep reinforcement learning using the
    Beta distribution".
    """

    one: Tensor
    other: Tensor
    low: Tensor
    high: Tensor

    def sample(self) -> Tensor:
        """Draw an action inside the bounds, `[..., A]`."""
        with torch.no_grad():
            one, other = torch._standard_gamma(self.one), torch._standard_gamma(self.other)
            return self._stretch(one / (one + other))

    def mode(self) -> Tensor:
        """Return the most likely action."""
        return self._stretch((self.one - 1.0) / (self.one + self.other - 2.0))

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-density of actions inside the bounds, `[...]`."""
        unit = ((action - self.low) / (self.high - self.low)).clamp(1e-6, 1 - 1e-6)
        each = (self.one - 1.0) * unit.log() + (self.other - 1.0) * (-unit).log1p()
        return (each - self._log_beta() - (self.high - self.low).log()).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, `[...]`."""
        one, other, both = self._digammas()
        each = (1.0 - self.one) * one + (1.0 - self.other) * other
        each = each + (self.one + self.other - 2.0) * both
        return (each + self._log_beta() + (self.high - self.low).log()).sum(-1)

    def evaluate(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probability and entropy."""
        return self.log_prob(action), self.entropy()

    def kl(self, other: "Beta") -> Tensor:
        """Return KL(self || other), `[...]`; both have the same bounds."""
        one, two, both = self._digammas()
        gap, far = self.one - other.one, self.other - other.other
        each = gap * one + far * two - (gap + far) * both
        return (each + other._log_beta() - self._log_beta()).sum(-1)

    def _log_beta(self) -> Tensor:
        # differences of numbers that grow with the concentrations: float32 keeps no digit at 1e5
        one, other = self.one.double(), self.other.double()
        value = one.lgamma() + other.lgamma() - (one + other).lgamma()
        return value.to(self.one.dtype)

    def _digammas(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.one.digamma(), self.other.digamma(), (self.one + self.other).digamma()

    def _stretch(self, unit: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * unit
