"""Biases of compiled graphs, added where the activation is computed.

On a processor `addmm` and `baddbmm` first copy the bias to every row of their result. As a product
and an addition the bias becomes part of the kernel that follows, which reads the result anyway.
Imports the compiler, so it is imported only where that is needed.
"""

from typing import Any

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

aten = torch.ops.aten
PRODUCTS = {aten.addmm.default: aten.mm.default, aten.baddbmm.default: aten.bmm.default}


class BiasAfterProduct(CustomGraphPass):
    """Splits each product with a bias into a product and an addition."""

    def __call__(self, graph: torch.fx.Graph) -> None:
        """Rewrite the graph in place."""
        for node in list(graph.nodes):
            if node.target not in PRODUCTS or node.kwargs or not fitting(node):
                continue
            bias, one, other = node.args
            with graph.inserting_before(node):
                product = graph.call_function(PRODUCTS[node.target], (one, other))
                total = graph.call_function(aten.add.Tensor, (product, bias))
            product.meta, total.meta = dict(node.meta), dict(node.meta)
            node.replace_all_uses_with(total)
            graph.erase_node(node)

    def uuid(self) -> Any:
        """Return what identifies this file in the compiler's cache."""
        return get_hash_for_files((__file__,))


def fitting(node: torch.fx.Node) -> bool:
    """Say whether a node's result is float32 in a processor's memory.

    In bfloat16 a product is rounded before the bias is added to it, so the sum would be another.
    """
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return False
    return value.device.type == "cpu" and value.dtype == torch.float32
