"""The compiler: what it is asked for, whether it is there, whether it is at work."""

import os
import shutil
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any, Literal, TypeAlias

from rlrun.config import ConfigError, Problem
from rlrun.nets.learner import Gradient

Mode: TypeAlias = Literal["auto", "off", "compile"]


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
