"""The table at the end of a sweep: jobs that differ by seed alone are one row."""

import csv
import signal
import statistics
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlrun.launch import Prepared

GROUPED = "seed"
"""Jobs that differ in nothing else are one row of the table."""
SIGNALS = {128 + number: number for number in (signal.SIGINT, signal.SIGTERM)}
"""From the exit code of a job that was asked to stop to the signal that asked."""


@dataclass
class Job:
    """One run of a sweep and how it ended."""

    name: str
    prepared: Prepared
    varied: dict[str, str]
    code: int | None = None
    result: dict[str, float] | None = None


@dataclass(frozen=True)
class Row:
    """The jobs that differ by seed alone, together."""

    varied: dict[str, str]
    scores: list[float]
    failed: int
    stopped: int = 0

    @property
    def mean(self) -> float:
        """Mean over seeds of each seed's mean return."""
        return statistics.fmean(self.scores) if self.scores else float("nan")

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds, of at least two."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    def cells(self, names: list[str]) -> list[str]:
        """Return the row for people."""
        mean = f"{self.mean:.2f}" if self.scores else "-"
        std = "-" if self.std is None else f"{self.std:.2f}"
        return [*(self.varied.get(name, "") for name in names), mean, std]

    @property
    def seeds(self) -> str:
        """How many seeds count, and what became of the others."""
        others = {"failed": self.failed, "stopped": self.stopped}
        said = ", ".join(f"{count} {fate}" for fate, count in others.items() if count)
        return f"{len(self.scores)} ({said})" if said else str(len(self.scores))


def summarise(jobs: list[Job]) -> list[Row]:
    """Gather jobs into rows."""
    groups: dict[tuple[tuple[str, str], ...], list[Job]] = {}
    for job in jobs:
        key = tuple((name, value) for name, value in job.varied.items() if name != GROUPED)
        groups.setdefault(key, []).append(job)
    rows = []
    for key, members in groups.items():
        scores = [job.result["eval/mean_reward"] for job in members if job.result]
        codes = [job.code for job in members if job.code]
        stopped = sum(code in SIGNALS for code in codes)
        rows.append(Row(dict(key), scores, len(codes) - stopped, stopped))
    return rows


def write_results(folder: Path, jobs: list[Job], rows: list[Row]) -> None:
    """Write `results.csv`, a line a job and a row, and `summary.md`."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.varied))
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", *keys, "mean_reward", "std_over_seeds", "seeds", "job"])
        for job in jobs:
            score = job.result["eval/mean_reward"] if job.result else ""
            cells = [job.varied.get(key, "") for key in keys]
            writer.writerow(["job", *cells, score, "", "", job.name])
        for row in rows:
            cells = [row.varied.get(key, "") for key in keys]
            writer.writerow(["mean", *cells, row.mean, row.std, len(row.scores), ""])
    names = [key for key in keys if key != GROUPED]
    lines = ["| " + " | ".join([*names, "mean reward", "std over seeds", "seeds"]) + " |"]
    lines.append("|" + " --- |" * (len(names) + 3))
    for row in rows:
        lines.append("| " + " | ".join([*row.cells(names), str(len(row.scores))]) + " |")
    (folder / "summary.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def print_table(console: Console, rows: list[Row]) -> None:
    """Show the rows."""
    names = list(dict.fromkeys(name for row in rows for name in row.varied))
    table = Table(*names, "mean reward", "std over seeds", "seeds")
    for row in rows:
        # a swept list, [64,64], is no markup
        table.add_row(*map(escape, row.cells(names)), row.seeds)
    console.print(table)
