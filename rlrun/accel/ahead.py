"""Functions of tensors as machine code, called without being asked anything first.

`torch.compile` looks at every call whether all that it saw when compiling is still so, which on
small networks takes longer than the code itself. Here a function is written down once for every
shape of its arguments, and compiled ahead of time. Tensors that it reaches by other ways, such as
parameters, stay themselves: they are handed over at each call, so writing into them is seen. All
else, flags and numbers among it, is taken as it was when first called.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from rlrun.nets.tracing import tracing

Run: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
TENSOR = object()
"""Stands for a tensor in the form of a result."""
Backend: TypeAlias = Callable[[fx.GraphModule, tuple[Tensor, ...], dict[str, Any]], Run]


class Program(NamedTuple):
    """A function for arguments of one shape: code, the tensors it reaches, its result's form."""

    run: Run
    reached: list[Tensor]
    form: Any


class Ahead:
    """Stands for a function of nested tuples and mappings of tensors, which returns such ones.

    It may write into tensors that it reaches, as long as it reaches no other view of the same
    memory. Its results are new tensors at each call. Gradients do not pass through.
    """

    def __init__(
        self, function: Callable[..., Any], backend: Backend, options: dict[str, Any]
    ) -> None:
        self._function, self._backend, self._options = function, backend, options
        self._programs: dict[Any, Program] = {}

    def __call__(self, *values: Any) -> Any:
        """Compute the function, compiling it first where the shapes are new."""
        found: list[Any] = []
        spread(values, found)
        given = [leaf.contiguous() for leaf in found]  # the code knows one layout
        key = tuple([(leaf.shape, leaf.dtype) for leaf in given])
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = build(
                self._function, values, given, self._backend, self._options
            )
        outcome = program.run(given + program.reached)
        return gathered(program.form, iter(outcome))


def build(
    function: Callable[..., Any],
    values: tuple[Any, ...],
    given: list[Tensor],
    backend: Backend,
    options: dict[str, Any],
) -> Program:
    """Write a function down for `values`, whose tensors are `given`, and compile it."""
    from torch.fx.experimental.proxy_tensor import make_fx

    form: Any = None

    def flat(*tensors: Tensor) -> list[Tensor]:
        nonlocal form
        form = function(*gathered(values, iter(tensors)))
        results: list[Tensor] = []
        spread(form, results)
        known = set(map(id, tensors))
        # a result that is an argument would be no new tensor
        form = gathered(form, repeat(TENSOR))
        return [each.clone() if id(each) in known else each for each in results]

    grad = torch.is_grad_enabled()
    # under inference mode, where acting happens, nothing can be written down
    with torch.inference_mode(False), torch.set_grad_enabled(grad), tracing():
        examples = tuple(torch.zeros_like(leaf) for leaf in given)
        with Untouched():
            graph = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*examples)
        reached = lift(graph)
        copies = tuple(each.detach().clone() for each in reached)
        with torch.no_grad():
            run = backend(graph, (*examples, *copies), options)
    return Program(run, [each.detach() for each in reached], form)


class Untouched(TorchDispatchMode):
    """Gives tensors that were written into their numbers back: writing down is not running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do what was called; keep the numbers of what it writes into."""
        if func._schema.is_mutable and args and not isinstance(args[0], FakeTensor):
            with _disable_current_modes():
                self._before.setdefault(id(args[0]), (args[0], args[0].clone()))
        return func(*args, **(kwargs or {}))

    def __exit__(self, *error: Any) -> None:
        """Leave, and put the numbers back."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for tensor, before in self._before.values():
                tensor.copy_(before)


def lift(graph: fx.GraphModule) -> list[Tensor]:
    """Turn the tensors that a graph holds into arguments behind its own; return them, each once."""
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    places: dict[Any, fx.Node] = {}
    reached: list[Tensor] = []
    for node in [node for node in graph.graph.nodes if node.op == "get_attr"]:
        tensor = getattr(graph, node.target)
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in places:
            with graph.graph.inserting_after(last):
                last = places[key] = graph.graph.placeholder(f"reached_{len(reached)}")
            last.meta = dict(node.meta)
            reached.append(tensor)
        node.replace_all_uses_with(places[key])
        graph.graph.erase_node(node)
    graph.recompile()
    return reached


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
    from torch._inductor import aoti_compile_and_package, aoti_load_package
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    kept = Path(cache_dir()) / "rlrun" / f"{fingerprint(graph, examples, options)}.pt2"
    if not kept.exists():
        exported = torch.export.export(graph, examples, strict=False)
        with tempfile.TemporaryDirectory() as folder:
            made = aoti_compile_and_package(
                exported, package_path=f"{folder}/code.pt2", inductor_configs=options
            )
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as part:
                shutil.copyfile(made, part.name)
            Path(part.name).replace(kept)  # whole or not at all: another run may be reading
    loader: Any = aoti_load_package(str(kept))
    run: Run = loader.loader.run
    return run


def fingerprint(
    graph: fx.GraphModule, examples: tuple[Tensor, ...], options: dict[str, Any]
) -> str:
    """Return what tells one program from all others, on this machine and with this compiler."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    shapes = [(tuple(each.shape), each.stride(), each.dtype) for each in examples]
    switches = [(key, value) for key, value in options.items() if isinstance(value, bool)]
    machine = (torch.__version__, torch.get_num_threads(), pick_vec_isa(), os.environ.get("CXX"))
    sources = [Path(__file__).with_name(name).read_text() for name in ("ahead.py", "bias.py")]
    parts = (graph.code, shapes, switches, tuple(map(str, machine)), sources)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def spread(value: Any, into: list[Any]) -> None:
    """Append the tensors in nested tuples, lists and mappings, in a fixed order."""
    if isinstance(value, Tensor):
        into.append(value)
    elif isinstance(value, dict):
        for key in value:
            spread(value[key], into)
    elif isinstance(value, tuple | list):
        for each in value:
            spread(each, into)


def gathered(form: Any, tensors: Iterator[Any]) -> Any:
    """Return what `form` is, with other tensors in the places of its own."""
    if form is TENSOR or isinstance(form, Tensor):
        return next(tensors)
    if isinstance(form, dict):
        return {key: gathered(value, tensors) for key, value in form.items()}
    if isinstance(form, tuple | list):
        parts = [gathered(each, tensors) for each in form]
        if isinstance(form, list):
            return parts
        return form._make(parts) if hasattr(form, "_make") else tuple(parts)
    return form
