from dataclasses import FrozenInstanceError, dataclass
from typing import Any, Literal

import pytest

from rlrun.config import ConfigError, Problem, keys_of, near_miss, option, parse, plain
from rlrun.functional.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = option("how deep", at_least=1)
    flag: bool = option("a switch")


@dataclass(frozen=True, kw_only=True)
class Outer:
    gamma: float = option("discount", at_least=0, at_most=1)
    clip_range: Schedule = option("clipping", above=0, at_most=1)
    target_kl: float | None = option("a limit", above=0)
    sizes: tuple[int, ...] = option("widths", at_least=1)
    mode: Literal["on", "off", "auto"] = option("a choice")
    name: str = option("a word")
    kwargs: dict[str, Any] = option("anything")
    inner: Inner = option("a group")


GOOD: dict[str, Any] = {
    "gamma": 0.9,
    "clip_range": {"linear": {"start": 0.2, "end": 0.1}},
    "target_kl": None,
    "sizes": [64, 32],
    "mode": "auto",
    "name": "net",
    "kwargs": {"a": {"b": 1}},
    "inner": {"depth": 2, "flag": True},
}


def read(**changes: Any) -> tuple[Outer | None, list[Problem]]:
    problems: list[Problem] = []
    return parse(Outer, {**GOOD, **changes}, "algo.", problems), problems


def fault_of(key: str, value: Any) -> str:
    parsed, problems = read(**{key: value})
    assert parsed is None
    assert [problem.key for problem in problems] == [f"algo.{key}"]
    return problems[0].message


def test_a_good_mapping_becomes_a_frozen_schema():
    config, problems = read()
    assert problems == []
    assert config == Outer(
        gamma=0.9,
        clip_range=Schedule("linear", 0.2, 0.1),
        target_kl=None,
        sizes=(64, 32),
        mode="auto",
        name="net",
        kwargs={"a": {"b": 1}},
        inner=Inner(depth=2, flag=True),
    )
    with pytest.raises(FrozenInstanceError):
        config.gamma = 0.5


def test_plain_undoes_parse():
    config, _ = read(target_kl=0.01)
    values = plain(config)
    assert values["sizes"] == [64, 32]
    assert values["clip_range"] == {"linear": {"start": 0.2, "end": 0.1, "fraction": 1.0}}
    assert parse(Outer, values, "", []) == config


def test_all_faults_come_at_once():
    values = {**GOOD, "gama": 1, "gamma": 2, "sizes": [8, 0], "inner": {"depth": 0, "flg": True}}
    del values["name"]
    problems: list[Problem] = []
    assert parse(Outer, values, "algo.", problems) is None
    assert problems == [
        Problem("algo.gama", "unknown key; did you mean algo.gamma?"),
        Problem("algo.gamma", "2 is not in [0, 1]"),
        Problem("algo.sizes", "0 is not in [1, inf)"),
        Problem("algo.name", "is missing"),
        Problem("algo.inner.flg", "unknown key; did you mean algo.inner.flag?"),
        Problem("algo.inner.depth", "0 is not in [1, inf)"),
        Problem("algo.inner.flag", "is missing"),
    ]


def test_the_message_lists_every_problem_in_a_column():
    fault = ConfigError(Problem("algo.gama", "unknown key"), Problem("seed", "is missing"))
    assert str(fault).splitlines() == [
        "2 problems in the configuration:",
        "  algo.gama  unknown key",
        "  seed       is missing",
    ]
    assert str(ConfigError(Problem("seed", "is missing"))) == "seed: is missing"
    assert str(ConfigError(Problem("", "no such run"))) == "no such run"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gamma", -0.2, "-0.2 is not in [0, 1]"),
        ("gamma", 1.5, "1.5 is not in [0, 1]"),
        ("gamma", "abc", "'abc' is not a number"),
        ("gamma", None, "None is not a number"),
        ("gamma", True, "True is not a number"),
        ("gamma", float("nan"), "nan is not a number"),
        ("gamma", float("inf"), "inf is not a number"),
        ("gamma", [0.5], "[0.5] is not a number"),
        ("clip_range", 0, "0 is not in (0, 1]"),
        ("clip_range", "lin_0.2", "0 is not in (0, 1]"),
        ("clip_range", "fast", "'fast' is not a number or a schedule such as {linear: 1e-3}"),
        ("clip_range", {"linear": {"start": 2, "end": 0.5}}, "2 is not in (0, 1]"),
        ("clip_range", {"linear": {"start": 0.5, "end": 2}}, "2 is not in (0, 1]"),
        ("target_kl", 0, "0 is not in (0, inf)"),
        ("target_kl", "off", "'off' is not a number or null"),
        ("sizes", 64, "64 is not a list, write [a, b]"),
        ("sizes", [64, "x"], "'x' is not a whole number"),
        ("sizes", [1.5], "1.5 is not a whole number"),
        ("mode", "atuo", "'atuo' is not one of on, off, auto; did you mean auto?"),
        ("mode", 3, "3 is not one of on, off, auto"),
        ("name", True, "True is not a word"),
        ("name", None, "None is not a word"),
        ("kwargs", 3, "3 is not a group of keys"),
        ("inner", 3, "3 is not a group of keys"),
        ("inner", None, "None is not a group of keys"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(key, value, message):
    assert fault_of(key, value) == message


@pytest.mark.parametrize(
    ("key", "value", "parsed"),
    [
        ("gamma", 0, 0.0),
        ("gamma", 1, 1.0),
        ("clip_range", 1.0, Schedule.constant(1.0)),
        ("target_kl", 0.5, 0.5),
        ("sizes", [], ()),
        ("sizes", (8, 1e2), (8, 100)),
        ("mode", True, "on"),  # YAML 1.1 reads the bare words on and off so
        ("mode", False, "off"),
        ("name", 42, "42"),
    ],
)
def test_a_fair_value_is_taken(key, value, parsed):
    config, problems = read(**{key: value})
    assert problems == []
    result = getattr(config, key)
    assert result == parsed
    assert type(result) is type(parsed)


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_a_switch_takes_only_true_and_false(value):
    parsed, problems = read(inner={"depth": 1, "flag": value})
    assert parsed is None
    assert problems == [Problem("algo.inner.flag", f"{value!r} is not true or false")]


@pytest.mark.parametrize("value", ["1e5", "100000.0"])
def test_a_whole_number_may_be_written_as_a_float(value):
    config, _ = read(inner={"depth": float(value), "flag": True})
    assert config.inner.depth == 100000
    assert isinstance(config.inner.depth, int)


@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["huge", "minus huge"])
def test_a_number_beyond_all_floats_is_refused_and_not_a_crash(value):
    assert "is not" in fault_of("gamma", value)
    _, problems = read(inner={"depth": value, "flag": True})
    assert [problem.key for problem in problems] == ["algo.inner.depth"]


def test_a_number_range_excludes_its_open_ends():
    @dataclass(frozen=True, kw_only=True)
    class Narrow:
        x: float = option("between", above=0, below=1)

    messages = []
    for value in (0, 1, 0.5):
        problems: list[Problem] = []
        parse(Narrow, {"x": value}, "", problems)
        messages += [problem.message for problem in problems]
    assert messages == ["0 is not in (0, 1)", "1 is not in (0, 1)"]


def test_a_schema_may_be_optional():
    @dataclass(frozen=True, kw_only=True)
    class Holder:
        inner: Inner | None = option("a group or nothing")

    assert parse(Holder, {"inner": None}, "", []) == Holder(inner=None)
    whole = parse(Holder, {"inner": {"depth": 1, "flag": False}}, "", [])
    assert whole == Holder(inner=Inner(depth=1, flag=False))


def test_what_is_not_a_mapping_is_refused():
    problems: list[Problem] = []
    assert parse(Outer, [1], "algo.", problems) is None
    assert problems == [Problem("algo", "[1] is not a group of keys")]


def test_a_problem_found_elsewhere_does_not_spoil_a_good_mapping():
    problems = [Problem("seed", "is missing")]
    assert parse(Inner, {"depth": 1, "flag": True}, "", problems) == Inner(depth=1, flag=True)
    assert len(problems) == 1


def test_near_misses():
    words = ["algo.gamma", "algo.gae_lambda", "seed", "CartPole-v1"]
    assert near_miss("algo.gama", words) == "; did you mean algo.gamma?"
    assert near_miss("gamma", words) == "; did you mean algo.gamma?"
    assert near_miss("cartpole-v1", words) == "; did you mean CartPole-v1?"
    assert near_miss("xyzzy", words) == ""


def test_words_known_elsewhere_are_offered_too():
    problems: list[Problem] = []
    parse(Inner, {"depth": 1, "flag": True, "sed": 3}, "", problems, known=["seed"])
    assert problems == [Problem("sed", "unknown key; did you mean seed?")]


def test_keys_of_names_nested_fields():
    assert keys_of(Inner, "algo.") == ["algo.depth", "algo.flag"]
    assert keys_of(Outer)[-3:] == ["inner", "inner.depth", "inner.flag"]
    assert "clip_range.start" not in keys_of(Outer)
