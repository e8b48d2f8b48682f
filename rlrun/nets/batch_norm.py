"""Batch normalisation for critics, renormalised by choice, and the critics that are made of it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from rlrun.nets.critics import EnsembleLinear, pair, pair_space
from rlrun.nets.torso import Encoder
from rlrun.types import EnvSpec, Obs, map_obs

MOMENTUM, EPSILON = 0.01, 1e-3
MOST_SCALE, MOST_SHIFT = 3.0, 5.0  # Ioffe 2017, section 4: r_max and d_max


class BatchNorm(nn.Module):
    """Normalises rows `[..., R, F]` over R, by their own moments or by the running ones.

    Scale and shift are left out: a linear layer follows, and can learn both. After
    `renorm_warmup` batches, if that is not None, a batch's own normalisation is corrected to the
    running one, up to a limit; the correction is a constant to the gradient.
    Source: Ioffe & Szegedy 2015, "Batch normalization"; Ioffe 2017, "Batch renormalization".
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, shape: tuple[int, ...], renorm_warmup: int | None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.renorm_warmup = renorm_warmup

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows normalised by the running moments."""
        scale = (self.variance + EPSILON).rsqrt()
        return (rows - self.mean) * scale

    def absorb(self, rows: Tensor) -> Tensor:
        """Return the rows normalised by their own moments, and move the running ones to these."""
        variance, mean = torch.var_mean(rows, dim=-2, correction=0, keepdim=True)
        normed = (rows - mean) * (variance + EPSILON).rsqrt()
        if self.renorm_warmup is not None:
            scale, shift = self._correction(mean.detach(), variance.detach(), self.renorm_warmup)
            normed = torch.addcmul(shift, normed, scale)
        with torch.no_grad():
            self.mean.lerp_(mean, MOMENTUM)
            self.variance.lerp_(variance, MOMENTUM)
        self.batches += 1
        return normed

    def _correction(self, mean: Tensor, variance: Tensor, warmup: int) -> tuple[Tensor, Tensor]:
        inverse = (self.variance + EPSILON).rsqrt()
        scale = ((variance + EPSILON).sqrt() * inverse).clamp(1.0 / MOST_SCALE, MOST_SCALE)
        shift = ((mean - self.mean) * inverse).clamp(-MOST_SHIFT, MOST_SHIFT)
        due = self.batches >= warmup
        return torch.where(due, scale, 1.0), torch.where(due, shift, 0.0)


class NormalisedCritics(nn.Module):
    """K critics of unit actions: linear layers with ReLU, each input of one batch-normalised."""

    def __init__(
        self, spec: EnvSpec, sizes: Sequence[int], copies: int, renorm_warmup: int | None
    ) -> None:
        super().__init__()
        self.encoder = Encoder(pair_space(spec))
        widths = [self.encoder.size, *sizes]
        shapes = [(1, widths[0]), *((copies, 1, width) for width in sizes)]
        self.copies = copies
        self._norms = [BatchNorm(shape, renorm_warmup) for shape in shapes]
        self.norms = nn.ModuleList(self._norms)
        self.linears = nn.ModuleList([EnsembleLinear(copies, *pair) for pair in pairwise(widths)])
        self.head = EnsembleLinear(copies, widths[-1], 1)

    def forward(self, obs: Obs, action: Tensor) -> Tensor:
        """Return the values of actions, `[K, B]`, by the running moments."""
        return self._values(self.encoder(pair(obs, action)), absorb=False)

    def joint(
        self, now: tuple[Obs, Tensor], following: tuple[Obs, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the values of two batches of observations and actions, normalised as one.

        The moments are those of both together, since a mixture is what the critics see.
        Source: Bhatt et al. 2024, "CrossQ", section 3.2.
        """
        obs: Obs = map_obs(lambda *leaves: torch.cat(leaves), now[0], following[0])
        action = torch.cat([now[1], following[1]])
        values = self._values(self.encoder(pair(obs, action)), absorb=True)
        first, second = values.chunk(2, -1)
        return first, second

    def _values(self, rows: Tensor, absorb: bool) -> Tensor:
        norms = [norm.absorb if absorb else norm.forward for norm in self._norms]
        features = norms[0](rows)
        features = features.expand(self.copies, *features.shape)
        for linear, norm in zip(self.linears, norms[1:], strict=True):
            features = norm(linear(features).float().relu())
        values: Tensor = self.head(features)
        return values.float().squeeze(-1)
