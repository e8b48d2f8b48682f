"""What becomes of the products of compiled graphs on a processor.

Biases are added where the activation is computed: `addmm` and `baddbmm` first copy the bias to each
row of their result, which the kernel that follows reads anyway. Thin products, such as those of a
layer with four inputs or one output, become loops in the kernels around them: libraries are made
for wide ones, and calling one takes longer than such a product's arithmetic. Imports the compiler,
so it is imported only where that is needed.
"""

from functools import reduce
from typing import Any, cast

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from rlrun.accel import products

aten = torch.ops.aten
BIASED: dict[Any, Any] = {
    aten.addmm.default: aten.mm.default,
    aten.baddbmm.default: aten.bmm.default,
}
VIEWS = {
    *(aten.permute.default, aten.view.default, aten.expand.default, aten.slice.Tensor),
    *(aten.select.int, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims),
}
MOST_TERMS = 2048
"""A loop adds one number after the other, which costs digits where there are more."""


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
        """Return what identifies these rewrites in the compiler's cache."""
        return get_hash_for_files((__file__, products.__file__))


def fitting(node: fx.Node) -> bool:
    """Say whether a node's result is float32 in a processor's memory.

    In bfloat16 a product is rounded before the bias is added to it, so the sum would be another.
    """
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return False
    return value.device.type == "cpu" and value.dtype == torch.float32


def thin(node: fx.Node) -> bool:
    """Say whether a side of a product `[..., M, K] x [..., K, N]` is thin, and its sums not long.

    No product is of which a side may change: asking would bind the graph to the answer.
    """
    one, other = (value.meta.get("val") for value in operands(node))
    if one is None or other is None:
        return False
    sides: tuple[int, ...] = (*one.shape, other.shape[-1])
    if not all(isinstance(side, int) for side in sides):
        return False
    return 0 < min(sides[-3:]) <= products.THIN and one.shape[-1] <= MOST_TERMS


def operands(node: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Return the two that a node multiplies."""
    return cast(tuple[fx.Node, fx.Node], node.args)


def split_bias(graph: fx.Graph, node: fx.Node) -> None:
    """Put a product and an addition in the place of a product with a bias."""
    bias, one, other = node.args
    with graph.inserting_before(node):
        product = call(graph, BIASED[node.target], one, other)
        replace(graph, node, call(graph, aten.add.Tensor, product, bias))


def write_out(graph: fx.Graph, node: fx.Node) -> None:
    """Put multiplications and sums in the place of a product.

    The compiler reads several numbers at once only where they lie side by side, so what is to be
    read along the columns of the result, or else along the sum, must lie so.
    """
    with graph.inserting_before(node):
        one, other = (not_recomputed(graph, value) for value in operands(node))
        by_rows = known(one).stride(-2) == 1 and known(other).shape[-1] <= products.THIN
        if known(one).shape[-1] <= products.THIN:
            by_columns = known(other).stride(-1) == 1
            total = outer_products(graph, one, other if by_columns else materialized(graph, other))
        elif by_rows:
            total = transposed(
                graph, inner_products(graph, transposed(graph, other), transposed(graph, one))
            )
            total = contiguous(graph, total)  # as a product lies
        else:
            total = inner_products(graph, one, other)
        replace(graph, node, total)


def not_recomputed(graph: fx.Graph, matrix: fx.Node) -> fx.Node:
    """Return a matrix that is not computed anew at each of the many times it is read."""
    source = matrix
    while source.target in VIEWS:
        source = source.all_input_nodes[0]
    if source.op != "call_function" or source.target in BIASED.values():
        return matrix
    if known(matrix).stride(-2) == 1:
        return transposed(graph, materialized(graph, transposed(graph, matrix)))
    return materialized(graph, matrix)


def outer_products(graph: fx.Graph, one: fx.Node, other: fx.Node) -> fx.Node:
    """Return a product as a sum of K outer products, written down one by one."""
    last = known(one).ndim - 1
    terms = [
        call(
            graph,
            aten.mul.Tensor,
            call(graph, aten.slice.Tensor, one, last, each, each + 1),
            call(graph, aten.slice.Tensor, other, last - 1, each, each + 1),
        )
        for each in range(known(one).shape[-1])
    ]
    return reduce(lambda total, term: call(graph, aten.add.Tensor, total, term), terms)


def inner_products(graph: fx.Graph, one: fx.Node, other: fx.Node) -> fx.Node:
    """Return a product as all multiplications and a sum over K."""
    inner = known(one).ndim - 1
    left = call(graph, aten.unsqueeze.default, one, inner + 1)
    right = call(graph, aten.unsqueeze.default, other, inner - 1)
    terms = call(graph, aten.mul.Tensor, left, right)
    return call(graph, aten.sum.dim_IntList, terms, [inner])


def transposed(graph: fx.Graph, matrix: fx.Node) -> fx.Node:
    """Return a matrix or a stack of them with rows and columns exchanged."""
    *stacked, rows, columns = range(known(matrix).ndim)
    return call(graph, aten.permute.default, matrix, [*stacked, columns, rows])


def materialized(graph: fx.Graph, matrix: fx.Node) -> fx.Node:
    """Return a copy of a matrix whose rows lie in one piece.

    What is asked for with strides is put into memory, not computed anew wherever it is read.
    """
    copy = contiguous(graph, matrix)
    shape, strides = list(known(copy).shape), list(known(copy).stride())
    return call(graph, aten.as_strided.default, copy, shape, strides)


def contiguous(graph: fx.Graph, matrix: fx.Node) -> fx.Node:
    """Return a copy of a matrix that lies as usual."""
    return call(graph, aten.clone.default, matrix, memory_format=torch.contiguous_format)


def call(graph: fx.Graph, target: Any, *values: Any, **options: Any) -> fx.Node:
    """Add a call to the graph, with what is known of its result."""
    node = graph.call_function(target, values, options)
    examples = [known(value) if isinstance(value, fx.Node) else value for value in values]
    node.meta["val"] = target(*examples, **options)
    return node


def known(node: fx.Node) -> torch.Tensor:
    """Return what is known of a node's result: a tensor without numbers."""
    return cast(torch.Tensor, node.meta["val"])


def replace(graph: fx.Graph, node: fx.Node, other: fx.Node) -> None:
    """Let all that read one node read the other."""
    other.meta = {**node.meta, "val": known(other)}
    node.replace_all_uses_with(other)
    graph.erase_node(node)
