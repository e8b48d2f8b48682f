"""From Gymnasium's spaces and arrays to the few kinds of tensor the rest of rlrun knows.

Observations: floats become float32, integers keep their type, a Tuple becomes a Dict with the
names "0", "1", ..., nested Dicts and Tuples are flattened with dots. Actions: the other way round.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from rlrun.config import ConfigError, Problem
from rlrun.types import Obs


def adapt_obs_space(space: Space[Any]) -> Space[Any]:
    """Return the space of the tensors that `obs_reader` makes; ConfigError names what cannot be."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return _adapt_leaf(space, f": {space}")
    parts = {}
    for path, leaf in _leaves(space):
        key = ".".join(path)
        fix = f"; leave it out with env.drop=[{path[0]}]" if isinstance(space, spaces.Dict) else ""
        parts[key] = _adapt_leaf(leaf, f", and {key!r} is one{fix}")
    return spaces.Dict(parts)


def obs_reader(space: Space[Any]) -> Callable[[Any], Obs]:
    """Return the function from a batch of observations, as Gymnasium gives it, to tensors."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return _leaf_reader(space)
    readers = [(path, _leaf_reader(leaf)) for path, leaf in _leaves(space)]

    def read(batch: Any) -> Obs:
        return {".".join(path): reader(_walk(batch, path)) for path, reader in readers}

    return read


def action_writer(space: Space[Any]) -> Callable[[Tensor], Any]:
    """Return the function from actions `[N, ...]` to what `VectorEnv.step` takes.

    Box actions are clipped to their bounds, the usual end of a Gaussian policy; discrete ones are
    shifted to the space's start.
    """
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return lambda action: action.cpu().numpy() + start if start else action.cpu().numpy()
    if isinstance(space, spaces.MultiDiscrete):
        offset = np.asarray(space.start)
        return lambda action: action.cpu().numpy() + offset
    if isinstance(space, spaces.MultiBinary):
        bits = space.shape
        return lambda action: action.cpu().numpy().astype(np.int8).reshape(-1, *bits)
    if isinstance(space, spaces.Box):
        shape, low, high, kind = space.shape, space.low, space.high, space.dtype

        def write(action: Tensor) -> Any:
            array = action.cpu().numpy().reshape(-1, *shape)
            return np.clip(array, low, high).astype(kind, copy=False)

        return write
    raise ConfigError(
        Problem("env", f"action space {type(space).__name__} is not supported: {space}")
    )


def _adapt_leaf(space: Space[Any], where: str) -> Space[Any]:
    if isinstance(space, spaces.Box) and space.dtype.kind == "f" and space.dtype != np.float32:
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        return spaces.Box(low, high, dtype=np.float32)
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return spaces.MultiDiscrete(space.nvec)
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return space
    raise ConfigError(
        Problem("env", f"observation space {type(space).__name__} is not supported{where}")
    )


def _leaf_reader(space: Space[Any]) -> Callable[[Any], Tensor]:
    offset = space.start if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) else 0
    if np.any(offset):
        return lambda batch: torch.from_numpy(np.asarray(batch) - offset)
    if isinstance(space, spaces.Box) and space.dtype.kind == "f":
        return lambda batch: torch.from_numpy(np.array(batch, dtype=np.float32))
    return lambda batch: torch.from_numpy(np.array(batch))


def _leaves(space: Space[Any]) -> list[tuple[tuple[str, ...], Space[Any]]]:
    if isinstance(space, spaces.Dict):
        parts = [(str(key), part) for key, part in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        parts = [(str(index), part) for index, part in enumerate(space.spaces)]
    else:
        return [((), space)]
    return [((key, *path), leaf) for key, part in parts for path, leaf in _leaves(part)]


def _walk(batch: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        batch = batch[key] if isinstance(batch, dict) else batch[int(key)]
    return batch
