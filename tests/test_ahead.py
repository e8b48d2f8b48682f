"""Functions written down once are the functions they stand for."""

from functools import partial
from typing import NamedTuple

import pytest
import torch

from rlrun.accel.ahead import Ahead, gathered, interpreted, machine_code, spread
from rlrun.accel.compiler import has_compiler
from rlrun.build import build_parts
from rlrun.data.collector import Collector
from tests.recipes import recipe

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")


class Pair(NamedTuple):
    one: object
    other: object


def counted(built):
    """A backend that notes for what it is asked."""

    def backend(graph, examples, options):
        built.append([tuple(each.shape) for each in examples])
        return interpreted(graph, examples, options)

    return backend


def test_what_is_spread_is_gathered():
    tensors = [torch.tensor(float(k)) for k in range(4)]
    nested = Pair({"b": tensors[0], "a": [tensors[1], None]}, (tensors[2], 5, tensors[3]))
    found, others = [], []
    spread(nested, found, others)
    assert [each.item() for each in found] == [0.0, 1.0, 2.0, 3.0]
    assert others == [None, 5]
    again = gathered(nested, iter([each + 10 for each in found]))
    assert isinstance(again, Pair)
    assert list(again.one) == ["b", "a"]
    assert again.one["a"][1] is None
    assert again.other[1] == 5
    assert [again.one["b"], again.one["a"][0], again.other[0], again.other[2]] == [10, 11, 12, 13]


def test_a_program_is_built_once_for_each_shape():
    built, scale = [], torch.tensor(2.0)
    double = Ahead(lambda x: x * scale, counted(built), {})
    for size in (3, 2, 3, 2):
        assert torch.equal(double(torch.ones(size)), torch.full((size,), 2.0))
    assert built == [[(3,), ()], [(2,), ()]]


def test_more_shapes_than_two_and_other_numbers_are_computed_as_they_are():
    built, said, scale = [], [], torch.tensor(2.0)
    times = Ahead(lambda x, k: {"y": x * scale * k}, counted(built), {}, said.append)
    assert times(torch.ones(2), 1)["y"].tolist() == [2.0, 2.0]
    assert said == []
    assert times(torch.ones(2), 3)["y"].tolist() == [6.0, 6.0]
    assert said == ["accel   sizes change from call to call: further ones are not compiled"]
    assert times(torch.ones(2, dtype=torch.int64), 3)["y"].tolist() == [6.0, 6.0]
    assert times(torch.ones(2), 1)["y"].tolist() == [2.0, 2.0]
    assert len(built) == 2
    assert len(said) == 1


@pytest.mark.parametrize("what", ["number", "tensor", "nothing"])
def test_what_is_not_true_any_more_is_found_out(what):
    class Scaled:
        number, tensor = 2.0, torch.tensor(1.0)

        def __call__(self, x):
            return x * self.number * self.tensor

    scaled, said = Scaled(), []
    call = Ahead(scaled, interpreted, {}, said.append)
    assert [call(torch.tensor(1.0)).item() for _ in range(5)] == [2.0] * 5
    if what == "number":
        scaled.number = 3.0
    if what == "tensor":
        scaled.tensor = torch.tensor(1.5)
    expected = 2.0 if what == "nothing" else 3.0
    assert [call(torch.tensor(1.0)).item() for _ in range(110)] == [2.0] * 4 + [expected] * 106
    assert len(said) == (what != "nothing")


def test_what_is_written_into_a_tensor_is_seen_and_what_it_writes_stays():
    weight, count = torch.nn.Parameter(torch.ones(2)), torch.zeros(2)

    def function(x):
        count.add_(1.0)
        return x * weight + count, count * 2

    call = Ahead(function, interpreted, {})
    first, twice = call(torch.ones(2))
    assert first.tolist() == [2.0, 2.0]
    assert twice.tolist() == [2.0, 2.0]
    with torch.no_grad():
        weight.fill_(5.0)
    count.fill_(10.0)
    assert call(torch.ones(2))[0].tolist() == [16.0, 16.0]
    assert count.tolist() == [11.0, 11.0]
    assert not first.requires_grad


def test_arguments_may_lie_in_any_order_and_are_never_results():
    call = Ahead(lambda x: (x, x + 1), interpreted, {})
    given = torch.arange(6.0).view(2, 3).T
    same, more = call(given)
    assert torch.equal(same, given)
    assert torch.equal(more, given + 1)
    given[0, 0] = 9.0
    assert same[0, 0] == 0.0


def test_gradients_inside_are_found_and_inference_mode_does_not_matter():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))

    def slope(x):
        with torch.enable_grad():
            return torch.autograd.grad((x * weight.square()).sum(), weight)[0]

    call = Ahead(slope, interpreted, {})
    with torch.inference_mode():
        assert call(torch.tensor([3.0, 4.0])).tolist() == [6.0, 16.0]
    assert call(torch.tensor([1.0, 1.0])).tolist() == [2.0, 4.0]


def fragments(algo, env_id, transform):
    words = ("preset=none", "num_envs=4", "seed=3")
    parts = build_parts(recipe(f"algo={algo}", f"env={env_id}", *words))
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, 0)
    assert algorithm.steady
    if transform is not None:
        collector.transform(transform)
    act = partial(algorithm.act, explore=True)
    torch.manual_seed(0)
    found = []
    for _ in range(3):
        fragment = collector.collect(act, 20)
        found += [column.clone() for column in (*fragment[:6], *fragment.extra.values())]
        with torch.no_grad():
            for parameter in algorithm.policy.parameters():
                parameter.add_(0.01)
    return found


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("algo", ["ppo", "a2c", "reinforce", "trpo"])
def test_acting_is_the_same(algo, env_id):
    traced = partial(Ahead, backend=interpreted, options={})
    expected, found = fragments(algo, env_id, None), fragments(algo, env_id, traced)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)


@needs_compiler
def test_machine_code_is_the_same_draws_the_same_and_is_made_once(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    weight, count = torch.nn.Parameter(torch.randn(3, 2)), torch.zeros(())

    def function(x):
        count.add_(1)
        noise = torch.randn(4, 2) + torch.randint(5, (4, 2))
        return {"y": (x @ weight).tanh() + noise, "n": count + 1}

    def called():
        call = Ahead(function, machine_code, {"fallback_random": True})
        torch.manual_seed(1)
        count.zero_()
        return [call(torch.ones(4, 3) * k) for k in range(3)]

    torch.manual_seed(1)
    count.zero_()
    with torch.no_grad():
        expected = [function(torch.ones(4, 3) * k) for k in range(3)]
    torch.testing.assert_close(called(), expected)
    assert count == 3
    monkeypatch.setattr(torch.export, "export", None)  # from here on nothing can be compiled
    torch.testing.assert_close(called(), expected)
    with pytest.raises(TypeError):
        Ahead(lambda x: x + 3, machine_code, {})(torch.ones(1))
    assert [each.suffix for each in (tmp_path / "rlrun").iterdir()] == [".pt2"]
