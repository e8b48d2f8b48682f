"""Ratios of rlrun and Stable-Baselines3 on the same work, for docs/performance.json.

    make bench                                   every case, in every way it can be run
    make bench ARGS="ppo-small --ways eager"     one case in one way
    python scripts/bench.py --table              no measuring: the table of docs/performance.md

Each case runs rlrun and the peer in turn, each in a process of its own with one torch thread,
several times; what counts is the median of the ratios, because absolute speed drifts. rlrun's
process measures three times and gives the median: what is compiled is compared with the original
at calls 10, 100, 1000 and so on, which falls into the first. Run it on a machine that does nothing
else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import machine

ROOT = Path(__file__).parent.parent
STORE, PAGE = ROOT / "docs" / "performance.json", ROOT / "docs" / "performance.md"
CASES = {
    "ppo-small": "PPO, CartPole, 4 x 128, 4 epochs x 4 minibatches, 64x64",
    "ppo-wide": "PPO, CartPole, 64 x 128, likewise",
    "ppo-epochs": "PPO, CartPole, 8 x 32, 20 epochs of one batch",
    "a2c": "A2C, CartPole, 8 x 5",
    "dqn-zoo": "DQN, CartPole, RL Baselines3 Zoo's values, 0.5 gradient steps a step, 256x256",
    "dqn-freq4": "DQN, CartPole, a gradient step of 64 every 4 steps, 64x64",
    "sac": "SAC, Pendulum, a gradient step of 256 a step, 256x256",
    "td3": "TD3, Pendulum, likewise",
}
COLUMNS = ("case", "way", "rlrun / Stable-Baselines3", "range", "command")
WAYS = {
    "eager": ["accel=off", "env.vectorization=sync"],
    "compiled": ["accel=compile", "env.vectorization=sync"],
    "batched": ["accel=compile", "env.vectorization=torch"],
    "bfloat16": ["accel=compile", "env.vectorization=torch", "precision=bfloat16"],
}
ROUNDED = ("sac", "td3")
"""The cases that are measured in bfloat16 unless `--ways` says otherwise: large products."""
SHOWN = {
    "eager": "eager, Gymnasium's environments",
    "compiled": "`accel=compile`, Gymnasium's environments",
    "batched": "`accel=compile env.vectorization=torch`",
    "bfloat16": "`accel=compile env.vectorization=torch precision=bfloat16`",
}


def main() -> None:
    """Measure what was asked for; figures of other cases and ways stay in the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="case")
    parser.add_argument("--ways", nargs="+", choices=sorted(WAYS))
    parser.add_argument("--peer", help="the Python that has Stable-Baselines3")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="measure nothing, write the table")
    arguments = parser.parse_args()
    if arguments.table:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    if not arguments.peer:
        parser.error("--peer is needed to measure")
    cases = arguments.cases or list(CASES)
    if not set(cases) <= set(CASES):
        parser.error(f"cases are {', '.join(CASES)}")
    for case in cases:
        usual = [way for way in WAYS if way != "bfloat16" or case in ROUNDED]
        ways = arguments.ways or usual
        for row in in_turn(case, ways, arguments.peer, arguments.repeats):
            print(row, flush=True)
            record(case, row)


def in_turn(case: str, ways: list[str], peer: str, repeats: int) -> list[dict[str, Any]]:
    """Run the peer and each way of rlrun in turn; return a row a way with the median ratio."""
    rlrun = [sys.executable, "-m", "rlrun.cli", "bench", case, "--repeats", "3", "--json"]
    commands = {"peer": [peer, str(ROOT / "scripts" / "peer.py"), case]}
    commands |= {way: [*rlrun, *WAYS[way]] for way in ways}
    found: dict[str, list[float]] = {name: [] for name in commands}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(repeats):
        for name, command in commands.items():
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
            found[name].append(json.loads(done.stdout.splitlines()[-1])["steps_per_second"])
    rows = []
    for way in ways:
        ratios = [mine / theirs for mine, theirs in zip(found[way], found["peer"], strict=True)]
        speeds = {name: round(statistics.median(found[name])) for name in (way, "peer")}
        rows.append(
            {
                "way": way,
                "ratio": round(statistics.median(ratios), 2),
                "range": [round(min(ratios), 2), round(max(ratios), 2)],
                "rlrun": speeds[way],
                "peer": speeds["peer"],
            }
        )
    return rows


def record(case: str, row: dict[str, Any]) -> None:
    """Put one row into the file, with the machine it comes from."""
    held = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    held.setdefault("cases", {}).setdefault(case, {})[row["way"]] = row
    held["machine"] = machine.describe()
    STORE.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_table(page: str) -> str:
    """Return the page with its table of ratios written anew from the file."""
    held = json.loads(STORE.read_text(encoding="utf-8"))["cases"]
    lines = page.splitlines()
    first = lines.index(f"| {' | '.join(COLUMNS)} |")
    last = lines.index("", first)
    rows = [row(case, held[case][way]) for case in CASES for way in WAYS if way in held[case]]
    return "\n".join([*lines[: first + 2], *rows, *lines[last:]]) + "\n"


def row(case: str, found: dict[str, Any]) -> str:
    """Return one line of the table."""
    low, high = found["range"]
    spread = "one pair" if low == high else f"{low} to {high}"
    command = f'`make bench ARGS="{case} --ways {found["way"]}"`'
    cells = (CASES[case], SHOWN[found["way"]], found["ratio"], spread, command)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
