"""A compiled graph adds a bias where the activation is computed, and gives the same."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from rlrun.accel import bias
from rlrun.accel.bias import BiasAfterProduct, aten


def linear(bias, one, other):
    return torch.relu(torch.addmm(bias, one, other))


def batched(bias, one, other):
    return torch.relu(torch.baddbmm(bias, one, other))


def scaled(bias, one, other):
    return torch.addmm(bias, one, other, beta=0.5)


def targets(graph) -> set:
    return {node.target for node in graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize(
    ("function", "shapes", "product"),
    [
        (linear, [(3,), (2, 4), (4, 3)], aten.mm.default),
        (batched, [(5, 1, 3), (5, 2, 4), (5, 4, 3)], aten.bmm.default),
    ],
)
def test_a_product_and_an_addition_are_the_same(function, shapes, product):
    torch.manual_seed(0)
    given = [torch.randn(shape) for shape in shapes]
    traced = make_fx(function, tracing_mode="fake")(*given)
    BiasAfterProduct()(traced.graph)
    assert targets(traced.graph) == {product, aten.add.Tensor, aten.relu.default}
    traced.recompile()
    torch.testing.assert_close(traced(*given), function(*given))


@pytest.mark.parametrize(
    ("function", "device", "dtype"),
    [
        (scaled, "cpu", torch.float32),
        (linear, "meta", torch.float32),
        (linear, "cpu", torch.bfloat16),
    ],
)
def test_what_scales_its_bias_or_lies_elsewhere_or_rounds_stays_whole(function, device, dtype):
    given = [torch.randn(3), torch.randn(2, 4), torch.randn(4, 3)]
    traced = make_fx(function)(*(tensor.to(device, dtype) for tensor in given))
    for node in traced.graph.nodes:
        node.meta["val"] = torch.empty(2, 3, device=device, dtype=dtype)
    before = targets(traced.graph)
    BiasAfterProduct()(traced.graph)
    assert targets(traced.graph) == before


def test_the_compilers_cache_knows_this_file(monkeypatch, tmp_path):
    known = BiasAfterProduct().uuid()
    assert known == BiasAfterProduct().uuid() != None  # noqa: E711 - of None nothing is cached
    changed = tmp_path / "bias.py"
    changed.write_text("")
    monkeypatch.setattr(bias, "__file__", str(changed))
    assert BiasAfterProduct().uuid() != known
