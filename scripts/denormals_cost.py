"""Speed of rlrun's cases with and without numbers too small for a float's full precision.

    python scripts/denormals_cost.py dqn-zoo sac td3

Both ways in turn, each in a process of its own, compiled; what counts is the median of the ratios.
Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

KEPT = "import rlrun.build as build; build.flush_denormals = lambda: None; "
BENCH = "from rlrun.cli import main; main(['bench', '{case}', '--repeats', '1', '--json', {words}])"


def main() -> None:
    """Print a row of a table for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="case")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--words", nargs="*", default=["accel=compile", "env.vectorization=sync"])
    arguments = parser.parse_args()
    print("| case | rounded to zero / kept | range |\n| --- | --- | --- |")
    for case in arguments.cases:
        bench = BENCH.format(case=case, words=", ".join(map(repr, arguments.words)))
        ratios = [speed(bench) / speed(KEPT + bench) for _ in range(arguments.repeats)]
        middle = statistics.median(ratios)
        print(f"| {case} | {middle:.2f} | {min(ratios):.2f} to {max(ratios):.2f} |", flush=True)


def speed(code: str) -> float:
    """Return the steps a second that a process measures."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return float(json.loads(done.stdout.strip().splitlines()[-1])["steps_per_second"])


if __name__ == "__main__":
    main()
