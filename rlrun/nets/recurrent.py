"""What the recurrent networks share: an encoder, and a cell that PyTorch runs over sequences."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from gymnasium import Space
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from rlrun.config import option
from rlrun.nets.memory import MemoryTorso, segments
from rlrun.nets.torsos.auto import Auto, AutoLayers
from rlrun.types import Carry, History, Obs


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Options of `network=gru` and `network=lstm`."""

    encoder: AutoLayers = option("what each observation goes through first, as in auto")
    hidden: int = option("width of the memory", at_least=1)
    layers: int = option("cells one above the other", at_least=1)
    layer_norm: bool = option("normalise what the memory gives to the heads")
    init: Literal["orthogonal", "uniform"] = option(
        "orthogonal matrices and zero biases, or PyTorch's uniform default"
    )
    shared: bool = option("one network for policy and value, instead of one each")


class RecurrentTorso(MemoryTorso):
    """An encoder and a cell; the carry is the cell's state, each part `[N, layers * hidden]`."""

    Config = RecurrentConfig
    cell: ClassVar[type[nn.GRU] | type[nn.LSTM]]
    core: nn.RNNBase
    parts: ClassVar[int]
    """Tensors in the cell's state."""

    def __init__(self, config: RecurrentConfig, space: Space[Any]) -> None:
        super().__init__(config, space)
        self.encoder = Auto(config.encoder, space)
        self.core = self.cell(self.encoder.features, config.hidden, config.layers)
        self.hidden, self.layers, self.features = config.hidden, config.layers, config.hidden
        if config.init == "orthogonal":
            for name, parameter in self.core.named_parameters():
                nn.init.zeros_(parameter) if "bias" in name else nn.init.orthogonal_(parameter)
        self.norm = nn.LayerNorm(config.hidden) if config.layer_norm else nn.Identity()

    def initial_carry(self, num_envs: int) -> Carry:
        """Return zeros."""
        weight = next(self.core.parameters())
        size = self.layers * self.hidden
        return tuple(weight.new_zeros(num_envs, size) for _ in range(self.parts))

    def step(self, obs: Obs, carry: Carry) -> tuple[Tensor, Carry]:
        """Return features `[N, hidden]` and the state after them."""
        out, state = self.core(self.encoder(obs).unsqueeze(0), self._state(carry))
        return self.norm(out.squeeze(0)), self._carry(state)

    def unroll(self, history: History) -> tuple[Tensor, Carry]:
        """Return features `[T, N, hidden]`; every segment is a sequence of its own to the cell."""
        found = segments(history.start)
        steps, envs = history.start.shape
        rows = self.encoder(history.obs).transpose(0, 1).flatten(0, 1)
        packed = pack_sequence(rows.split(found.length.tolist()), enforce_sorted=False)
        fresh = history.start[found.first, found.env].unsqueeze(1) | (found.first > 0).unsqueeze(1)
        carry = tuple(part[found.env].masked_fill(fresh, 0.0) for part in history.carry)
        out, state = self.core(packed, self._state(carry))
        features = torch.cat(unpack_sequence(out)).view(envs, steps, self.hidden)
        return self.norm(features.transpose(0, 1)), self._carry(state)

    def _state(self, carry: Carry) -> Any:
        """Return the carry as the cell wants it: `[layers, N, hidden]`, in a tuple if several."""
        parts = [
            part.view(-1, self.layers, self.hidden).transpose(0, 1).contiguous() for part in carry
        ]
        return parts[0] if self.parts == 1 else tuple(parts)

    def _carry(self, state: Any) -> Carry:
        parts = (state,) if self.parts == 1 else state
        return tuple(part.transpose(0, 1).reshape(-1, self.layers * self.hidden) for part in parts)
