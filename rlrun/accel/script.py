"""What a function of tensors does, written down once for arguments of one shape."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from rlrun.nets.tracing import tracing


class Script(NamedTuple):
    """A graph of operations on arguments like `examples`, and on the tensors `reached` otherwise.

    `make` makes the result from its tensors.
    """

    graph: fx.GraphModule
    examples: tuple[Tensor, ...]
    reached: list[Tensor]
    make: Callable[[Iterator[Tensor]], Any]


def trace(function: Callable[..., Any], values: tuple[Any, ...], given: list[Tensor]) -> Script:
    """Return what a function does with `values`, whose tensors are `given`, without doing it."""
    from torch.fx.experimental.proxy_tensor import make_fx

    make: Callable[[Iterator[Any]], Any] = next

    def flat(*tensors: Tensor) -> list[Tensor]:
        nonlocal make
        outcome = function(*tree_maker(values)(iter(tensors)))
        results: list[Tensor] = []
        tree_flatten(outcome, results, [])
        make = tree_maker(outcome)
        return [each.clone() for each in results]  # some may be views of what was given

    grad = torch.is_grad_enabled()
    # under inference mode, where acting happens, nothing can be written down
    with torch.inference_mode(False), torch.set_grad_enabled(grad), tracing():
        examples = tuple(torch.zeros_like(leaf) for leaf in given)
        with Untouched():
            graph = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*examples)
        reached = [each.detach() for each in lift(graph)]
    return Script(graph, examples, reached, make)


class Untouched(TorchDispatchMode):
    """Gives tensors that were written into their numbers back: writing down is not running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do what was called; keep the numbers of what it writes into."""
        if func._schema.is_mutable:
            self._keep(func._schema.arguments, args, kwargs or {})
        return func(*args, **(kwargs or {}))

    def _keep(self, declared: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        for place, each in enumerate(declared):
            if each.alias_info is None or not each.alias_info.is_write:
                continue
            value = args[place] if place < len(args) else named.get(each.name)
            for tensor in value if isinstance(value, list | tuple) else [value]:
                if isinstance(tensor, Tensor) and not isinstance(tensor, FakeTensor):
                    with _disable_current_modes():
                        self._before.setdefault(id(tensor), (tensor, tensor.clone()))

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


def identity(tensor: Tensor) -> Any:
    """Return what two views have in common only if they are the same."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def tree_flatten(value: Any, into: list[Tensor], others: list[Any]) -> None:
    """Append the tensors in nested tuples, lists and mappings, in a fixed order, and all else.

    Raises TypeError for what is neither of these nor a number or a word.
    """
    if isinstance(value, Tensor):
        into.append(value)
    elif isinstance(value, dict):
        others.append(tuple(value))
        for each in value.values():
            tree_flatten(each, into, others)
    elif isinstance(value, tuple | list):
        for each in value:
            tree_flatten(each, into, others)
    elif value is None or isinstance(value, bool | int | float | str):
        others.append((type(value), value))
    else:
        raise TypeError(f"{type(value).__name__} is neither a tensor nor a number")


def tree_maker(form: Any) -> Callable[[Iterator[Any]], Any]:
    """Return the function that makes what `form` is from tensors, which replace those in it.

    What is asked of `form` is asked here, not at each call.
    """
    if isinstance(form, Tensor):
        return next
    if isinstance(form, dict):
        items = [(key, tree_maker(value)) for key, value in form.items()]
        return lambda tensors: {key: make(tensors) for key, make in items}
    if isinstance(form, tuple | list):
        parts = [tree_maker(each) for each in form]
        kind: Callable[[list[Any]], Any] = getattr(form, "_make", type(form))
        return lambda tensors: kind([make(tensors) for make in parts])
    return lambda tensors: form
