"""Functions written down once are the functions they stand for."""

from functools import partial
from typing import NamedTuple

import pytest
import torch

from rlrun.accel import programs
from rlrun.accel.ahead import Ahead
from rlrun.accel.compiler import has_compiler
from rlrun.accel.programs import fingerprint, interpreted, machine_code
from rlrun.accel.script import trace, tree_flatten, tree_maker
from rlrun.build import build_parts
from rlrun.data.collector import Collector
from tests.recipes import recipe


class Pair(NamedTuple):
    one: object
    other: object


def counted(built):
    """A backend that notes for what it is asked."""

    def backend(graph, examples, options):
        built.append([tuple(each.shape) for each in examples])
        return interpreted(graph, examples, options)

    return backend


def test_what_is_flattened_is_put_together_again():
    tensors = [torch.tensor(float(k)) for k in range(4)]
    nested = Pair({"b": tensors[0], "a": [tensors[1], None]}, (tensors[2], 5, tensors[3]))
    found, others = [], []
    tree_flatten(nested, found, others)
    assert [each.item() for each in found] == [0.0, 1.0, 2.0, 3.0]
    assert others == [("b", "a"), (type(None), None), (int, 5)]
    again = tree_maker(nested)(iter([each + 10 for each in found]))
    assert (type(again), list(again.one)) == (Pair, ["b", "a"])
    assert (again.one["a"][1], again.other[1]) == (None, 5)
    assert [again.one["b"], again.one["a"][0], again.other[0], again.other[2]] == [10, 11, 12, 13]


def other(function):
    """The way of what is not compiled ahead: one more, to tell them apart."""
    return lambda *values: function(*values) + 1000


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((torch.ones(2), 2), 4.0),  # the same again
        ((torch.ones(3), 2), 1004.0),
        ((torch.ones(2, dtype=torch.float64), 2), 1004.0),
        ((torch.ones(2), 3), 1006.0),
        ((torch.ones(2), 2.0), 1004.0),
        ((torch.ones(2), True), 1002.0),
    ],
)
def test_what_is_compiled_is_for_one_shape_and_for_the_numbers_it_saw(second, expected):
    built, said, scale = [], [], torch.tensor(2.0)
    times = Ahead(lambda x, k: x * scale * k, counted(built), {}, other, said.append)
    first = (torch.ones(2), 2)
    assert times(*first).tolist() == [4.0, 4.0]
    assert times(*second).unique().tolist() == [expected]
    assert times(*first).tolist() == [4.0, 4.0]
    assert times(*second).unique().tolist() == [expected]
    assert built == [[(2,), ()]]
    assert len(said) == (expected != 4.0)
    assert all("sizes change from call to call" in text for text in said)


def test_names_and_their_order_are_part_of_the_shape():
    said = []
    call = Ahead(lambda x: x["a"] - x["b"], interpreted, {}, say=said.append)
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    assert call({"a": one, "b": two}).item() == -1.0
    assert call({"b": two, "a": one}).item() == -1.0


def test_what_cannot_be_compiled_is_called_as_it_is():
    said = []

    def failing(graph, examples, options):
        raise OSError("no compiler\nhere")

    call = Ahead(lambda x: x + 1, failing, {}, other, said.append)
    assert [call(torch.tensor(1.0)).item() for _ in range(12)] == [2.0] * 12
    asks = Ahead(lambda x: x if x > 0 else -x, interpreted, {}, other, said.append)
    assert asks(torch.tensor(-3.0)).item() == 3.0
    assert (
        said[0] == "accel   no code was made (OSError: no compiler): a function is called as it is"
    )
    assert len(said) == 2


def test_what_is_another_at_each_call_or_has_gaps_goes_the_other_way():
    said, count = [], iter(range(1, 100))
    call = Ahead(lambda x: x * next(count), interpreted, {}, other, said.append)
    assert call(torch.tensor(1.0)).item() > 1000
    sliced, spun = torch.arange(6.0)[::2], torch.ones(1).expand(3)
    gaps = Ahead(lambda x: x + sliced + spun, interpreted, {}, other, said.append)
    assert gaps(torch.zeros(3)).tolist() == [1001.0, 1003.0, 1005.0]
    assert ["another at each call" in said[0], "gaps" in said[1], len(said)] == [True, True, 2]


def test_a_constant_made_inside_is_no_change():
    said = []
    call = Ahead(lambda x: x * torch.tensor(2.0), interpreted, {}, other, said.append)
    assert [call(torch.tensor(1.0)).item() for _ in range(12)] == [2.0] * 12
    assert said == []


def test_no_result_shares_memory_with_what_was_given_or_reached():
    held = torch.zeros(3)
    call = Ahead(lambda x: (held, x.view(3, 1), x[:2], held[1:]), interpreted, {})
    given = torch.ones(3)
    results = call(given)
    given.fill_(5.0)
    held.fill_(7.0)
    assert [each.unique().tolist() for each in results] == [[0.0], [1.0], [1.0], [0.0]]


def test_writing_down_writes_nothing_and_reaches_everything_once():
    weight, one, two, extra = (torch.ones(2) for _ in range(4))

    def function(x):
        torch._foreach_add_([one, two], 1.0)
        torch.mul(x, 2.0, out=extra)
        weight.mul_(3.0)
        return weight + weight + one + two + extra

    script = trace(function, (torch.ones(2),), [torch.ones(2)])
    assert [each.tolist() for each in (weight, one, two, extra)] == [[1.0, 1.0]] * 4
    assert len(script.reached) == 4


def test_a_name_is_for_one_program_only(monkeypatch):
    def name(function, x, options=None):
        script = trace(function, (x,), [x])
        return fingerprint(script.graph, (*script.examples, *script.reached), options or {})

    def double(x):
        return x * 2.0

    plain = name(double, torch.ones(2))
    assert plain == name(double, torch.ones(2)) == name(lambda x: x * 2.0, torch.zeros(2))
    names = [
        plain,
        name(lambda x: x * 2.5, torch.ones(2)),
        name(double, torch.ones(3)),
        name(double, torch.ones(2, dtype=torch.float64)),
        name(double, torch.ones(2), {"fallback_random": True}),
        name(double, torch.ones(2), {"fallback_random": False}),
    ]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    names.append(name(double, torch.ones(2)))
    monkeypatch.setattr(torch, "__version__", "0.0")
    names.append(name(double, torch.ones(2)))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("what", ["number", "tensor", "nothing"])
def test_what_is_not_true_any_more_is_found_out(what):
    class Scaled:
        number, tensor = 2.0, torch.tensor(1.0)

        def __call__(self, x):
            return x * self.number * self.tensor

    scaled, said = Scaled(), []
    call = Ahead(scaled, interpreted, {}, say=said.append)
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


ON_POLICY, ENVS = ("ppo", "a2c", "reinforce", "trpo"), ("CartPole-v1", "Pendulum-v1")
MEMORIES = ("gru", "lstm", "transformer")


def fragments(words, transform):
    parts = build_parts(recipe(*words, "preset=none", "num_envs=4", "seed=3"))
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
        columns = (*fragment[:6], *fragment.carry, *fragment.extra.values())
        found += [column.clone() for column in columns]
        with torch.no_grad():
            for parameter in algorithm.policy.parameters():
                parameter.add_(0.01)
    return found


@pytest.mark.parametrize(
    "words",
    [
        *((f"algo={algo}", f"env={env_id}") for algo in ON_POLICY for env_id in ENVS),
        *(("algo=ppo", "env=CartPole-v1", f"network={name}") for name in MEMORIES),
        ("algo=a2c", "env=Pendulum-v1", "network=gru"),
        ("algo=ppo", "env=Pendulum-v1", "algo.policy.action_distribution=gsde"),
    ],
)
def test_acting_is_the_same(words):
    traced = partial(Ahead, backend=interpreted, options={}, say=pytest.fail)
    expected, found = fragments(words, None), fragments(words, traced)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_machine_code_is_the_same_draws_the_same_and_is_made_once(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    weight, count = torch.nn.Parameter(torch.randn(3, 2)), torch.zeros(())

    def function(x):
        count.add_(1)
        noise = torch.randn(4, 2) + torch.randint(5, (4, 2))
        return {"y": (x @ weight).tanh() + noise, "n": count + 1}

    def called():
        call = Ahead(function, machine_code, {"fallback_random": True}, say=pytest.fail)
        torch.manual_seed(1)
        count.zero_()
        return [call(torch.ones(4, 3) * k) for k in range(3)]

    torch.manual_seed(1)
    count.zero_()
    with torch.no_grad():
        expected = [function(torch.ones(4, 3) * k) for k in range(3)]
    torch.testing.assert_close(called(), expected)
    assert count == 3
    with monkeypatch.context() as patch:
        patch.setattr(torch.export, "export", None)  # nothing can be compiled
        torch.testing.assert_close(called(), expected)
    (kept,) = (tmp_path / "rlrun").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])  # damaged: made anew, and the run goes on
    asked = []
    monkeypatch.setattr(programs, "keep", lambda made, place: asked.append(place) or 1 / 0)
    with pytest.raises(pytest.fail.Exception, match="ZeroDivisionError"):
        called()
    assert asked == [kept]
