"""How many torch threads: one for small networks, every core where a gradient step is long.

On a small network waking another core takes longer than the work it takes over. What counts is the
work of a gradient step, and that is counted at the first one, in operations of matrix products; the
clock has no say in it.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from rlrun.accel.operations import Operations
from rlrun.algos.base import Algorithm
from rlrun.data.control_groups import ROOT, groups, read
from rlrun.nets.learner import Learner, Stepped
from rlrun.types import Transform

Threads: TypeAlias = Literal["auto"] | int
WORTH_THREADS = 100_000_000
"""Operations of a gradient step from which more threads pay: see docs/performance.md."""


def at_first(threads: Threads) -> int:
    """Return the threads to begin with: `auto` has nothing to judge by yet."""
    return 1 if threads == "auto" else threads


class ThreadChoice:
    """Counts the operations of the first gradient steps, then gives them threads.

    All else stays on one: acting is too small, and on a busy machine waits for each core it wakes.
    """

    def __init__(self, algorithm: Algorithm, say: Callable[[str], None]) -> None:
        """Watch the learners of an algorithm."""
        self._say, self._operations, self._threads = say, 0, 1
        parts = algorithm.parts().values()
        self._learners = [part for part in parts if isinstance(part, Learner)]
        for learner in self._learners:
            learner.transform(self._counted)

    def decide(self) -> bool:
        """Choose and stop watching, if a gradient step was taken; say whether it was."""
        if not any(learner.updates for learner in self._learners):
            return False
        self._choose()
        for learner in self._learners:
            learner.transform(self.through(None))
        return True

    def through(self, transform: Transform | None) -> Transform | None:
        """Return a transform, or none, as one that computes on the threads that were chosen."""
        return transform if self._threads == 1 else partial(_spread, self._threads, transform)

    def _choose(self) -> None:
        if self._operations >= WORTH_THREADS:
            self._threads = cores()
            work = f"{self._operations / 1e6:,.0f} million operations a gradient step"
            self._say(f"threads {cores()}: {work}; from {WORTH_THREADS / 1e6:,.0f} it pays")

    def _counted(self, function: Callable[[Any], Stepped]) -> Callable[[Any], Stepped]:
        known = False

        def call(batch: Any) -> Stepped:
            nonlocal known
            if known:
                return function(batch)
            known = True
            with Operations() as counted:
                found = function(batch)
            self._operations = max(self._operations, counted.total)
            return found

        return call


def _spread(
    threads: int, transform: Transform | None, function: Callable[[Any], Stepped]
) -> Callable[[Any], Stepped]:
    inner = function if transform is None else transform(function)

    def call(batch: Any) -> Stepped:
        torch.set_num_threads(threads)  # the compiler, too, asks for their number at the first call
        try:
            return inner(batch)
        finally:
            torch.set_num_threads(1)

    return call


def choice(
    threads: Threads, algorithm: Algorithm, say: Callable[[str], None]
) -> ThreadChoice | None:
    """Return what will choose, or None where there is nothing to choose.

    Workers in processes have a core each, and on a GPU the work is not the processor's.
    """
    alone = algorithm.runner == "async" or algorithm.device.type != "cpu"
    if threads != "auto" or alone or cores() < 2:
        return None
    return ThreadChoice(algorithm, say)


def cores(root: Path = ROOT) -> int:
    """Return the cores this process may use: its affinity's, within its control groups' limits."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = []
    for group, version in groups("cpu", root):
        if version == 2:
            words = read(group / "cpu.max").split()
        else:
            words = [read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if len(words) == 2 and all(word.isdigit() for word in words):  # not "max", not -1
            limits.append(int(words[0]) // int(words[1]))
    return max(min([able, *limits]), 1)
