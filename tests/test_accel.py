"""Compiled and eager learning are the same learning."""

import logging
import warnings
from functools import partial

import pytest
import torch

from rlrun.accel import accelerator, compiler
from rlrun.accel.accelerator import WORTH_ACTING, WORTH_COMPILING, Accelerator
from rlrun.accel.ahead import Ahead
from rlrun.accel.compiler import ahead, check_accel, compiled
from rlrun.accel.programs import interpreted
from rlrun.build import build_parts
from rlrun.config import ConfigError
from rlrun.data.collector import Collector
from rlrun.nets.learner import Learner
from tests.contract.test_algorithms import fitting
from tests.recipes import ALGORITHMS, changed

UPDATES = 6


def only_sizes(text: str) -> None:
    """Hear of what is not compiled: nothing, but where the sizes of batches change."""
    assert "sizes change" in text


def traced(function):
    """The way of a CPU, but for its machine code."""
    return Ahead(function, interpreted, {}, say=only_sizes)


WAYS = {"a CPU's": traced, "a GPU's": partial(compiled, backend="aot_eager")}


def learned(name: str, way, **algo) -> list[torch.Tensor]:
    """Return the parameters of every learner after some updates."""
    parts = build_parts(changed(fitting(name), algo))
    algorithm = parts.algorithm
    learners = [part for part in algorithm.parts().values() if isinstance(part, Learner)]
    for learner in learners if way else ():
        learner.transform(way)
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, 0)
    act = partial(algorithm.act, explore=True)
    torch.manual_seed(0)
    steps = 0
    while min((each.updates for each in learners), default=UPDATES) < UPDATES:
        algorithm.anneal(steps / 10_000)
        algorithm.update(collector.collect(act, algorithm.horizon))
        steps += algorithm.horizon
    parts.env.close()
    return [learner.flat.clone() for learner in learners]


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("way", WAYS)
def test_one_graph_equals_eager(way, name):
    for one, other in zip(learned(name, None), learned(name, WAYS[way]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"distributional": "qr"},
        {"distributional": "c51", "prioritized": True, "double": True, "dueling": True},
        {"use_sde": True},
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_switches_equal_eager(way, options):
    name = "sac" if "use_sde" in options else "dqn"
    eager, graph = learned(name, None, **options), learned(name, WAYS[way], **options)
    for one, other in zip(eager, graph, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not compiler.has_compiler(), reason="needs a C++ compiler")
def test_generated_code_equals_eager():
    for way in (partial(ahead, say=pytest.fail), compiled):
        torch.testing.assert_close(
            learned("ppo", None)[0], learned("ppo", way)[0], rtol=1e-4, atol=1e-5
        )


class Watched:
    """A collector that notes whether it is told to unroll."""

    device = torch.device("cpu")

    def __init__(self, able: bool = True) -> None:
        self.unrolls, self.told = able, 0

    def transform(self, transform) -> None:
        self.told += 1


class Told:
    """An algorithm with one learner that counts what it is told."""

    steady, runner = True, "sync"
    __module__ = "rlrun.algos.told"

    def __init__(self) -> None:
        self.learner = Learner([torch.nn.Parameter(torch.zeros(2))])

    def parts(self):
        return {"learner": self.learner}

    @property
    def transformed(self) -> bool:
        return self.learner._transform is not None


@pytest.mark.parametrize(
    ("mode", "updates", "start", "progress", "expected"),
    [
        ("auto", WORTH_COMPILING, 0.0, 0.5, True),
        ("auto", WORTH_COMPILING - 1, 0.0, 0.5, False),  # as many lie ahead as were done
        ("auto", WORTH_COMPILING // 9 + 1, 0.0, 0.1, True),
        ("auto", WORTH_COMPILING // 4 + 1, 0.5, 0.6, True),  # a resumed run,
        ("auto", 10 * WORTH_COMPILING, 0.0, 1.0, False),
        ("auto", 0, 0.0, 0.0, False),
        ("off", 10 * WORTH_COMPILING, 0.0, 0.5, False),
        ("compile", 0, 0.0, 0.0, True),
    ],
)
def test_auto_compiles_where_much_work_lies_ahead(
    mode, updates, start, progress, expected, monkeypatch
):
    monkeypatch.setattr(accelerator, "has_compiler", lambda: True)
    told, said = Told(), []
    told.steady = False
    asked = Accelerator(mode, told, Watched(), 0, said.append)
    told.learner.updates = 7  # steps of before it was first asked do not count
    asked.consider(start)
    told.learner.updates += updates
    asked.consider(progress)
    assert told.transformed is expected
    asked.consider(progress)
    assert len(said) == expected


@pytest.mark.parametrize(
    ("mode", "able", "steady", "steps", "progress", "expected"),
    [
        ("auto", True, True, 2 * WORTH_ACTING, 0.5, True),
        ("auto", True, True, 2 * WORTH_ACTING - 2, 0.5, False),
        ("auto", False, True, 9 * WORTH_ACTING, 0.0, True),
        ("auto", True, False, 9 * WORTH_ACTING, 0.0, False),
        ("off", True, True, 9 * WORTH_ACTING, 0.0, False),
        ("compile", True, True, 0, 0.0, True),
        ("compile", False, True, 0, 0.0, True),
        ("compile", True, False, 0, 0.0, False),
    ],
)
def test_collecting_is_unrolled_where_many_steps_lie_ahead(
    mode, able, steady, steps, progress, expected, monkeypatch
):
    monkeypatch.setattr(accelerator, "has_compiler", lambda: True)
    told, collector = Told(), Watched(able)
    told.steady = steady
    asked = Accelerator(mode, told, collector, steps, lambda text: None)
    asked.consider(progress)
    asked.consider(progress)
    assert collector.told == expected


@pytest.mark.parametrize("where", ["on a GPU", "a plug-in's algorithm", "a plug-in's network"])
@pytest.mark.parametrize("able", [True, False])
def test_elsewhere_acting_is_compiled_only_together_with_environments(able, where, monkeypatch):
    monkeypatch.setattr(accelerator, "has_compiler", lambda: True)
    told, collector = Told(), Watched(able)
    if where == "on a GPU":
        collector.device = torch.device("cuda")
    elif where == "a plug-in's algorithm":
        told.__class__ = type("Foreign", (Told,), {"__module__": "my_rl.algos"})
    else:
        layer = type("Layer", (torch.nn.Linear,), {"__module__": "my_rl.networks"})(1, 1)
        parts = {"learner": told.learner, "policy": torch.nn.Sequential(layer)}
        told.parts = lambda: parts
    Accelerator("compile", told, collector, 0, lambda text: None)
    assert collector.told == able
    assert told.learner._transform.keywords == {"graph": "compile"}


def test_without_a_compiler_auto_stays_eager_and_compile_is_refused(monkeypatch):
    for module in (accelerator, compiler):
        monkeypatch.setattr(module, "has_compiler", lambda: False)
    told = Told()
    asked = Accelerator("auto", told, Watched(), 10 * WORTH_ACTING, print)
    asked.consider(0.0)
    told.learner.updates = WORTH_COMPILING
    asked.consider(0.5)
    assert not told.transformed
    check_accel("auto", "cpu")
    with pytest.raises(ConfigError, match=r"accel: needs a C\+\+ compiler"):
        check_accel("compile", "cpu")


@pytest.mark.parametrize("asked", [False, True])
def test_the_compiler_says_of_its_own_code_what_it_is_asked_for(monkeypatch, asked):
    log = logging.getLogger("torch._inductor.ir")
    monkeypatch.setattr(log, "level", logging.WARNING)
    monkeypatch.setattr(log, "_cache", {})
    monkeypatch.setenv("TORCH_LOGS", "+inductor" if asked else "")
    compiler.hush.cache_clear()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        compiler.hush()
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("something else", FutureWarning, stacklevel=1)
    assert len(heard) == 1 + asked
    assert log.level == (logging.WARNING if asked else logging.ERROR)
    compiler.hush.cache_clear()
