"""What the collector and the evaluator ask of a vectorised environment."""

from typing import Protocol

import numpy as np
from torch import Tensor

from rlrun.types import EnvSpec, Obs, Step


class VecEnv(Protocol):
    """N environments that reset themselves in the very step that ends an episode.

    Tensors in, tensors out. What `reset` and `step` return is the caller's to keep.
    """

    spec: EnvSpec

    def reset(self, seed: int) -> Obs:
        """Start an episode in every environment; the seed alone decides all randomness after."""
        ...

    def step(self, action: Tensor) -> Step:
        """Take one step in every environment."""
        ...

    def close(self) -> None:
        """Release processes and windows."""
        ...


def spread_seed(seed: int, num_envs: int) -> list[int]:
    """Return one seed an environment, unrelated between runs whose seeds are neighbours."""
    words = np.random.SeedSequence(seed).generate_state(num_envs, dtype=np.uint32)
    return [int(word) >> 1 for word in words]  # some environments want a signed 32-bit number
