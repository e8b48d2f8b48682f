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


MOST_SHAPES = 2
"""So many shapes of arguments are compiled; a compiler would be at work all the time for more."""


class Script(NamedTuple):
    """What a function does with arguments of one shape, written down."""

    graph: fx.GraphModule
    examples: tuple[Tensor, ...]
    reached: list[Tensor]
    form: Any

    def same(self, other: "Script") -> bool:
        """Say whether both do the same with the same tensors."""
        mine, theirs = ([identity(each) for each in script.reached] for script in (self, other))
        return self.graph.code == other.graph.code and mine == theirs


class Program(NamedTuple):
    """A script and the code that does what it says; None where the function itself is called."""

    script: Script
    run: Run | None


class Ahead:
    """Stands for a function of nested tuples and mappings of tensors, which returns such ones.

    It may write into tensors that it reaches, as long as it reaches no other view of the same
    memory. Its results are new tensors at each call. Gradients do not pass through. Whether it
    still does what was written down is looked at now and then, at calls 10, 100, 1000 and so on: if
    not, because a number in it changes, it is called as it is from then on.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        backend: Backend,
        options: dict[str, Any],
        say: Callable[[str], None] = print,
    ) -> None:
        self._function, self._backend, self._options = function, backend, options
        self._say = say
        self._programs: dict[Any, Program] = {}
        self._calls, self._next_look = 0, 10

    def __call__(self, *values: Any) -> Any:
        """Compute the function, compiling it first where the shapes are new."""
        found: list[Tensor] = []
        others: list[Any] = []
        spread(values, found, others)
        given = [leaf.contiguous() for leaf in found]  # the code knows one layout
        key = (*[(leaf.shape, leaf.dtype) for leaf in given], *others)
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) == MOST_SHAPES:
                return self._function(*values)
            program = self._programs[key] = self._compile(values, given)
        self._calls += 1
        if self._calls == self._next_look:
            self._next_look *= 10
            program = self._programs[key] = self._looked_at(program, values, given)
        if program.run is None:
            return self._function(*values)
        outcome = program.run(given + program.script.reached)
        return gathered(program.script.form, iter(outcome))

    def _compile(self, values: tuple[Any, ...], given: list[Tensor]) -> Program:
        script = build(self._function, values, given)
        if len(self._programs) == MOST_SHAPES - 1:
            self._say("accel   sizes change from call to call: further ones are not compiled")
        copies = tuple(each.detach().clone() for each in script.reached)
        with torch.inference_mode(False), torch.no_grad():
            run = self._backend(script.graph, (*script.examples, *copies), self._options)
        return Program(script, run)

    def _looked_at(self, program: Program, values: tuple[Any, ...], given: list[Tensor]) -> Program:
        """Return the program, or one without code if it is not true any more."""
        if program.run is None or program.script.same(build(self._function, values, given)):
            return program
        self._say("accel   a number changes inside what was compiled: it is not used any more")
        return program._replace(run=None)


def build(function: Callable[..., Any], values: tuple[Any, ...], given: list[Tensor]) -> Script:
    """Write a function down for `values`, whose tensors are `given`."""
    from torch.fx.experimental.proxy_tensor import make_fx

    form: Any = None

    def flat(*tensors: Tensor) -> list[Tensor]:
        nonlocal form
        form = function(*gathered(values, iter(tensors)))
        results: list[Tensor] = []
        spread(form, results, [])
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
        reached = [each.detach() for each in lift(graph)]
    return Script(graph, examples, reached, form)


def identity(tensor: Tensor) -> Any:
    """Return what two views have in common only if they are the same."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


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
        if identity(tensor) not in places:
            with graph.graph.inserting_after(last):
                last = graph.graph.placeholder(f"reached_{len(reached)}")
            places[identity(tensor)] = last
            last.meta = dict(node.meta)
            reached.append(tensor)
        node.replace_all_uses_with(places[identity(tensor)])
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
    shapes = [(tuple(each.shape), each.stride(), each.dtype) for each in examples]
    switches = [(key, value) for key, value in options.items() if isinstance(value, bool)]
    abilities = sorted(torch.cpu.get_capabilities().items())
    machine = (torch.__version__, torch.get_num_threads(), abilities, os.environ.get("CXX"))
    sources = [Path(__file__).with_name(name).read_text() for name in ("ahead.py", "bias.py")]
    parts = (graph.code, shapes, switches, machine, sources)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def spread(value: Any, into: list[Tensor], others: list[Any]) -> None:
    """Append the tensors in nested tuples, lists and mappings, in a fixed order, and all else."""
    if isinstance(value, Tensor):
        into.append(value)
    elif isinstance(value, dict):
        for each in value.values():
            spread(each, into, others)
    elif isinstance(value, tuple | list):
        for each in value:
            spread(each, into, others)
    else:
        others.append(value)


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
