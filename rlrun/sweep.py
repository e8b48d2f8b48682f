"""A sweep: every combination of values as a job of its own, and one table at the end.

All jobs are composed and checked before the first one starts. Each runs in a process of its own,
so that a crash costs one job and no state leaks from one to the next; processes are forked after
torch is loaded, which saves its start-up time.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from rlrun import rundir
from rlrun.build import build_parts
from rlrun.compose import compose_sweep
from rlrun.config import ConfigError, Problem
from rlrun.launch import Prepared, checked, launch, show
from rlrun.logger.console import PatientConsole
from rlrun.schema import DeviceConfig, Recipe
from rlrun.sweep_table import GROUPED, SIGNALS, Job, print_table, summarise, write_results


def run_sweep(words: list[str], config_dirs: list[Path], at_once: int) -> int:
    """Run every job, `at_once` at a time; return 0, or the exit code of the first job that failed.

    SIGINT and SIGTERM are handed to the running jobs, which save; no other job is started then.
    Raises ConfigError, before any job starts, when the configuration of one of them is wrong.
    """
    # asking the driver, not the runtime, keeps CUDA usable in forked jobs
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    jobs = prepare_sweep(words, config_dirs)
    for job in jobs if at_once > 1 else ():
        job.prepared = _on_one_thread(job.prepared)
    command = ["rlrun", "train", *words, "-m", *(f"--config-dir={each}" for each in config_dirs)]
    folder = rundir.new_folder(_place(jobs), f"{rundir.stamp()}_sweep")
    console = PatientConsole()
    show(console, f"sweep of {len(jobs)} jobs in {folder}")
    _write_ledger(folder, command, jobs)
    try:
        number = _run_all(jobs, folder, at_once, console, command)
    finally:
        rows = summarise(jobs)
        _write_ledger(folder, command, jobs)
        write_results(folder, jobs, rows)
    print_table(console, rows)
    show(console, f"sweep folder {folder}")
    return 128 + number if number else next((job.code for job in jobs if job.code), 0)


def prepare_sweep(words: list[str], config_dirs: list[Path]) -> list[Job]:
    """Compose and check every job, and build each that is not only another seed of one before."""
    composed = compose_sweep(words, config_dirs)
    keys = _varied_keys([each.overrides for each in composed])
    if not composed:
        raise ConfigError(Problem("", "the sweep has no jobs: one of its ranges is empty"))
    jobs, problems, built = list[Job](), dict[tuple[str, str], Problem](), set[str]()
    for index, each in enumerate(composed):
        varied = {key: value for key, value in map(_split, each.overrides) if key in keys}
        label = ",".join(f"{key}={value}" for key, value in varied.items())
        try:
            job = Job(rundir.safe_name(f"{index:03d}_{label}"), checked(each), varied)
            jobs.append(job)
            kind = json.dumps({**job.prepared.recipe.plain(), GROUPED: 0}, sort_keys=True)
            if kind not in built:
                built.add(kind)
                _try(job.prepared.recipe)
        except ConfigError as fault:
            for problem in fault.problems:  # the same fault in fifty jobs is one fault
                problems[(problem.key, problem.message)] = problem
    if problems:
        raise ConfigError(*problems.values())
    return jobs


def _try(recipe: Recipe) -> None:
    """Build and close, on the CPU and one thread: what forked jobs would inherit is of no use.

    A CUDA device that was touched here is lost to them, and so are threads that were started: a job
    would wait for them for ever.
    """
    run = replace(recipe.run, device=DeviceConfig(name="cpu"), threads=1)
    parts = build_parts(replace(recipe, run=run))
    parts.env.close()


def _on_one_thread(prepared: Prepared) -> Prepared:
    """Return a job that runs beside others: `threads=auto` must not take their cores."""
    recipe = prepared.recipe
    threads = 1 if recipe.run.threads == "auto" else recipe.run.threads
    return replace(prepared, recipe=replace(recipe, run=replace(recipe.run, threads=threads)))


def _place(jobs: list[Job]) -> Path:
    """Return where the sweep's folder goes: with the runs of its kind, if they are all of one."""
    runs = [job.prepared.recipe.run for job in jobs]
    places = {(run.algo["name"], rundir.safe_name(run.env.name)) for run in runs}
    output = Path(runs[0].output_dir)
    return output.joinpath(*places.pop()) if len(places) == 1 else output / "sweeps"


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
    jobs: list[Job], folder: Path, at_once: int, console: Console, command: list[str]
) -> int:
    """Run the jobs; return the number of the signal that stopped them, or 0."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    waiting, running = list(jobs), dict[str, tuple[Job, BaseProcess]]()
    stopped = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = number
        waiting.clear()
        for _, process in running.values():  # they are apart, so each gets it once
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)

    before = {number: signal.signal(number, stop) for number in SIGNALS.values()}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                process = context.Process(target=_work, args=(job, folder, command), daemon=False)
                process.start()
                running[job.name] = (job, process)
            time.sleep(0.02)
            for job, process in [each for each in running.values() if not each[1].is_alive()]:
                process.join()
                del running[job.name]
                _conclude(job, process.exitcode, folder, console)
                _write_ledger(folder, command, jobs)
                if job.code in SIGNALS:
                    stopped = stopped or SIGNALS[job.code]
                    waiting.clear()
        return stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for _, process in running.values():
            process.terminate()
            process.join()


def _work(job: Job, folder: Path, command: list[str]) -> None:
    os.setpgid(0, 0)  # Ctrl-C reaches the sweep alone, which hands it on
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
    log = folder / job.name / "log.txt"
    where = f"see {log.name} in its folder" if log.exists() else "before it had a log"
    outcome = f"failed with exit code {job.code} ({where})"
    if job.code in SIGNALS:
        outcome = f"stopped; continue with: rlrun resume {folder / job.name}"
    if job.code == 0:
        job.result = rundir.read_manifest(folder / job.name)["result"]
        assert job.result is not None
        outcome = f"mean_reward {job.result['eval/mean_reward']:.2f}"
    show(console, f"  {job.name}  {outcome}")


def _write_ledger(folder: Path, command: list[str], jobs: list[Job]) -> None:
    entries = [
        {"name": job.name, "overrides": job.prepared.composed.overrides, "exit_code": job.code}
        for job in jobs
    ]
    ledger = {"command": command, "jobs": entries}
    temporary = folder / ".sweep.json"
    temporary.write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / "sweep.json")
