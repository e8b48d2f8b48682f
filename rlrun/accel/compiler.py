"""The compiler: what it is asked for, whether it is there, whether it is at work."""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from functools import cache, partial
from types import FrameType, FunctionType
from typing import Any, Literal, TypeAlias

from torch import Tensor

from rlrun.config import ConfigError, Problem
from rlrun.types import Transform

Mode: TypeAlias = Literal["auto", "off", "compile", "cuda_graph"]
Graph: TypeAlias = Literal["compile", "cuda_graph"]
"""A graph whose kernels are called one by one, or recorded once and replayed as one."""
GRAPHS: dict[Graph, dict[str, Any]] = {
    # the code around the kernels in C++ too: in Python it costs as much as small kernels do
    "compile": {"cpp_wrapper": True},
    # not with cpp_wrapper, which switches the recording off without a word; batches whose size
    # changes are not recorded, since that would be once for each size
    "cuda_graph": {"triton.cudagraphs": True, "triton.cudagraph_skip_dynamic_graphs": True},
}
"""What the compiler of graphs is told."""


def fast(guarded: bool, graph: Graph, say: Callable[[str], None], *, same_draws: bool) -> Transform:
    """Return what makes functions of tensors faster.

    What is `guarded` looks at every call whether all it saw is still so. With `same_draws` the
    random numbers are those that the function would draw.
    """
    if not guarded:
        return partial(ahead, say=say, same_draws=same_draws)
    return partial(compiled if same_draws else compiled_steps, graph=graph)


def ahead(
    function: Callable[..., Any], say: Callable[[str], None] = print, same_draws: bool = True
) -> Callable[..., Any]:
    """Return `function` as machine code that is called without a look at anything: `ahead.py`."""
    from rlrun.accel.ahead import Ahead
    from rlrun.accel.programs import machine_code

    hush()
    return Ahead(function, machine_code, _options(same_draws), compiled, say)


def compiled(
    function: Any, backend: str = "inductor", graph: Graph = "compile"
) -> Callable[..., Any]:
    """Return `function` as one compiled graph that draws the same random numbers."""
    return _compile(function, backend, graph, fallback_random=True)


def compiled_steps(
    function: Any, backend: str = "inductor", graph: Graph = "compile"
) -> Callable[..., Any]:
    """Return `function` as one compiled graph, with random numbers of the compiler's own.

    Its tensors keep their shapes.
    """
    return _compile(function, backend, graph, fallback_random=False, dynamic=False)


def _compile(
    function: Any,
    backend: str,
    graph: Graph,
    *,
    fallback_random: bool,
    dynamic: bool | None = None,
) -> Callable[..., Any]:
    import torch
    import torch._dynamo.config

    hush()
    torch._dynamo.config.trace_autograd_ops = True
    options = _options(fallback_random) | GRAPHS[graph] if backend == "inductor" else None
    call: Callable[..., Any] = torch.compile(
        _own(function), backend=backend, fullgraph=True, dynamic=dynamic, options=options
    )
    return kept(call) if graph == "cuda_graph" else call


@cache
def hush() -> None:
    """Keep from the terminal what the compiler says of its own code, which no user can mend.

    That its trees are asked about in a way of the past, and which operations it leaves to PyTorch.
    Whoever sets `TORCH_LOGS` hears all of it.
    """
    if os.environ.get("TORCH_LOGS"):
        return
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
    logging.getLogger("torch._inductor.ir").setLevel(logging.ERROR)


def _own(function: Any) -> FunctionType:
    """Return a copy of a function with code of its own.

    Graphs are kept by code object, and all losses come through one: with a copy each, a call need
    not look through the graphs of the others, and each may be compiled anew as often.
    """
    return FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with results of its own at each call.

    A CUDA graph writes its results to the same memory at every replay, and the compiler may give
    that memory to another graph meanwhile.
    """
    import torch
    from torch.utils._pytree import tree_map_only

    def call(*values: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return tree_map_only(Tensor, torch.clone, function(*values))

    return call


def hold_still(tensors: Iterable[Tensor]) -> None:
    """Tell the compiler that tensors stay where they are, so that a replay need not copy them."""
    import torch._dynamo

    for tensor in tensors:
        torch._dynamo.mark_static_address(tensor)


def _options(same_draws: bool) -> dict[str, Any]:
    from rlrun.accel.rewrites import Rewrites

    return {"fallback_random": same_draws, "post_grad_custom_post_pass": Rewrites()}


def compiling(frame: FrameType | None) -> bool:
    """Say whether a call stack, given by its innermost frame, stands inside the compiler."""
    inside = (("torch._dynamo.convert_frame", None), ("rlrun.accel.ahead", "_compile"))
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if (name, None) in inside or (name, frame.f_code.co_name) in inside:
            return True
        frame = frame.f_back
    return False


def has_compiler() -> bool:
    """Say whether there is a C++ compiler, which the generated code needs."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


def check_accel(mode: Mode, device: str) -> None:
    """Raise ConfigError where a compiler is asked for and cannot be had; `device` as configured."""
    if mode == "cuda_graph" and device != "cuda":
        reason = f"cuda_graph needs device=cuda, not {device}; set it, or use accel=compile"
        raise ConfigError(Problem("accel", reason))
    if mode in ("compile", "cuda_graph") and not has_compiler():
        reason = "needs a C++ compiler, and no g++ or clang++ was found; install one, or use off"
        raise ConfigError(Problem("accel", reason))
