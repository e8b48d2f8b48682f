"""What becomes of the products of compiled graphs on a processor.

Biases are added where the activation is computed: `addmm` and `baddbmm` first copy the bias to each
row of their result, which the kernel that follows reads anyway. Thin products, such as those of a
layer with four inputs or one output, become loops in the kernels around them: calling a library
for one takes longer than its arithmetic. Imports the compiler, so it is imported only where that is
needed.
"""

import math
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from rlrun.accel.products import THIN

aten = torch.ops.aten
BIASED: dict[Any, Any] = {
    aten.addmm.default: aten.mm.default,
    aten.baddbmm.default: aten.bmm.default,
}
SHORT = 300_000
"""Multiplications of a thin product up to which a loop is faster than a library."""


class Rewrites(CustomGraphPass):
    """Splits products from their biases, and writes thin ones out as multiplications and a sum."""

    def __call__(self, graph: fx.Graph) -> None:
        """Rewrite the graph in place."""
        for node in list(graph.nodes):
            if node.target in BIASED and not node.kwargs and fitting(node):
                split_bias(graph, node)
        for node in list(graph.nodes):
            if node.target in BIASED.values() and fitting(node) and thin(node):
                write_out(graph, node)

    def uuid(self) -> Any:
        """Return what identifies this file in the compiler's cache."""
        return get_hash_for_files((__file__,))


def fitting(node: fx.Node) -> bool:
    """Say whether a node's result is float32 in a processor's memory.

    In bfloat16 a product is rounded before the bias is added to it, so the sum would be another.
    """
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return False
    return value.device.type == "cpu" and value.dtype == torch.float32


def thin(node: fx.Node) -> bool:
    """Say whether a product `[..., M, K] x [..., K, N]` is short and one of its sides thin.

    No product is of which a side may change: asking would bind the graph to the answer.
    """
    values: Any = node.args
    one, other = (value.meta["val"] for value in values)
    sides: tuple[int, ...] = (*one.shape, other.shape[-1])
    if not all(isinstance(side, int) for side in sides):
        return False
    return min(sides[-3:]) <= THIN and math.prod(sides) <= SHORT


def split_bias(graph: fx.Graph, node: fx.Node) -> None:
    """Put a product and an addition in the place of a product with a bias."""
    bias, one, other = node.args
    with graph.inserting_before(node):
        product = call(graph, BIASED[node.target], one, other)
        replace(graph, node, call(graph, aten.add.Tensor, product, bias))


def write_out(graph: fx.Graph, node: fx.Node) -> None:
    """Put multiplications and a sum in the place of a product."""
    one, other = node.args
    inner = node.meta["val"].ndim - 1
    with graph.inserting_before(node):
        left = call(graph, aten.unsqueeze.default, one, inner + 1)
        right = call(graph, aten.unsqueeze.default, other, inner - 1)
        terms = call(graph, aten.mul.Tensor, left, right)
        replace(graph, node, call(graph, aten.sum.dim_IntList, terms, [inner]))


def call(graph: fx.Graph, target: Any, *values: Any) -> fx.Node:
    """Add a call to the graph, with what is known of its result."""
    node = graph.call_function(target, values)
    known = [value.meta["val"] if isinstance(value, fx.Node) else value for value in values]
    node.meta["val"] = target(*known)
    return node


def replace(graph: fx.Graph, node: fx.Node, other: fx.Node) -> None:
    """Let all that read one node read the other, of which the same is known."""
    other.meta = dict(node.meta)
    node.replace_all_uses_with(other)
    graph.erase_node(node)
