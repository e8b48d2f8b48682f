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
        one, other, low, high = self._wide()
        unit = ((action.double() - low) / (high - low)).clamp(1e-6, 1 - 1e-6)
        each = (one - 1.0) * unit.log() + (other - 1.0) * (-unit).log1p()
        return self._summed(each - _log_beta(one, other) - (high - low).log())

    def entropy(self) -> Tensor:
        """Return the entropy in nats, `[...]`."""
        one, other, low, high = self._wide()
        each = (1.0 - one) * one.digamma() + (1.0 - other) * other.digamma()
        each = each + (one + other - 2.0) * (one + other).digamma()
        return self._summed(each + _log_beta(one, other) + (high - low).log())

    def evaluate(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probability and entropy."""
        return self.log_prob(action), self.entropy()

    def kl(self, other: "Beta") -> Tensor:
        """Return KL(self || other), `[...]`; both have the same bounds."""
        (one, two, *_), (first, second, *_) = self._wide(), other._wide()
        gap, far = one - first, two - second
        each = gap * one.digamma() + far * two.digamma() - (gap + far) * (one + two).digamma()
        return self._summed(each + _log_beta(first, second) - _log_beta(one, two))

    def _wide(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the parameters in float64.

        What is computed of them are differences of numbers that grow with the concentrations:
        float32 keeps no digit of one at 1e5.
        """
        return self.one.double(), self.other.double(), self.low.double(), self.high.double()

    def _summed(self, each: Tensor) -> Tensor:
        return each.sum(-1).to(self.one.dtype)

    def _stretch(self, unit: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * unit


def _log_beta(one: Tensor, other: Tensor) -> Tensor:
    return one.lgamma() + other.lgamma() - (one + other).lgamma()
