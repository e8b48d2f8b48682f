"""The newest fragments, for algorithms that learn from each of them more than once."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.data.capacity import bytes_of
from rlrun.data.store import numbered, unnumbered
from rlrun.types import EnvSpec, Fragment, map_obs

SEEN = ("obs", "next_obs")
COLUMNS = ("action", "reward", "terminated", "truncated")


class Recent:
    """Joins each fragment to the `count - 1` before it, along the axis of the environments.

    Its `extra` columns go with it, such as the log-probability that an action had when it was
    taken, which the policy can no longer tell. What networks with memory carry is left out.
    """

    def __init__(self, count: int, spec: EnvSpec, device: torch.device) -> None:
        self._count, self._spec, self._device = count, spec, device
        space = spec.obs_space
        self._keys = list(space.spaces) if isinstance(space, spaces.Dict) else []
        self._kept: list[Fragment] = []

    def join(self, fragment: Fragment) -> Fragment:
        """Return a fragment and those before it as one, `[T, N * k, ...]`, the newest first."""
        every = [fragment, *self._kept]
        if self._count > 1:
            self._kept = [_mapped(torch.clone, fragment), *self._kept][: self._count - 1]
        return _mapped(_beside, *every) if len(every) > 1 else fragment

    def full_bytes(self, steps: int) -> int:
        """Return the bytes of all that is kept, of fragments of `steps` with one extra column."""
        spec = self._spec
        each = 2 * bytes_of(spec.obs_space) + bytes_of(spec.action_space) + 4 + 2 + 4
        return (self._count - 1) * steps * spec.num_envs * each

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, by age."""
        return {
            str(age): {
                **{name: getattr(fragment, name) for name in COLUMNS},
                **{name: numbered(getattr(fragment, name)) for name in SEEN},
                "extra": dict(fragment.extra),
            }
            for age, fragment in enumerate(self._kept)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back; of more fragments than are kept here, the newest."""
        ages = range(min(len(state), self._count - 1))
        self._kept = [self._loaded(state[str(age)]) for age in ages]

    def _loaded(self, columns: Mapping[str, Any]) -> Fragment:
        values: dict[str, Any] = {name: columns[name] for name in (*COLUMNS, "extra")}
        values |= {name: unnumbered(columns[name], self._keys) for name in SEEN}
        fragment = Fragment(**values, carry=())
        return _mapped(lambda leaf: leaf.to(self._device), fragment)


def _mapped(function: Callable[..., Tensor], *every: Fragment) -> Fragment:
    """Apply `function` to the tensors of fragments, column by column; what is carried goes."""
    columns = {
        name: map_obs(function, *(getattr(each, name) for each in every))
        for name in (*SEEN, *COLUMNS)
    }
    extra = {name: function(*(each.extra[name] for each in every)) for name in every[0].extra}
    return Fragment(**columns, carry=(), extra=extra)


def _beside(*leaf: Tensor) -> Tensor:
    return torch.cat(leaf, 1)
