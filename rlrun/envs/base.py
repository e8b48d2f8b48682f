"""What the collector and the evaluator ask of a vectorised environment."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from torch import Tensor

from rlrun.types import ActFn, EnvSpec, Fragment, Obs, Step, Transform

Unrolled: TypeAlias = Callable[[Obs], tuple[Fragment, Obs]]
"""From the observation to act on to the steps that follow, and the observation after them."""
SCORE_KEY = "rlrun.score"
"""Where an environment's `info` tells, at an episode's end, what a whole game gave."""


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


@runtime_checkable
class Unrollable(Protocol):
    """A `VecEnv` that may be able to take several steps of policy and environment at once."""

    @property
    def unrolls(self) -> bool:
        """Whether it is able to."""
        ...

    def unroll(self, act: ActFn, steps: int, transform: Transform) -> Unrolled:
        """Return the function that does, computed through `transform`."""
        ...


def spread_seed(seed: int, num_envs: int) -> list[int]:
    """Return one seed an environment, unrelated between runs whose seeds are neighbours."""
    words = np.random.SeedSequence(seed).generate_state(num_envs, dtype=np.uint32)
    return [int(word) >> 1 for word in words]  # some environments want a signed 32-bit number
