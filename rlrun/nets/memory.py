"""Networks with memory: a step at a time while acting, whole histories while learning.

Both must say the same of the same episode. The memory, called the carry, is zeros where an episode
begins.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from gymnasium import Space
from torch import Tensor, nn

from rlrun.nets.torso import Torso, TorsoStack
from rlrun.types import Carry, History, Obs, Seen


class Segments(NamedTuple):
    """The S longest stretches of steps `[T, N]` without an episode's start, environment by
    environment: whose they are, their first and their last step, each `[S]`."""

    env: Tensor
    first: Tensor
    last: Tensor

    @property
    def length(self) -> Tensor:
        """The number of steps of each, `[S]`."""
        return self.last - self.first + 1


def segments(start: Tensor) -> Segments:
    """Return the stretches between the starts of episodes `[T, N]`; together they are all steps."""
    opens = start.t().clone()
    opens[:, 0] = True
    env, first = opens.nonzero(as_tuple=True)
    _, last = torch.cat([opens[:, 1:], torch.ones_like(opens[:, :1])], 1).nonzero(as_tuple=True)
    return Segments(env, first, last)


def remembers(module: nn.Module) -> bool:
    """Say whether a network with memory is among the parts of a module."""
    return any(isinstance(part, MemoryTorso) for part in module.modules())


class MemoryTorso(Torso):
    """Maps an observation and a carry to features and the next carry."""

    recurrent = True

    @abstractmethod
    def initial_carry(self, num_envs: int) -> Carry:
        """Return the carry at the start of an episode: zeros, each `[N, ...]`."""

    @abstractmethod
    def step(self, obs: Obs, carry: Carry) -> tuple[Tensor, Carry]:
        """Return features `[N, F]` of observations `[N, ...]`, and the carry after them."""

    @abstractmethod
    def unroll(self, history: History) -> tuple[Tensor, Carry]:
        """Return features `[T, N, F]`, and the carry after the end of each of its `segments`."""

    def forward(self, obs: Seen) -> Tensor:
        """Return the features of a history, `[T, N, F]`, or `[B, F]` of chosen steps."""
        assert isinstance(obs, History)
        features, _ = self.unroll(obs)
        return features if obs.chosen is None else features[obs.chosen]

    @classmethod
    def stack(cls, config: Any, space: Space[Any], copies: int) -> "MemoryStack":
        """Return several with weights and carries of their own."""
        return MemoryStack([cls(config, space) for _ in range(copies)])


class MemoryStack(TorsoStack):
    """K torsos with memory, asked in turn; the carry holds what each of them remembers."""

    recurrent = True

    def __init__(self, torsos: Sequence[MemoryTorso]) -> None:
        super().__init__(torsos)
        self._parts = len(torsos[0].initial_carry(1))

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the carries of all K at the start of an episode, one after the other."""
        carries = [self._torso(index).initial_carry(num_envs) for index in range(len(self.torsos))]
        return tuple(part for carry in carries for part in carry)

    def step(self, obs: Obs, carry: Carry) -> tuple[Tensor, Carry]:
        """Return the features of the first, `[N, F]`, and the next carry of all."""
        steps = [
            self._torso(index).step(obs, self._own(index, carry))
            for index in range(len(self.torsos))
        ]
        return steps[0][0], tuple(part for _, after in steps for part in after)

    def forward(self, obs: Seen) -> Tensor:
        """Return the features of all K, `[K, T, N, F]`, or `[K, B, F]` of chosen steps."""
        return torch.stack([self.only(index, obs) for index in range(len(self.torsos))])

    def only(self, index: int, obs: Seen) -> Tensor:
        """Return the features of one, `[T, N, F]`, or `[B, F]` of chosen steps."""
        assert isinstance(obs, History)
        features: Tensor = self._torso(index)(self._of(index, obs))
        return features

    def unroll(self, index: int, history: History) -> tuple[Tensor, Carry]:
        """Return what one says of a history: features, and its carry after each segment."""
        return self._torso(index).unroll(self._of(index, history))

    def _of(self, index: int, history: History) -> History:
        return history._replace(carry=self._own(index, history.carry))

    def follow(self, index: int, obs: Obs, carry: Carry) -> Tensor:
        """Return the features `[S, F]` that one finds in observations after carries of its own."""
        return self._torso(index).step(obs, carry)[0]

    def _torso(self, index: int) -> MemoryTorso:
        torso = self.torsos[index]
        assert isinstance(torso, MemoryTorso)
        return torso

    def _own(self, index: int, carry: Carry) -> Carry:
        return carry[index * self._parts : (index + 1) * self._parts]
