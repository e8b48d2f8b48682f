"""The gated recurrent unit.

Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", arXiv:1406.1078, eq. 5-8, in the variant of PyTorch's `nn.GRU`.
"""

from torch import nn

from rlrun.nets.recurrent import RecurrentTorso


class GRU(RecurrentTorso):
    """Remembers in one vector."""

    cell = nn.GRU
    parts = 1
