"""Heads from features `[B, F]` to action values `[B, A]`, or K numbers for each, `[B, A, K]`."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

SIGMA = 0.5
"""First scale of the noise, times 1 / sqrt(F)."""


class NoisyLinear(nn.Module):
    """A linear layer whose weights carry learned noise: the network explores by itself.

    The noise is factorised and drawn anew at each call: one number for each input and output.
    Source: Fortunato et al. 2018, "Noisy networks for exploration", arXiv:1706.10295, section 3.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_scale = nn.Parameter(torch.full((outputs, inputs), SIGMA * bound))
        self.bias_scale = nn.Parameter(torch.full((outputs,), SIGMA * bound))

    def forward(self, features: Tensor, noisy: bool) -> Tensor:
        """Return `[B, outputs]`, with fresh noise or without any."""
        mean = F.linear(features, self.weight, self.bias)
        if not noisy:
            return mean
        outputs, inputs = self.weight.shape
        noise = torch.randn(inputs + outputs, device=features.device)
        noise = noise.sign() * noise.abs().sqrt_()
        spread = F.linear(features * noise[:inputs], self.weight_scale, self.bias_scale)
        return torch.addcmul(mean, spread, noise[inputs:])


class QHead(nn.Module):
    """One linear layer: the values of the actions or, if `dueling`, a value and advantages.

    Source of the latter: Wang et al. 2016, "Dueling network architectures", eq. 9.
    """

    def __init__(self, features: int, actions: int, atoms: int, dueling: bool, noisy: bool) -> None:
        super().__init__()
        self.dueling, self.noisy = dueling, noisy
        self.shape = (actions + dueling, atoms) if atoms else (actions + dueling,)
        outputs = math.prod(self.shape)
        self.linear = NoisyLinear(features, outputs) if noisy else nn.Linear(features, outputs)

    def forward(self, features: Tensor, noisy: bool) -> Tensor:
        """Return `[B, A]`, or `[B, A, K]` with K atoms."""
        found = self.linear(features, noisy) if self.noisy else self.linear(features)
        q: Tensor = found.float().view(len(features), *self.shape)
        if not self.dueling:
            return q
        advantage = q[:, 1:]
        return q[:, :1] + advantage - advantage.mean(1, keepdim=True)
