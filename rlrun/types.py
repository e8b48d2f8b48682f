"""The words every room shares.

Shapes are written with one legend throughout the project:

    T  steps of a fragment        N  environments            B  rows of a batch
    A  actions or action size     S  states of a table       F  features

`terminated` is an end of the task, `truncated` a cut by a limit; `done` is either. They stay apart
until the function that needs `done`, because only `terminated` forbids bootstrapping.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from gymnasium import Space, spaces
from torch import Tensor

Obs: TypeAlias = Tensor | dict[str, Tensor]
"""One observation batch, `[N, ...]`; a Dict space gives a dict of such tensors."""

Carry: TypeAlias = tuple[Tensor, ...]
"""Recurrent state, each `[N, ...]`; zeros at an episode's start, `()` for a feed-forward policy."""

Metrics: TypeAlias = Mapping[str, Tensor | float]
"""Named scalars. Tensors are read only when they are logged, so that the hot path never waits."""


class History(NamedTuple):
    """What a network with memory is asked about: observations `[T, N, ...]` in their order.

    `start` `[T, N]` is where an episode begins, and with it an empty memory; `carry` is the memory
    before the first step. Only the steps in `chosen` `[T, N]` are asked for, all where it is None.
    """

    obs: Obs
    start: Tensor
    carry: Carry
    chosen: Tensor | None = None


Seen: TypeAlias = Obs | History
"""What policies and values are functions of: observations, or for networks with memory a history.

Of a history with `chosen` the answer is `[B, ...]`, one row a chosen step, else `[T, N, ...]`.
"""


class Decision(NamedTuple):
    """What `act` decides: the action `[N, ...]`, the next carry, and extras to store with it."""

    action: Tensor
    carry: Carry = ()
    extra: Mapping[str, Tensor] = {}


class Step(NamedTuple):
    """One step of N environments; `next_obs` is the true successor, `obs` the one to act on next.

    They differ only where an episode ended: there `obs` is the first of the next episode. Where
    nothing ended, both may be the very same tensor. Rewards are float32, the flags bool, all `[N]`.
    `success` `[N]` says where an ended episode reached its goal, if the environment tells. `score`
    `[N]` is what a whole game gave, before rewards were clipped and lives made ends of episodes,
    and NaN where none ended; None unless some did.
    """

    obs: Obs
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    next_obs: Obs
    success: Tensor | None = None
    score: Tensor | None = None


class Fragment(NamedTuple):
    """T steps of N environments, `[T, N, ...]`; `carry` is the recurrent state at the first step.

    The tensors belong to the collector and are overwritten by the next `collect`: whoever wants
    to keep them copies them.
    """

    obs: Obs
    action: Tensor
    reward: Tensor
    next_obs: Obs
    terminated: Tensor
    truncated: Tensor
    carry: Carry
    extra: Mapping[str, Tensor]

    @property
    def done(self) -> Tensor:
        """Where an episode ended for either reason, `[T, N]` bool."""
        return self.terminated | self.truncated

    @property
    def start(self) -> Tensor:
        """Where an episode begins within the fragment, `[T, N]` bool.

        Not at the first step: `carry` says what went before it.
        """
        return starts(self.done)


@dataclass(frozen=True)
class TabularModel:
    """A known Markov decision process.

    `probability[s, a, s']` is P(s' | s, a); `reward[s, a]` the expected reward;
    `continuation[s, a, s']` is P(s' | s, a) where the episode goes on, 0 where it terminates.
    All float64.
    """

    probability: Tensor
    reward: Tensor
    continuation: Tensor


@dataclass(frozen=True)
class EnvSpec:
    """What an algorithm may know of its environments.

    Of an image, `frame_stack` entries along the first axis are the last frames, the newest at the
    end; 1 where it is no history. `scored` environments tell the `score` of whole games.
    """

    name: str
    num_envs: int
    obs_space: Space[Any]
    action_space: Space[Any]
    model: TabularModel | None = None
    frame_stack: int = 1
    scored: bool = False


class Stateful(Protocol):
    """Anything a checkpoint can hold: nested mappings of tensors, numbers and strings."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> Any:
        """Take a state back."""
        ...


ActFn: TypeAlias = Callable[[Obs, Carry], Decision]
"""A policy as the collector and the evaluator see it."""
Transform: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""From a function of tensors to a faster one that gives the same, such as a compiler."""


class Diverged(RuntimeError):  # noqa: N818 - the field's word for it
    """Training produced a number that is not finite; the message names where."""


def shown(space: Space[Any]) -> str:
    """Return a space in a few words, without the tables of its bounds."""
    if isinstance(space, spaces.Box):
        return f"Box{space.shape} of {space.dtype}"
    return str(space)


def starts(done: Tensor) -> Tensor:
    """Return where an episode begins, a step after one ended, for ends `[T, N]`."""
    return torch.cat([torch.zeros_like(done[:1]), done[:-1]])


def map_obs(function: Callable[..., Any], *obs: Obs) -> Any:
    """Apply `function` to observation tensors leaf by leaf and keep the structure."""
    first = obs[0]
    if isinstance(first, dict):
        return {key: function(*(leaf[key] for leaf in obs)) for key in first}  # type: ignore[index]
    return function(*obs)


def leaves(obs: Obs) -> list[Tensor]:
    """Return the tensors of an observation in a fixed order."""
    return [obs] if not isinstance(obs, dict) else [obs[key] for key in sorted(obs)]
