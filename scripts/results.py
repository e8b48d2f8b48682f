"""Trains the rows of docs/results.yaml again and writes docs/results.md.

    python scripts/results.py                          every row, all its seeds
    python scripts/results.py ppo/CartPole-v1 a2c      one row, and all rows of an algorithm
    python scripts/results.py --seeds 0 1 --jobs 1     fewer seeds, one job at a time
    python scripts/results.py --missing                only what has no figure yet
    python scripts/results.py --table                  no training: the page from docs/results.json

The figures of each seed are kept in docs/results.json; a run replaces its own and leaves the rest.
"""

import argparse
import fcntl
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent.parent / "docs"
SEEDS = 5
METRIC = "mean_reward"
COLUMNS = ("environment", "algorithm", "steps", "result", "each seed", "to reach", "published")

HEAD = """# Results

Final policy, deterministic actions, 100 evaluation episodes at the end of training in environments
apart from those of training. *Result* is the mean over seeds with the standard deviation between
seeds. Every row is its preset under `conf/preset/`, trained by its command below; `make results`
trains them all again, `make results ARGS=ppo/CartPole-v1` one of them. The last policy counts, not
the best one seen. Fewer episodes: 20 on highway-fast, where each takes seconds; 1 on stocks, which
always plays the same history; 2 on Pong, a smoke run of 200,000 steps that is to end near -21.
"""


def main() -> int:
    """Train what was asked for and write the page; 1 if a run failed."""
    arguments = parse_arguments()
    everything = yaml.safe_load((DOCS / "results.yaml").read_text(encoding="utf-8"))
    jobs = [
        (row, seed)
        for row in choose(everything, arguments.rows)
        for seed in arguments.seeds or range(row.get("seeds", SEEDS))
        if not (arguments.missing and str(seed) in recorded().get(row["name"], {}))
    ]
    failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = (
            [] if arguments.table else [pool.submit(train, *job, arguments.output) for job in jobs]
        )
        for run in as_completed(runs):
            failed += not run.result()
    (DOCS / "results.md").write_text(page(everything, recorded()), encoding="utf-8")
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", help="names of rows, or of algorithms; none means all")
    parser.add_argument("--seeds", type=int, nargs="+", help="other seeds than the row's own")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--output", default="runs/results", help="where the run folders are made")
    parser.add_argument("--missing", action="store_true", help="skip seeds that have a figure")
    parser.add_argument("--table", action="store_true", help="train nothing, write the page")
    return parser.parse_args()


def choose(rows: list[dict[str, Any]], wanted: list[str]) -> list[dict[str, Any]]:
    """Return the rows named, by themselves or by their algorithm; exit if a name fits none."""
    for name in wanted:
        if not any(name in (row["name"], row["name"].partition("/")[0]) for row in rows):
            names = ", ".join(row["name"] for row in rows)
            sys.exit(f"results.py: no row {name!r}; there are {names}")
    return [
        row
        for row in rows
        if not wanted or {row["name"], row["name"].partition("/")[0]} & set(wanted)
    ]


def train(row: dict[str, Any], seed: int, output: str) -> bool:
    """Run one row with one seed and record what its manifest says; False if it failed."""
    Path(output).mkdir(parents=True, exist_ok=True)
    place = tempfile.mkdtemp(prefix=f"{row['name'].replace('/', '_')}_s{seed}_", dir=output)
    verb, *words = shlex.split(row["command"])
    program = [str(Path(sys.executable).with_name(verb)), *words]
    command = [*program, f"seed={seed}", f"output_dir={place}"]
    environment = {**os.environ, "CI": "true", "OMP_NUM_THREADS": "1"}
    print(f"{row['name']} seed {seed}: {place}", flush=True)
    with (Path(place) / "output.txt").open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False)
    manifests = list(Path(place).rglob("manifest.json"))
    results = [json.loads(m.read_text()) for m in manifests if m.parent.name != "checkpoints"]
    result = next((each["result"] for each in results if "result" in each), None)
    if done.returncode or result is None:
        print(f"{row['name']} seed {seed}: exit {done.returncode}, see {place}/output.txt")
        return False
    print(f"{row['name']} seed {seed}: {result['eval/mean_reward']:.2f}", flush=True)
    metric = row.get("metric", METRIC)
    record(row["name"], seed, {metric: result[f"eval/{metric}"], "steps": result["steps"]})
    return True


def recorded() -> dict[str, Any]:
    """Return the figures held: by row and seed."""
    store = DOCS / "results.json"
    held: dict[str, Any] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    return held


def record(name: str, seed: int, figure: dict[str, float]) -> None:
    """Put one figure beside those held, also while another process does the same."""
    with (DOCS / "results.yaml").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        figures = recorded()
        figures.setdefault(name, {})[str(seed)] = figure
        text = json.dumps(figures, indent=1, sort_keys=True) + "\n"
        (DOCS / "results.json").write_text(text, encoding="utf-8")


def page(rows: list[dict[str, Any]], figures: dict[str, Any]) -> str:
    """Return docs/results.md."""
    shown = [row for row in rows if figures.get(row["name"])]
    lines = [HEAD, line(COLUMNS), line(["---"] * len(COLUMNS))]
    lines += [line(cells(row, figures[row["name"]])) for row in shown]
    lines += ["", "## Commands", "", "```sh"]
    lines += [f"{row['command']} seed={seeds(row)} -m" for row in shown]
    return "\n".join([*lines, "```", ""])


def seeds(row: dict[str, Any]) -> str:
    """Return the seeds of a row as a sweep has them."""
    return ",".join(map(str, range(row.get("seeds", SEEDS))))


def line(texts: list[str] | tuple[str, ...]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(texts)} |"


def cells(row: dict[str, Any], figures: dict[str, dict[str, float]]) -> list[str]:
    """Return a row's cells: its figures over seeds, in the order of `COLUMNS`."""
    algorithm, _, environment = row["name"].partition("/")
    runs = [figures[seed] for seed in sorted(figures, key=int)]
    metric = row.get("metric", METRIC)
    values = [figure[metric] for figure in runs]
    mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    steps = max(figure["steps"] for figure in runs)
    digits = 1 if metric == METRIC else 3
    reached = "" if mean >= row["target"] - 0.5 * 10**-digits else " (short)"
    return [
        environment,
        algorithm if metric == METRIC else f"{algorithm} ({metric.replace('_', ' ')})",
        f"{steps:,.0f}",
        f"{mean:.{digits}f} ± {spread:.{digits}f}{reached}",
        ", ".join(f"{value:.{digits}f}" for value in values),
        f"{row['target']:g}",
        row["published"],
    ]


if __name__ == "__main__":
    sys.exit(main())
