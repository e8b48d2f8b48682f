"""What lies ahead of a run, worked out without training: updates, memory, checkpoints."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rlrun.algos.base import Algorithm
from rlrun.build import Parts
from rlrun.data.capacity import bytes_for
from rlrun.data.experience import Experience
from rlrun.data.memory import free_memory
from rlrun.data.recent import Recent
from rlrun.envs.batched.base import BatchedEnv
from rlrun.nets.learner import Learner
from rlrun.schema import Recipe


@dataclass(frozen=True)
class Plan:
    """Counts of a whole run.

    `steps` is what is taken: the budget, rounded up to whole updates. `learning_updates` are those
    that come after `learning_starts`. `evaluations` and `checkpoints` include the last one.
    """

    steps_per_update: int
    updates: int
    learning_updates: int
    steps: int
    evaluations: int
    checkpoints: int


@dataclass(frozen=True)
class Memory:
    """Bytes: of the replay memory (0 without one), of what is free for it, and on the disk."""

    replay: int
    free: int
    checkpoint: int
    checkpoints: int
    disk: int


def plan_of(recipe: Recipe, algorithm: Algorithm) -> Plan:
    """Return the counts of a run from its first step to its last."""
    run = recipe.run
    envs = 1 if algorithm.runner == "async" else run.num_envs  # each worker updates by itself
    each = max(algorithm.horizon * envs, 1)  # the clock of planning counts updates
    updates = -(-run.total_timesteps // each)
    starts = getattr(recipe.algorithm_config, "learning_starts", 0)
    before = max(-(-starts // each) - 1, 0)
    return Plan(
        steps_per_update=each,
        updates=updates,
        learning_updates=max(updates - before, 0),
        steps=updates * each,
        evaluations=_due(run.eval_every, updates, each) + 1,
        checkpoints=_due(run.save_every, updates, each) + 1,
    )


def memory_of(recipe: Recipe, algorithm: Algorithm) -> Memory:
    """Return what a run takes of memory and disk, and what is there."""
    run = recipe.run
    capacity = getattr(recipe.algorithm_config, "buffer_size", 0)
    parts = algorithm.parts()
    replay = filled = 0
    experience = parts.get("experience")
    if isinstance(experience, Experience):
        prioritized = experience.replay.priorities is not None
        replay = bytes_for(capacity, algorithm.spec, prioritized)
        stored = max(min(capacity, run.total_timesteps), run.num_envs)
        filled = bytes_for(stored, algorithm.spec, prioritized)
    recent = parts.get("recent")
    if isinstance(recent, Recent):
        filled += recent.full_bytes(algorithm.horizon)
    others = [part.state_dict() for part in parts.values() if part is not experience]
    checkpoint = sum(bytes_in(state) for state in others) + filled
    kept = min(plan_of(recipe, algorithm).checkpoints, run.keep_checkpoints + 1)  # and the best
    return Memory(
        replay=replay,
        free=free_memory(algorithm.device),
        checkpoint=checkpoint,
        checkpoints=checkpoint * kept,
        disk=_free_disk(Path(run.output_dir)),
    )


def backend_of(recipe: Recipe, parts: Parts) -> str:
    """Return how environments are stepped: as `env.vectorization` has it, or by workers."""
    if recipe.algorithm.runner == "async":
        return "workers"
    if isinstance(parts.env, BatchedEnv):
        return "torch"
    chosen = recipe.run.env.vectorization
    return "sync" if chosen == "auto" else chosen


def learners_of(algorithm: Algorithm) -> dict[str, Learner]:
    """Return what takes gradient steps, by name."""
    parts = algorithm.parts().items()
    return {name: part for name, part in parts if isinstance(part, Learner)}


def bytes_in(state: Any) -> int:
    """Return the bytes of the tensors in a nested state."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(bytes_in(value) for value in state.values())
    return 0


def _due(period: int, updates: int, each: int) -> int:
    """Return how often something periodic is due before the last update; an update does it once."""
    if not period:
        return 0
    return min((updates - 1) * each // period, updates - 1)


def _free_disk(place: Path) -> int:
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
