"""A sweep: every combination of values as a job of its own, and one table at the end.

All jobs are composed and checked before the first one starts. Each runs in a process of its own,
so that a crash costs one job and no state leaks from one to the next; processes are forked after
torch is loaded, which saves its start-up time.
"""

import csv
import json
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlrun import rundir
from rlrun.compose import compose_sweep
from rlrun.config import ConfigError
from rlrun.launch import Prepared, checked, launch

GROUPED = "seed"
"""Jobs that differ in nothing else are one row of the table."""


@dataclass
class Job:
    """One run of a sweep and how it ended."""

    name: str
    prepared: Prepared
    varied: dict[str, str]
    code: int | None = None
    result: dict[str, float] | None = None


def run_sweep(words: list[str], config_dirs: list[Path], at_once: int) -> int:
    """Run every job, `at_once` at a time; return 0, or the exit code of the first job that failed.

    Raises ConfigError, before any job starts, when the configuration of one of them is wrong.
    """
    # asking the driver, not the runtime, keeps CUDA usable in forked jobs
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    jobs = _prepare(words, config_dirs)
    first = jobs[0].prepared.recipe.run
    output = Path(first.output_dir) / first.algo["name"] / rundir.safe_name(first.env.name)
    folder = rundir.new_folder(output, f"{rundir.stamp()}_sweep")
    console = Console()
    console.print(f"sweep of {len(jobs)} jobs in {folder}", highlight=False, soft_wrap=True)
    _write_ledger(folder, words, jobs)
    try:
        _run_all(jobs, folder, at_once, console, words)
    finally:
        rows = _summarise(jobs)
        _write_ledger(folder, words, jobs)
        _write_results(folder, jobs, rows)
    _print_table(console, rows)
    console.print(f"sweep folder {folder}", highlight=False, soft_wrap=True)
    return next((job.code for job in jobs if job.code), 0)


def _prepare(words: list[str], config_dirs: list[Path]) -> list[Job]:
    composed = compose_sweep(words, config_dirs)
    keys = _varied_keys([each.overrides for each in composed])
    jobs, problems = [], {}
    for index, each in enumerate(composed):
        varied = {key: value for key, value in map(_split, each.overrides) if key in keys}
        label = ",".join(f"{key}={value}" for key, value in varied.items())
        try:
            job = Job(rundir.safe_name(f"{index:03d}_{label}"), checked(each), varied)
            jobs.append(job)
        except ConfigError as fault:
            for problem in fault.problems:  # the same fault in fifty jobs is one fault
                problems[(problem.key, problem.message)] = problem
    if problems:
        raise ConfigError(*problems.values())
    return jobs


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+"), value


def _varied_keys(overrides: list[list[str]]) -> set[str]:
    seen: dict[str, set[str]] = {}
    for job in overrides:
        for key, value in map(_split, job):
            seen.setdefault(key, set()).add(value)
    return {key for key, values in seen.items() if len(values) > 1}


def _run_all(
    jobs: list[Job], folder: Path, at_once: int, console: Console, words: list[str]
) -> None:
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    waiting, running = list(jobs), dict[str, tuple[Job, BaseProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                process = context.Process(target=_work, args=(job, folder, words), daemon=False)
                process.start()
                running[job.name] = (job, process)
            time.sleep(0.02)
            for name, (job, process) in list(running.items()):
                if not process.is_alive():
                    process.join()
                    del running[name]
                    _conclude(job, process.exitcode, folder, console)
                    _write_ledger(folder, words, jobs)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _work(job: Job, folder: Path, words: list[str]) -> None:
    command = ["rlrun", "train", *words, "-m"]
    try:
        code = launch(job.prepared, command=command, parent=folder, name=job.name, quiet=True)
    except ConfigError as fault:
        print(f"rlrun: {job.name}: {fault}", file=sys.stderr)
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a forked child must not run the parent's exit handlers


def _conclude(job: Job, code: int | None, folder: Path, console: Console) -> None:
    job.code = code if code is not None and code >= 0 else 1
    outcome = f"failed with exit code {job.code} (see its log.txt)"
    if job.code == 0:
        job.result = rundir.read_manifest(folder / job.name)["result"]
        assert job.result is not None
        outcome = f"mean_reward {job.result['eval/mean_reward']:.2f}"
    console.print(f"  {job.name}  {outcome}", highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Row:
    """The jobs that differ by seed alone, together."""

    varied: dict[str, str]
    scores: list[float]
    failed: int

    @property
    def mean(self) -> float:
        """Mean over seeds of each seed's mean return."""
        return statistics.fmean(self.scores) if self.scores else float("nan")

    @property
    def std(self) -> float:
        """Sample standard deviation over seeds."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0


def _summarise(jobs: list[Job]) -> list[Row]:
    groups: dict[tuple[tuple[str, str], ...], list[Job]] = {}
    for job in jobs:
        key = tuple((name, value) for name, value in job.varied.items() if name != GROUPED)
        groups.setdefault(key, []).append(job)
    rows = []
    for key, members in groups.items():
        scores = [job.result["eval/mean_reward"] for job in members if job.result]
        rows.append(Row(dict(key), scores, sum(bool(job.code) for job in members)))
    return rows


def _write_ledger(folder: Path, words: list[str], jobs: list[Job]) -> None:
    entries = [
        {"name": job.name, "overrides": job.prepared.composed.overrides, "exit_code": job.code}
        for job in jobs
    ]
    ledger = {"command": ["rlrun", "train", *words, "-m"], "jobs": entries}
    temporary = folder / ".sweep.json"
    temporary.write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / "sweep.json")


def _write_results(folder: Path, jobs: list[Job], rows: list[Row]) -> None:
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
        cells = [row.varied.get(name, "") for name in names]
        figures = [f"{row.mean:.2f}", f"{row.std:.2f}", str(len(row.scores))]
        lines.append("| " + " | ".join([*cells, *figures]) + " |")
    (folder / "summary.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _print_table(console: Console, rows: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row.varied))
    table = Table(*names, "mean reward", "std over seeds", "seeds")
    for row in rows:
        failed = f" ({row.failed} failed)" if row.failed else ""
        cells = [row.varied.get(name, "") for name in names]
        table.add_row(*cells, f"{row.mean:.2f}", f"{row.std:.2f}", f"{len(row.scores)}{failed}")
    console.print(table)
