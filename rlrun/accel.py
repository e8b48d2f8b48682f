"""Compiles what learners differentiate and what collecting repeats: no algorithm knows of it.

Loss and gradient become one graph; so do several steps of policy and environment, where the
environments are tensors themselves. A compiler takes seconds before it saves the first microsecond,
so `auto` asks for it only where many gradient steps lie ahead.
"""

import os
import shutil
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any, Literal, TypeAlias

from torch.nn import Module

from rlrun.algos.base import Algorithm
from rlrun.config import ConfigError, Problem
from rlrun.data.collector import Collector
from rlrun.nets.learner import Gradient, Learner
from rlrun.nets.memory import remembers

Mode: TypeAlias = Literal["auto", "off", "compile"]
WORTH_COMPILING = 40_000
"""Gradient steps ahead from which compiling pays: see docs/performance.md."""
WORTH_UNROLLING = 200_000
"""Steps of each environment ahead from which compiling act and environment pays."""


class Accelerator:
    """Decides, and tells the learners of an algorithm."""

    def __init__(
        self,
        mode: Mode,
        algorithm: Algorithm,
        collector: Collector,
        steps: int,
        say: Callable[[str], None],
    ) -> None:
        """`steps` are those that each environment of `collector` will take in the whole run."""
        self._say, self._collector, self._steps = say, collector, steps
        self._unrolls = algorithm.steady and collector.unrolls
        parts = algorithm.parts().values()
        self._learners = [part for part in parts if isinstance(part, Learner)]
        if any(isinstance(part, Module) and remembers(part) for part in parts):
            self._learners = []  # how a history falls into episodes is new at every call
        self._begun: tuple[float, int] | None = None
        self._undecided = mode == "auto" and bool(self._learners) and has_compiler()
        self._unrolls &= mode != "off" and has_compiler()
        if mode == "compile":
            if self._learners:
                self._compile("as asked")
            if self._unrolls:
                self._unroll("as asked")

    def consider(self, progress: float) -> None:
        """Compile if that pays, judged by the gradient steps so far; the clock has no say in it."""
        ahead = self._steps * (1.0 - progress)
        if self._unrolls and ahead >= WORTH_UNROLLING:
            self._unroll(f"about {ahead:,.0f} steps of each environment ahead")
        if not self._undecided:
            return
        updates = sum(each.updates for each in self._learners)
        if self._begun is None:  # a resumed run does not begin at 0
            self._begun = (progress, updates)
            return
        since, done = progress - self._begun[0], updates - self._begun[1]
        ahead = done * (1.0 - progress) / since if since > 0.0 else 0.0
        if ahead >= WORTH_COMPILING:
            self._compile(f"about {ahead:,.0f} gradient steps ahead")

    def _compile(self, reason: str) -> None:
        self._undecided = False
        for learner in self._learners:
            learner.transform(compiled)
        self._say(f"accel   compile: {reason}; the next update waits for it, for up to a minute")

    def _unroll(self, reason: str) -> None:
        self._unrolls = False
        self._collector.unroll(compiled_steps)
        self._say(f"accel   act and environment as one: {reason}; the next steps wait for it")


def compiled(function: Any, backend: str = "inductor") -> Callable[[Any], Gradient]:
    """Return `function` as one compiled graph that draws the same random numbers."""
    import torch
    import torch._dynamo.config

    torch._dynamo.config.trace_autograd_ops = True
    # graphs are kept by code object, and all losses come through one: with a copy each, a call
    # need not look through the graphs of the other losses
    own = FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    options = _options(backend, fallback_random=True)
    fast: Callable[[Any], Gradient] = torch.compile(
        own, backend=backend, fullgraph=True, options=options
    )
    return fast


def compiled_steps(function: Any, backend: str = "inductor") -> Callable[..., Any]:
    """Return `function` as one compiled graph, with random numbers of the compiler's own."""
    import torch

    options = _options(backend, fallback_random=False)
    fast: Callable[..., Any] = torch.compile(
        function, backend=backend, fullgraph=True, options=options
    )
    return fast


def _options(backend: str, *, fallback_random: bool) -> Any:
    # the code around the kernels in C++ too: in Python it costs as much as small kernels do
    options = {"fallback_random": fallback_random, "cpp_wrapper": True}
    return options if backend == "inductor" else None


def compiling(frame: FrameType | None) -> bool:
    """Say whether a call stack, given by its innermost frame, stands inside the compiler."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch._dynamo.convert_frame":
            return True
        frame = frame.f_back
    return False


def has_compiler() -> bool:
    """Say whether there is a C++ compiler, which the generated code needs."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


def check_accel(mode: Mode) -> None:
    """Raise ConfigError where `compile` is asked for and cannot be had."""
    if mode == "compile" and not has_compiler():
        reason = "needs a C++ compiler, and no g++ or clang++ was found; install one, or use off"
        raise ConfigError(Problem("accel", reason))
