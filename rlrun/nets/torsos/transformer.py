"""A transformer over the last steps: causal attention in a sliding window.

Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762, with normalisation before each
part (Xiong et al. 2020, arXiv:2002.04745) and rotary positions (Su et al. 2021, arXiv:2104.09864);
what went before is remembered as keys and values, as in Dai et al. 2019, arXiv:1901.02860.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium import Space
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from rlrun.config import ConfigError, Problem, option
from rlrun.nets.layers import orthogonal
from rlrun.nets.memory import MemoryTorso, segments
from rlrun.nets.torsos.auto import Auto, AutoLayers
from rlrun.types import Carry, History, Obs


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Options of `network=transformer`."""

    encoder: AutoLayers = option("what each observation goes through first, as in auto")
    window: int = option("steps that attention reaches, the present one included", at_least=2)
    width: int = option("size of a step's vector", at_least=2)
    heads: int = option("attention heads; each is width / heads wide, an even number", at_least=1)
    layers: int = option("blocks one above the other", at_least=1)
    feed_forward: int = option("width between the two layers after attention", at_least=1)
    init: Literal["orthogonal", "uniform"] = option(
        "orthogonal matrices and zero biases, or PyTorch's uniform default"
    )
    shared: bool = option("one network for policy and value, instead of one each")


class Transformer(MemoryTorso):
    """Blocks of attention; each layer of which sees `window` steps, so together more.

    The carry is keys and values `[N, layers, 2, window - 1, width]` and how many steps of them are
    of this episode, `[N]`.
    """

    Config = TransformerConfig

    def __init__(self, config: TransformerConfig, space: Space[Any]) -> None:
        super().__init__(config, space)
        if config.width % (2 * config.heads):
            reason = f"{config.heads} heads do not divide width = {config.width} into even parts"
            raise ConfigError(Problem("network.heads", reason))
        self.past, self.width, self.features = config.window - 1, config.width, config.width
        self.encoder = Auto(config.encoder, space)
        self.embed = nn.Linear(self.encoder.features, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        if config.init == "orthogonal":
            for layer in [self.embed, *self.blocks.modules()]:
                if isinstance(layer, nn.Linear):
                    orthogonal(layer, 1.0)

    def initial_carry(self, num_envs: int) -> Carry:
        """Return an empty memory."""
        zeros = self.embed.weight.new_zeros
        return zeros(num_envs, len(self.blocks), 2, self.past, self.width), zeros(num_envs)

    def step(self, obs: Obs, carry: Carry) -> tuple[Tensor, Carry]:
        """Return features `[N, width]`, and the memory with this step in the oldest one's place."""
        x, age = self.embed(self.encoder(obs)).unsqueeze(1), carry[1]
        place = torch.arange(self.past + 1, device=x.device)
        mask = (place >= self.past - age.unsqueeze(1)).view(-1, 1, 1, self.past + 1)
        x, memory = self._through(x, carry[0], mask)
        age = (age + 1.0).clamp(max=float(self.past))
        return self.norm(x).squeeze(1), (memory[:, :, :, 1:], age)

    def unroll(self, history: History) -> tuple[Tensor, Carry]:
        """Return features `[T, N, width]`, every step attending to its own episode only."""
        x = self.embed(self.encoder(history.obs)).transpose(0, 1)
        past, age = history.carry
        x, memory = self._through(x, past, self._mask(history.start, age).unsqueeze(1))
        found = segments(history.start)
        first = found.first == 0
        fresh = ~first | history.start[found.first, found.env]
        before = age[found.env].masked_fill(fresh, 0.0)
        # the steps up to the end of a segment, which is at `past + last` behind the carry's own
        place = found.last.unsqueeze(1) + 1 + torch.arange(self.past, device=x.device)
        kept = memory.permute(0, 3, 1, 2, 4)[found.env.unsqueeze(1), place].permute(0, 2, 3, 1, 4)
        ages = (found.length + before).clamp(max=float(self.past))
        held = torch.arange(self.past, device=x.device) >= self.past - ages.unsqueeze(1)
        return self.norm(x).transpose(0, 1), (kept * held.view(-1, 1, 1, self.past, 1), ages)

    def _through(self, x: Tensor, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return what leaves the blocks, and keys and values `[N, layers, 2, past + T, width]`."""
        memory = []
        for block, own in zip(self.blocks, past.unbind(1), strict=True):
            x, seen = block(x, own, mask)
            memory.append(seen)
        return x, torch.stack(memory, 1)

    def _mask(self, start: Tensor, age: Tensor) -> Tensor:
        """Return which steps of the carry and its own each attends to, `[N, T, past + T]`."""
        steps, past = len(start), self.past
        query = torch.arange(steps, device=start.device).unsqueeze(1) + past
        key = torch.arange(past + steps, device=start.device)
        near = (key <= query) & (key >= query - past)
        episode = start.t().int().cumsum(1)  # [N, T]
        remembered = key[:past] >= past - age.unsqueeze(1)
        # a place in the carry that holds nothing belongs to no episode
        of_carry = torch.zeros_like(remembered, dtype=torch.int32).masked_fill(~remembered, -1)
        return near & (torch.cat([of_carry, episode], 1).unsqueeze(1) == episode.unsqueeze(2))


class Block(nn.Module):
    """Attention and two layers, each on normalised input and added to what came in."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.wide = nn.Linear(width, config.feed_forward)
        self.narrow = nn.Linear(config.feed_forward, width)

    def forward(self, x: Tensor, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return `[N, T, width]` and the keys and values `[N, 2, past + T, width]` attended to.

        `past` `[N, 2, past, width]` goes before them; `mask` `[N, 1, T, past + T]` says who attends
        to whom.
        """
        query, key, value = self.query_key_value(self.attention_norm(x)).chunk(3, -1)
        seen = torch.cat([past, torch.stack([key, value], 1)], 2)
        before = past.shape[2]
        attended = scaled_dot_product_attention(
            rotate(self._split(query), before),
            rotate(self._split(seen[:, 0])),
            self._split(seen[:, 1]),
            attn_mask=mask,
        )
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        widened: Tensor = gelu(self.wide(self.norm(x)))
        result: Tensor = x + self.narrow(widened)
        return result, seen

    def _split(self, x: Tensor) -> Tensor:
        """Return `[N, T, width]` as `[N, heads, T, width / heads]`."""
        parts: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return parts


def rotate(x: Tensor, offset: int = 0) -> Tensor:
    """Return vectors `[..., T, D]` turned by their position, the first at `offset`.

    Products of two such vectors depend on how far apart they are, not on where. D is even. Source:
    Su et al. 2021, eq. 34.
    """
    half = x.shape[-1] // 2
    place = torch.arange(offset, offset + x.shape[-2], device=x.device, dtype=x.dtype)
    speed = 10000.0 ** (-torch.arange(half, device=x.device, dtype=x.dtype) / half)
    angle = torch.outer(place, speed)
    first, second = x[..., :half], x[..., half:]
    sine, cosine = angle.sin(), angle.cos()
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
