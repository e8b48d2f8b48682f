"""`rlrun bench`: how fast it is here, and where the time goes."""

from typing import Any

from rlrun.config import ConfigError, Problem, near_miss

HELP = """usage: rlrun bench [CASE ...] [KEY=VALUE ...] [--repeats N] [--json]

Measure environment steps a second in steady state, on a machine that does nothing else. Without a
CASE all are measured. A KEY is one of `rlrun train`, and is set in every case.

cases: ppo-small, ppo-wide, ppo-epochs, a2c, dqn-zoo, dqn-freq4, sac, td3

options:
  --repeats N  timed repetitions after one warm-up; the median counts (3)
  --json       one line of JSON a case instead of the table

examples:
  rlrun bench ppo-small
  rlrun bench ppo-small accel=compile --repeats 5"""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    cases, words, repeats, as_json = parse(arguments)
    from rlrun.bench import CASES, measure, summary

    for name in cases:
        if name not in CASES:
            hint = near_miss(name, CASES) or f"; there are {', '.join(CASES)}"
            raise ConfigError(Problem("bench", f"unknown case {name!r}{hint}"))
    rows = []
    for name in cases or list(CASES):
        rows.append(summary(name, measure(CASES[name], words, repeats)))
        if as_json:
            import json

            print(json.dumps(rows[-1]), flush=True)
    if not as_json:
        show(rows)
    return 0


def parse(arguments: list[str]) -> tuple[list[str], list[str], int, bool]:
    """Return cases, words for `rlrun train`, repetitions, and whether JSON is wanted."""
    cases: list[str] = []
    words: list[str] = []
    repeats, as_json = 3, False
    rest = iter(arguments)
    for word in rest:
        if word == "--json":
            as_json = True
        elif word.partition("=")[0] == "--repeats":
            value = word.partition("=")[2] or next(rest, "")
            if not value.isdigit() or int(value) < 1:
                raise ConfigError(Problem("--repeats", f"{value!r} is not a number above 0"))
            repeats = int(value)
        elif word.startswith("-"):
            raise ConfigError(Problem("bench", f"unknown option {word!r}; see rlrun bench --help"))
        else:
            (words if "=" in word else cases).append(word)
    return cases, words, repeats, as_json


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    headings = ("case", "steps/s", "slowest", "fastest", "act", "env", "store", "update", "log")
    table = Table(*headings, "other", box=None, padding=(0, 1))
    for row in rows:
        speeds = [f"{row[key]:,}" for key in ("steps_per_second", "slowest", "fastest")]
        parts = ("act", "environment", "store", "update", "logging", "other")
        shares = [f"{row['shares'][part]:.0%}" for part in parts]
        table.add_row(row["case"], *speeds, *shares)
    Console().print(table)
