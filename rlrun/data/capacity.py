"""What a replay memory takes, and whether that is there."""

from typing import Any

import torch
from gymnasium import Space, spaces

from rlrun.config import ConfigError, Problem
from rlrun.data import priorities
from rlrun.data.frames import count_frames, stacked
from rlrun.data.memory import free_memory
from rlrun.types import EnvSpec


def check_capacity(
    capacity: int, spec: EnvSpec, device: torch.device, batch_size: int, prioritized: bool
) -> None:
    """Raise ConfigError where a replay holds less than a batch, or does not fit into memory."""
    key = "algo.buffer_size"
    if batch_size > capacity:
        reason = f"{batch_size} is more than algo.buffer_size = {capacity} holds"
        raise ConfigError(Problem("algo.batch_size", reason))
    if capacity < spec.num_envs:
        reason = f"{capacity} is less than one step of num_envs = {spec.num_envs} environments"
        raise ConfigError(Problem(key, reason))
    needed, free = bytes_for(capacity, spec, prioritized), free_memory(device)
    if needed > free:
        fits = int(capacity * 0.8 * free / needed)
        reason = (
            f"{capacity} transitions of {spec.name} need {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB of {device.type} memory are free; {fits} would fit"
        )
        raise ConfigError(Problem(key, reason))


def bytes_for(capacity: int, spec: EnvSpec, prioritized: bool) -> int:
    """Return the bytes a replay allocates; successors of ended episodes come on top."""
    steps = capacity // spec.num_envs
    entries = (steps + 1) * spec.num_envs
    each, pictures = bytes_of(spec.obs_space), 0
    if stacked(spec):
        pictures = count_frames(steps, spec) * each // spec.frame_stack
        each = 8 * (spec.frame_stack + 1)
    each += bytes_of(spec.action_space) + 16
    return entries * each + pictures + (priorities.bytes_for(entries) if prioritized else 0)


def bytes_of(space: Space[Any]) -> int:
    """Return the size of one element of a space, in bytes."""
    if isinstance(space, spaces.Dict):
        return sum(bytes_of(part) for part in space.spaces.values())
    count = int(torch.Size(space.shape or ()).numel())
    return count * (space.dtype.itemsize if space.dtype is not None else 8)
