"""Which library multiplies in float32: large products go through oneDNN where that is faster."""

from contextlib import contextmanager
from itertools import product

import pytest
import torch
from torch import nn

from rlrun.accel import products
from rlrun.accel.precision import learn_in
from rlrun.accel.products import ProductChoice, onednn_is_faster, operations, through_onednn
from rlrun.build import build_parts
from rlrun.nets.learner import Learner
from tests.contract.test_algorithms import fitting
from tests.recipes import changed

AMD = {"cpu_name": "AMD EPYC 9B45", "avx512_bw": True, "amx_bf16": False}


def setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.fixture
def processor(monkeypatch):
    def set_to(**able) -> None:
        onednn_is_faster.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: AMD | able)
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        monkeypatch.setattr(products, "_keeps_float32", lambda: True)

    yield set_to
    onednn_is_faster.cache_clear()


def test_operations_are_those_of_a_mean_layer():
    layers = [torch.zeros(12, 14), torch.zeros(12), torch.zeros(10, 12), torch.zeros(10)]
    batch = {"obs": torch.zeros(5, 14), "action": torch.zeros(5)}
    assert operations(layers, batch) == 2 * 5 * (168 + 120) / 2
    assert operations(layers, {"name": "no tensor"}) == 0
    assert operations([torch.zeros(12)], batch) == 0


@pytest.mark.parametrize("thin", [(8, 12), (12, 8), (2, 1, 12), (2, 12, 1), (8, 8)])
def test_thin_layers_and_biases_of_stacked_networks_are_no_layers(thin):
    layers = [torch.zeros(2, 9, 10), torch.zeros(2, 1, 9), torch.zeros(thin)]
    assert operations(layers, torch.zeros(5)) == 2 * 5 * 180


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [([(5, 4), (5,)], 5), ([(7, 3, 4), (7, 3), (3,)], 21), ([(), (5, 1)], 5), ([()], 0), ([], 0)],
)
def test_rows_are_steps_over_all_environments(shapes, expected):
    assert products.rows([torch.zeros(shape) for shape in shapes]) == expected


def inside(chosen, rows) -> str:
    with chosen(torch.zeros(rows)):
        return setting()


def test_only_large_products_go_through_onednn_from_the_second_step_on():
    large = ProductChoice([torch.zeros(500, 1000)])
    assert [inside(large, 5) for _ in range(3)] == ["none", "bf16", "bf16"]  # 5 million operations
    assert setting() == "none"
    small = ProductChoice([torch.zeros(500, 1000)])
    assert [inside(small, 4) for _ in range(2)] == ["none", "none"]


def test_batches_of_another_size_than_the_first_stay_with_mkl():
    chosen = ProductChoice([torch.zeros(500, 1000)])
    assert [inside(chosen, rows) for rows in (6, 7, 6)] == ["none", "none", "bf16"]


@pytest.mark.parametrize("before", ["none", "ieee"])
def test_the_setting_is_put_back_after_a_failure(before):
    torch.backends.mkldnn.matmul.fp32_precision = before
    try:
        with pytest.raises(ZeroDivisionError), through_onednn():
            raise ZeroDivisionError
        assert setting() == before
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


@pytest.mark.parametrize("missing", [torch.backends.mkl, torch.backends.mkldnn])
def test_both_libraries_have_to_be_there(processor, missing, monkeypatch):
    processor()
    monkeypatch.setattr(missing, "is_available", lambda: False)
    assert not onednn_is_faster()


@pytest.mark.parametrize(
    ("able", "faster"),
    [
        ({}, True),
        ({"cpu_name": "Intel(R) Xeon(R) Processor @ 2.50GHz"}, False),
        ({"amx_bf16": True}, False),
        ({"avx512_bw": False}, False),
    ],
)
def test_it_is_for_processors_of_amd_that_would_not_round(processor, able, faster):
    processor(**able)
    assert onednn_is_faster() == faster


def test_a_library_that_rounds_is_left_alone(processor, monkeypatch):
    processor()
    monkeypatch.setattr(products, "_keeps_float32", lambda: False)
    assert not onednn_is_faster()


def test_rounding_to_bfloat16_is_noticed():
    with torch.autocast("cpu", torch.bfloat16):
        assert not products._keeps_float32()


def test_the_probe_multiplies_through_onednn(monkeypatch):
    entered = []

    @contextmanager
    def through():
        with torch.autocast("cpu", torch.bfloat16):
            yield entered.append("entered")

    monkeypatch.setattr(products, "through_onednn", through)
    assert not products._keeps_float32()
    assert entered == ["entered"]


@pytest.mark.skipif(not onednn_is_faster(), reason="this processor is served by MKL")
@pytest.mark.parametrize("shape", list(product((1, 33, 256), (3, 64, 500), (1, 128, 1000))))
def test_products_through_onednn_are_float32(shape):
    rows, inner, columns = shape
    draws = torch.Generator().manual_seed(0)
    a = torch.randn(rows, inner, generator=draws)
    b = torch.randn(inner, columns, generator=draws)
    with through_onednn():
        found = a @ b, torch.bmm(a.expand(2, -1, -1), b.expand(2, -1, -1))[1]
    exact, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    for each in found:
        assert ((each - exact).abs() / scale).max() < 1e-6  # bfloat16: 4e-3


@pytest.mark.parametrize(
    ("precision", "faster", "given", "reason"),
    [
        ("float32", True, True, "large products by oneDNN, which here is faster than MKL"),
        ("float32", False, False, ""),
        ("bfloat16", True, False, "products of losses and gradients; all else in float32"),
    ],
)
def test_learners_in_float32_are_given_the_choice(processor, precision, faster, given, reason):
    processor(amx_bf16=not faster)
    parts = build_parts(changed(fitting("sac"), precision=precision))
    parts.env.close()
    learners = [part for part in parts.algorithm.parts().values() if isinstance(part, Learner)]
    assert learners
    assert all(isinstance(learner.within, ProductChoice) == given for learner in learners)
    assert parts.precision_reason == reason
    if given:  # by its own layers and batches
        assert all(learner.within._parameters is learner.parameters for learner in learners)
        assert len({id(learner.within) for learner in learners}) == len(learners) > 1


def test_on_a_gpu_nothing_is_chosen(processor):
    processor()
    parts = build_parts(fitting("ppo"))
    parts.env.close()
    parts.algorithm.device = torch.device("cuda")
    (learner,) = [part for part in parts.algorithm.parts().values() if isinstance(part, Learner)]
    before = learner.within = object()
    learn_in("float32", parts.algorithm)
    assert learner.within is before


@pytest.mark.parametrize("transform", [None, lambda function: function])
def test_a_gradient_step_is_taken_within(transform):
    entered = []

    @contextmanager
    def within(batch):
        entered.append(batch)
        yield
        entered.append("left")

    weight = nn.Parameter(torch.ones(2))
    learner = Learner([weight])
    learner.within, learner.learning_rate = within, 0.1
    learner.transform(transform)

    def loss(batch):
        entered.append("loss")
        return (weight * batch).sum(), {}

    batch = torch.ones(2)
    learner.minimize(loss, batch)
    assert entered == [batch, "loss", "left"]
