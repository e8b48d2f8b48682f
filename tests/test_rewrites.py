"""A compiled graph adds biases later and writes thin products out, and gives the same."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from rlrun.accel import rewrites
from rlrun.accel.products import THIN
from rlrun.accel.rewrites import MOST_TERMS, Rewrites, aten


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
        (linear, [(13,), (12, 14), (14, 13)], aten.mm.default),
        (batched, [(5, 1, 13), (5, 12, 14), (5, 14, 13)], aten.bmm.default),
    ],
)
def test_a_product_and_an_addition_are_the_same(function, shapes, product):
    torch.manual_seed(0)
    given = [torch.randn(shape) for shape in shapes]
    traced = make_fx(function, tracing_mode="fake")(*given)
    Rewrites()(traced.graph)
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
    Rewrites()(traced.graph)
    assert targets(traced.graph) == before


def product(one, other):
    return torch.matmul(one, other)


def matrices(shape, turned: bool):
    """Return random matrices, whose rows lie in one piece or, turned, whose columns do."""
    if not turned:
        return torch.randn(shape)
    *stacked, rows, columns = shape
    return torch.randn(*stacked, columns, rows).transpose(-1, -2)


def rewritten(sides, stacked=(), turns=(False, False), mode="fake") -> bool:
    torch.manual_seed(0)
    rows, inner, columns = sides
    shapes = (*stacked, rows, inner), (*stacked, inner, columns)
    given = [matrices(shape, turned) for shape, turned in zip(shapes, turns, strict=True)]
    traced = make_fx(product, tracing_mode=mode)(*given)
    before = targets(traced.graph)
    Rewrites()(traced.graph)
    traced.recompile()
    torch.testing.assert_close(traced(*given), product(*given))
    assert traced(*given).stride() == product(*given).stride()
    return not before & targets(traced.graph) & {aten.mm.default, aten.bmm.default}


@pytest.mark.parametrize("sides", [(THIN, 12, 14), (12, THIN, 14), (12, 14, THIN), (12, 1, 14)])
@pytest.mark.parametrize("stacked", [(), (2,)])
@pytest.mark.parametrize("turns", [(False, False), (True, False), (False, True), (True, True)])
def test_a_thin_product_becomes_multiplications_and_sums(sides, stacked, turns):
    assert rewritten(sides, stacked, turns)


@pytest.mark.parametrize(
    ("sides", "mode"),
    [
        ((THIN + 1, 12, 14), "fake"),
        ((THIN, MOST_TERMS + 1, 12), "fake"),
        ((12, 0, 14), "fake"),
        ((THIN, 12, 14), "symbolic"),
    ],
    ids=["wide", "long", "empty", "changing"],
)
def test_a_wide_or_long_or_empty_or_changing_product_is_the_librarys(sides, mode):
    assert not rewritten(sides, mode=mode)


@pytest.mark.parametrize(
    ("sides", "turns", "kept"),
    [
        ((12, 3, 14), (False, True), {aten.clone.default, aten.as_strided.default}),
        ((12, 3, 14), (False, False), set()),
        (
            (12, 14, 3),
            (True, False),
            {aten.permute.default, aten.sum.dim_IntList, aten.clone.default},
        ),
        ((12, 14, 3), (False, True), {aten.sum.dim_IntList}),
    ],
    ids=["copied", "as it lies", "turned", "along the sum"],
)
def test_what_is_read_lies_side_by_side(sides, turns, kept):
    rows, inner, columns = sides
    given = matrices((rows, inner), turns[0]), matrices((inner, columns), turns[1])
    traced = make_fx(product, tracing_mode="fake")(*given)
    Rewrites()(traced.graph)
    layout = {aten.clone.default, aten.as_strided.default, aten.permute.default}
    assert targets(traced.graph) & (layout | {aten.sum.dim_IntList}) == kept


def activated(one, other):
    return torch.matmul(one.relu(), other.relu())


@pytest.mark.parametrize("turns", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("sides", [(12, 3, 14), (12, 14, 3), (3, 12, 14)])
def test_what_is_computed_is_put_into_memory_and_read_there(turns, sides):
    torch.manual_seed(0)
    rows, inner, columns = sides
    given = matrices((rows, inner), turns[0]), matrices((inner, columns), turns[1])
    traced = make_fx(activated, tracing_mode="fake")(*given)
    Rewrites()(traced.graph)
    computed = [node for node in traced.graph.nodes if node.target is aten.relu.default]
    readers = {reader.target for node in computed for reader in node.users}
    assert readers <= {aten.clone.default, aten.permute.default}
    copies = [node for node in traced.graph.nodes if node.target is aten.as_strided.default]
    assert len(copies) >= len(computed) == 2
    traced.recompile()
    found, wanted = traced(*given), activated(*given)
    torch.testing.assert_close(found, wanted)
    assert found.stride() == wanted.stride()


def test_a_product_of_what_nothing_is_known_of_stays():
    traced = make_fx(product, tracing_mode="fake")(torch.randn(3, 12), torch.randn(12, 14))
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            del node.meta["val"]
    Rewrites()(traced.graph)
    assert aten.mm.default in targets(traced.graph)


def test_a_thin_product_with_itself_is_written_out():
    given = torch.randn(3, 3)
    traced = make_fx(lambda matrix: matrix @ matrix, tracing_mode="fake")(given)
    Rewrites()(traced.graph)
    traced.recompile()
    assert aten.mm.default not in targets(traced.graph)
    torch.testing.assert_close(traced(given), given @ given)


def test_the_compilers_cache_knows_this_file(monkeypatch, tmp_path):
    known = Rewrites().uuid()
    assert known == Rewrites().uuid() != None  # noqa: E711 - of None nothing is cached
    changed = tmp_path / "rewrites.py"
    changed.write_text("")
    monkeypatch.setattr(rewrites, "__file__", str(changed))
    assert Rewrites().uuid() != known
