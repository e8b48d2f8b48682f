"""Shuffled minibatches of a fragment's rows."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rlrun.config import Problem
from rlrun.types import History, Obs, Seen, map_obs


def undivided(values: Mapping[str, Any], num_envs: int) -> list[Problem]:
    """Return the problem of a `batch_size` that does not divide a fragment, if it does not."""
    if not {"n_steps", "batch_size"} <= values.keys():
        return []
    steps, size = values["n_steps"], values["batch_size"]
    rows = steps * num_envs
    if rows % size == 0:
        return []
    reason = f"{size} does not divide num_envs * n_steps = {num_envs} * {steps} = {rows}"
    # not further than this: someone may write a fragment that no machine could count through
    near = range(max(size // 4, 1), min(4 * size, rows, 1_000_000) + 1)
    whole = [each for each in near if rows % each == 0]
    fits = min(whole, key=lambda each: max(each / size, size / each), default=None)
    return [Problem("algo.batch_size", f"{reason}; {fits} does" if fits else reason)]


def flat_rows(**columns: Seen) -> dict[str, Any]:
    """Merge the time and environment axes of each column: `[T, N, ...]` to `[T * N, ...]`.

    With a history among them they stay as they are, for it must keep its order.
    """
    if any(isinstance(column, History) for column in columns.values()):
        return columns
    return {
        name: map_obs(lambda leaf: leaf.flatten(0, 1), column)
        for name, column in columns.items()
        if not isinstance(column, History)  # there is none
    }


def minibatches(rows: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
    """Return batches of `size` rows in a random order, together all rows once.

    All columns are permuted in one go, so that each batch is a slice without a copy. With a history
    among columns `[T, N, ...]`, a batch is the whole histories of `size / T` environments, or of
    one where that is less.
    """
    if any(isinstance(column, History) for column in rows.values()):
        return _histories(rows, size)
    first = next(iter(rows.values()))
    leaf = first if isinstance(first, Tensor) else next(iter(first.values()))
    order = torch.randperm(len(leaf), device=leaf.device)
    columns: dict[str, list[Obs]] = {}
    for name, column in rows.items():
        shuffled = map_obs(lambda leaf: leaf.index_select(0, order), column)
        columns[name] = chunks(shuffled, size)
    return [dict(zip(columns, batch, strict=True)) for batch in zip(*columns.values(), strict=True)]


def _histories(rows: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
    history = next(column for column in rows.values() if isinstance(column, History))
    steps, envs = history.start.shape
    order = torch.randperm(envs, device=history.start.device)
    return [
        {name: _of_envs(column, chosen) for name, column in rows.items()}
        for chosen in order.split(max(size // steps, 1))
    ]


def _of_envs(column: Any, envs: Tensor) -> Any:
    """Return some environments' part of a column `[T, N, ...]`."""
    if isinstance(column, History):
        assert column.chosen is None
        obs: Obs = map_obs(lambda leaf: leaf[:, envs], column.obs)
        return History(obs, column.start[:, envs], tuple(part[envs] for part in column.carry))
    return column[:, envs]


def chunks(column: Obs, size: int) -> list[Any]:
    """Return a column `[B, ...]` in parts of `size` rows, without copying."""
    if isinstance(column, Tensor):
        return list(column.split(size))
    parts = {key: leaf.split(size) for key, leaf in column.items()}
    return [dict(zip(parts, chunk, strict=True)) for chunk in zip(*parts.values(), strict=True)]
