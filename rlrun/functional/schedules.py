"""Schedules: numbers that depend on how far a run is, `progress` in [0, 1].

Written in YAML as a number, as `{linear: 1e-3}` or `lin_1e-3` (from the value down to zero), or in
full as `{linear: {start: 1.0, end: 0.05, fraction: 0.5}}`, where `fraction` is the part of the run
after which `end` is reached and held. `exponential` takes the same three keys and interpolates
geometrically.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Schedule:
    """A function of progress, and data at the same time: it compares, prints and serialises."""

    kind: Literal["constant", "linear", "exponential"]
    start: float
    end: float
    fraction: float = 1.0

    def __call__(self, progress: float) -> float:
        """Return the value at `progress` in [0, 1]; beyond `fraction` it stays at `end`."""
        done = min(max(progress / self.fraction, 0.0), 1.0)
        if self.kind == "exponential":
            return self.start * math.pow(self.end / self.start, done)
        return self.start + (self.end - self.start) * done

    def extremes(self) -> tuple[float, float]:
        """Return the values at both ends, for range checks."""
        return self.start, self.end

    def plain(self) -> Any:
        """Return what YAML and JSON hold and `parse` reads back."""
        if self.kind == "constant":
            return self.start
        return {self.kind: {"start": self.start, "end": self.end, "fraction": self.fraction}}

    @classmethod
    def constant(cls, value: float) -> "Schedule":
        """Return a schedule that never changes."""
        return cls("constant", value, value)

    @classmethod
    def parse(cls, value: Any) -> "Schedule":
        """Read a schedule from a configuration value; ValueError says what is wrong."""
        if isinstance(value, str) and value.startswith("lin_"):
            return cls("linear", _number(value[4:]), 0.0)
        if isinstance(value, dict):
            if len(value) != 1 or next(iter(value)) not in ("linear", "exponential"):
                raise ValueError(f"{value!r} is not a schedule; write {{linear: 1e-3}}")
            (kind, body), *_ = value.items()
            return cls._parse_body(kind, body)
        return cls.constant(_number(value))

    @classmethod
    def _parse_body(cls, kind: Any, body: Any) -> "Schedule":
        if not isinstance(body, dict):
            if kind == "exponential":
                raise ValueError("an exponential schedule needs {start: ..., end: ...}")
            return cls(kind, _number(body), 0.0)
        unknown = set(body) - {"start", "end", "fraction"}
        if unknown or not {"start", "end"} <= set(body):
            raise ValueError(f"a {kind} schedule takes start, end and fraction, got {body!r}")
        start, end = _number(body["start"]), _number(body["end"])
        fraction = _number(body.get("fraction", 1.0))
        if not 0.0 < fraction <= 1.0:
            raise ValueError(f"fraction {fraction:g} is not in (0, 1]")
        if kind == "exponential" and min(start, end) <= 0.0:
            raise ValueError("an exponential schedule needs positive ends")
        return cls(kind, start, end, fraction)


def _number(value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a number or a schedule such as {{linear: 1e-3}}")
    return number
