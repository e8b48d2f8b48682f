"""From a mapping to frozen dataclasses, with every fault named in one message.

A schema is a frozen, keyword-only dataclass whose fields are made by `option`: the annotation is
the type, the metadata holds the range and the meaning. No field has a default, because YAML holds
every value. `parse` collects problems instead of stopping at the first.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One fault: the key it was found at and a sentence that says what is wrong and what helps."""

    key: str
    message: str


class ConfigError(Exception):
    """The user's mistake: shown as one message without a traceback; the exit code is 2."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.problems) == 1:
            problem = self.problems[0]
            return f"{problem.key}: {problem.message}" if problem.key else problem.message
        width = max(len(problem.key) for problem in self.problems)
        rows = [f"  {problem.key:<{width}}  {problem.message}" for problem in self.problems]
        return "\n".join([f"{len(self.problems)} problems in the configuration:", *rows])


def option(
    meaning: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Declare a field: its meaning and the interval its number, or each of them, must lie in."""
    return dataclasses.field(
        metadata={
            "meaning": meaning,
            "low": (at_least if above is None else above, above is not None),
            "high": (at_most if below is None else below, below is not None),
        }
    )


def near_miss(word: str, words: Iterable[str]) -> str:
    """Return `; did you mean X?` for the closest of `words`, or an empty string."""
    words = list(words)
    folded = {candidate.lower(): candidate for candidate in reversed(words)}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    if not close:  # "gamma" for "algo.gamma"
        last = {candidate.rsplit(".", 1)[-1].lower(): candidate for candidate in reversed(words)}
        found = difflib.get_close_matches(word.rsplit(".", 1)[-1].lower(), last, n=1, cutoff=0.75)
        return f"; did you mean {last[found[0]]}?" if found else ""
    return f"; did you mean {folded[close[0]]}?"


def keys_of(schema: type, prefix: str = "") -> list[str]:
    """Return the dotted names of all fields of a schema, nested ones included."""
    hints = typing.get_type_hints(schema)
    names = []
    for field in dataclasses.fields(schema):
        nested = _schema_in(hints[field.name])
        names.append(prefix + field.name)
        if nested is not None:
            names += keys_of(nested, f"{prefix}{field.name}.")
    return names


def parse(
    schema: type[T],
    values: Any,
    prefix: str,
    problems: list[Problem],
    known: Iterable[str] = (),
) -> T | None:
    """Build `schema` from a mapping; append what is wrong to `problems` and return None then.

    `prefix` is written before each key ("algo."); `known` widens the words offered as near misses.
    """
    if not isinstance(values, Mapping):
        problems.append(Problem(prefix.rstrip("."), f"{values!r} is not a group of keys"))
        return None
    before = len(problems)
    built = _fields(schema, values, prefix, problems, known)
    return schema(**built) if len(problems) == before else None


def valid(schema: type, values: Any) -> dict[str, Any]:
    """Return those fields of a schema that are right by themselves, whatever is wrong beside."""
    return _fields(schema, values, "", [], ()) if isinstance(values, Mapping) else {}


def _fields(
    schema: type, values: Any, prefix: str, problems: list[Problem], known: Iterable[str]
) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    fields = {field.name: field for field in dataclasses.fields(schema)}
    words = [*keys_of(schema, prefix), *known]
    for key in values:
        if key not in fields:
            hint = near_miss(f"{prefix}{key}", words)
            problems.append(Problem(f"{prefix}{key}", f"unknown key{hint}"))
    built: dict[str, Any] = {}
    for name, field in fields.items():
        key = f"{prefix}{name}"
        if name not in values:
            problems.append(Problem(key, "is missing"))
            continue
        nested = _schema_in(hints[name])
        absent = values[name] is None and type(None) in typing.get_args(hints[name])
        if nested is not None and not absent:
            built[name] = parse(nested, values[name], f"{key}.", problems, known)
            continue
        try:
            converted = _convert(hints[name], values[name])
            _check_range(converted, field.metadata)
            built[name] = converted
        except ValueError as fault:
            problems.append(Problem(key, str(fault)))
    return built


def plain(config: Any) -> Any:
    """Turn a parsed schema back into what JSON can hold."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        if hasattr(config, "plain"):
            return config.plain()
        return {
            field.name: plain(getattr(config, field.name)) for field in dataclasses.fields(config)
        }
    if isinstance(config, Mapping):
        return {str(key): plain(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [plain(value) for value in config]
    return config


def _schema_in(hint: Any) -> type | None:
    """Return the nested schema of an annotation; types with a `parse` of their own are leaves."""
    for part in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(part) and not hasattr(part, "parse"):
            return typing.cast(type, part)
    return None


def _convert(hint: Any, value: Any) -> Any:
    """Return `value` as the annotated type, or raise ValueError with the reason."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value)
    if origin is typing.Literal:
        return _convert_choice(arguments, value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{value!r} is not a list, write [a, b]")
        return tuple(_convert(arguments[0], item) for item in value)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{value!r} is not a group of keys")
        return dict(value)
    if hasattr(hint, "parse"):
        return hint.parse(value)
    return _convert_scalar(hint, value)


def _convert_union(arguments: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in arguments:
        return None
    reasons = []
    for argument in arguments:
        if argument is not type(None):
            try:
                return _convert(argument, value)
            except ValueError as fault:
                reasons.append(str(fault))
    either = " or null" if type(None) in arguments else ""
    words = any(typing.get_origin(argument) is typing.Literal for argument in arguments)
    if words and int in arguments:
        raise ValueError(f"{reasons[0]}, nor a whole number")
    raise ValueError(reasons[0] + either)


def _convert_choice(choices: tuple[Any, ...], value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as False and `on` as True, where the schema means the word
    word = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
    if value in choices and type(value) in {type(choice) for choice in choices}:
        return value
    if word in choices:
        return word
    names = ", ".join(str(choice) for choice in choices)
    raise ValueError(f"{value!r} is not one of {names}{near_miss(str(value), map(str, choices))}")


def _convert_scalar(hint: Any, value: Any) -> Any:
    if hint is Any:
        return value
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and _is_finite(value):
        if value == int(value):  # 1e5 is a fair way to write 100000
            return int(value)
    elif hint is float and _is_finite(value):
        return float(value)
    elif hint is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    noun = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    raise ValueError(f"{value!r} is not {noun.get(hint, hint)}")


def _is_finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _check_range(value: Any, metadata: Mapping[str, Any]) -> None:
    if "low" not in metadata:
        return
    (low, low_open), (high, high_open) = metadata["low"], metadata["high"]
    if low is None and high is None:
        return
    left = "(-inf" if low is None else f"{'(' if low_open else '['}{_in_words(low)}"
    right = "inf)" if high is None else f"{_in_words(high)}{')' if high_open else ']'}"
    for number in _numbers(value):
        too_low = low is not None and (number < low or (low_open and number == low))
        too_high = high is not None and (number > high or (high_open and number == high))
        if too_low or too_high:
            raise ValueError(f"{number:g} is not in {left}, {right}")


def _in_words(bound: float) -> str:
    """Return a bound as people write it: a power of two that large as such."""
    if isinstance(bound, int) and bound >= 2**20 and bound & (bound - 1) == 0:
        return f"2^{bound.bit_length() - 1}"
    return f"{bound:g}"


def _numbers(value: Any) -> list[float]:
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, tuple):
        return [number for item in value for number in _numbers(item)]
    if hasattr(value, "extremes"):
        return list(value.extremes())
    return []
