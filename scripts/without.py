"""Speed of rlrun's cases with and without one of the things that are to make it faster.

    python scripts/without.py denormals dqn-zoo sac td3     numbers too small are rounded to zero
    python scripts/without.py onednn sac td3                oneDNN makes large float32 products
    python scripts/without.py powers ppo-small              Adam's powers are computed once a step
    python scripts/without.py thin dqn-zoo                  thin products are loops in their kernels
    python scripts/without.py ahead dqn-freq4 --words accel=compile env.vectorization=torch
                                                            compiled code is called without guards

Both ways in turn, each in a process of its own that measures three times, compiled; programs that
are made without it are kept apart. What counts is the median of the ratios. Run it on a machine
that does nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

WITHOUT = {
    "denormals": "import rlrun.build as room; room.flush_denormals = lambda: None; ",
    "onednn": "import rlrun.accel.precision as room; room.onednn_is_faster = lambda: False; ",
    "powers": "import rlrun.nets.optimizer as room; room._once = lambda scalar: scalar; ",
    "ahead": "import rlrun.accel.accelerator as room; room.fast = (lambda way: "
    "lambda guarded, *rest, **named: way(True, *rest, **named))(room.fast); ",
    "thin": "import rlrun.accel.rewrites as room; room.thin = lambda product: False; ",
}
BENCH = "from rlrun.cli import main; main(['bench', '{case}', '--repeats', '3', '--json', {words}])"


def main() -> None:
    """Print a row of a table for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thing", choices=sorted(WITHOUT))
    parser.add_argument("cases", nargs="+", metavar="case")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--words", nargs="*", default=["accel=compile", "env.vectorization=sync"])
    arguments = parser.parse_args()
    without = WITHOUT[arguments.thing]
    print(f"| case | with {arguments.thing} / without | range |\n| --- | --- | --- |")
    for case in arguments.cases:
        bench = BENCH.format(case=case, words=", ".join(map(repr, arguments.words)))
        with tempfile.TemporaryDirectory() as apart:
            ratios = [
                speed(bench) / speed(without + bench, TORCHINDUCTOR_CACHE_DIR=apart)
                for _ in range(arguments.repeats)
            ]
        middle = statistics.median(ratios)
        print(f"| {case} | {middle:.2f} | {min(ratios):.2f} to {max(ratios):.2f} |", flush=True)


def speed(code: str, **settings: str) -> float:
    """Return the steps a second that a process measures."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return float(json.loads(done.stdout.strip().splitlines()[-1])["steps_per_second"])


if __name__ == "__main__":
    main()
