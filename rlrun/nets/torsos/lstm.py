"""Long short-term memory.

Hochreiter & Schmidhuber 1997, "Long short-term memory", with the forget gates of Gers et al. 2000,
in the variant of PyTorch's `nn.LSTM`.
"""

from torch import nn

from rlrun.nets.recurrent import RecurrentTorso


class LSTM(RecurrentTorso):
    """Remembers in two vectors: what it shows, and what it keeps."""

    cell = nn.LSTM
    parts = 2
