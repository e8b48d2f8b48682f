"""Graphs as machine code, kept beside the compiler's own cache for the runs to come."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx

from rlrun.accel.processor import abilities

Run: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
Backend: TypeAlias = Callable[[fx.GraphModule, tuple[Tensor, ...], dict[str, Any]], Run]
"""From a graph, arguments like those to come, and options, to what computes it."""


def interpreted(
    graph: fx.GraphModule, examples: tuple[Tensor, ...], options: dict[str, Any]
) -> Run:
    """Return a graph as it is, without a compiler: for tests."""

    def run(tensors: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return list(graph(*tensors))

    return run


def machine_code(
    graph: fx.GraphModule, examples: tuple[Tensor, ...], options: dict[str, Any]
) -> Run:
    """Return a graph as machine code, from earlier runs where it has been compiled before."""
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    kept = Path(cache_dir()) / "rlrun" / f"{fingerprint(graph, examples, options)}.pt2"
    with suppress(Exception):  # not there, or damaged: it is made anew
        return loaded(kept)
    exported = torch.export.export(graph, examples, strict=False)
    with tempfile.TemporaryDirectory() as folder:
        made = aoti_compile_and_package(
            exported, package_path=f"{folder}/code.pt2", inductor_configs=options
        )
        with suppress(OSError):  # nowhere to keep it: the next run compiles again
            keep(Path(made), kept)
        return loaded(Path(made))


def loaded(path: Path) -> Run:
    """Return the code in a file; whatever is wrong with it is raised."""
    if not path.is_file():
        raise FileNotFoundError(path)
    from torch._inductor import aoti_load_package

    package: Any = aoti_load_package(str(path))
    run: Run = package.loader.run
    return run


def keep(made: Path, kept: Path) -> None:
    """Copy a file to where it is looked for: whole or not at all, as others may be reading."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    try:
        shutil.copyfile(made, part)
        part.replace(kept)
    finally:
        part.unlink(missing_ok=True)


def fingerprint(
    graph: fx.GraphModule, examples: tuple[Tensor, ...], options: dict[str, Any]
) -> str:
    """Return what tells one program from all others, on this machine and with this compiler."""
    from torch._inductor.custom_graph_pass import CustomGraphPass

    shapes = [(tuple(each.shape), each.stride(), each.dtype) for each in examples]
    switches = [(key, value) for key, value in options.items() if isinstance(value, bool)]
    able = sorted(abilities().items())
    machine = (torch.__version__, torch.get_num_threads(), able, os.environ.get("CXX"))
    rewrites = [value.uuid() for value in options.values() if isinstance(value, CustomGraphPass)]
    own = Path(__file__).read_text()
    parts = (graph.code, shapes, switches, machine, own, rewrites)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
