"""Steps a second in steady state, beside Stable-Baselines3 on the same work.

Run it as `make bench`, on a machine that does nothing else. Each case runs rlrun and the peer in
turn, each in a process of its own with one torch thread, several times; what counts is the median
of the ratios, because absolute speed drifts. Writes docs/performance.json and prints a table.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PPO = ["algo=ppo", "env=CartPole-v1", "preset=none", "algo.ent_coef=0.01"]
# case: words of `rlrun train`, environment steps timed, and untimed before
CASES = {
    "ppo-small": (
        [
            *PPO,
            "num_envs=4",
            "algo.n_steps=128",
            "algo.batch_size=128",
            "algo.learning_rate=2.5e-4",
        ],
        40_960,
        1_024,
    ),
    "ppo-wide": (
        [
            *PPO,
            "num_envs=64",
            "algo.n_steps=128",
            "algo.batch_size=2048",
            "algo.learning_rate=2.5e-4",
        ],
        262_144,
        8_192,
    ),
    "ppo-epochs": (
        [
            *PPO[:3],
            "num_envs=8",
            "algo.n_steps=32",
            "algo.batch_size=256",
            "algo.n_epochs=20",
            "algo.gamma=0.98",
            "algo.gae_lambda=0.8",
            "algo.learning_rate=1e-3",
        ],
        25_600,
        512,
    ),
    "a2c": (["algo=a2c", "env=CartPole-v1", "preset=none", "num_envs=8"], 40_000, 800),
}


def measure(case: str) -> dict[str, float]:
    """Train one case in this process; return steps, seconds and the share of collecting."""
    from functools import partial

    from rlrun.build import build_parts
    from rlrun.clock import Clock
    from rlrun.data.collector import Collector
    from rlrun.launch import prepare

    words, steps, warm_up = CASES[case]
    parts = build_parts(prepare([*words, "seed=1"], []).recipe)
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, 1)
    act, clock = partial(algorithm.act, explore=True), Clock(steps + warm_up)
    collecting, begun = 0.0, time.perf_counter()
    while clock.steps < steps + warm_up:
        if clock.steps < warm_up:
            collecting, begun = 0.0, time.perf_counter()
        algorithm.anneal(clock.progress)
        before = time.perf_counter()
        fragment = collector.collect(act, algorithm.horizon)
        collecting += time.perf_counter() - before
        algorithm.update(fragment)
        clock.advance(fragment)
    seconds = time.perf_counter() - begun
    parts.env.close()
    return {"steps_per_second": steps / seconds, "share_collecting": collecting / seconds}


def in_turn(case: str, peer: str, repeats: int) -> dict[str, object]:
    """Run rlrun and the peer in turn; return both medians and the median ratio."""
    commands = {
        "rlrun": [sys.executable, __file__, "--one", case],
        "peer": [peer, str(ROOT / "scripts" / "peer.py"), case],
    }
    found: dict[str, list[float]] = {"rlrun": [], "peer": []}
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(repeats):
        for name, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
            found[name].append(json.loads(done.stdout.splitlines()[-1])["steps_per_second"])
    ratios = [mine / theirs for mine, theirs in zip(found["rlrun"], found["peer"], strict=True)]
    medians = {name: round(statistics.median(values)) for name, values in found.items()}
    spread = [round(min(ratios), 2), round(max(ratios), 2)]
    return {"case": case, **medians, "ratio": round(statistics.median(ratios), 2), "range": spread}


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="case")
    parser.add_argument("--one", choices=sorted(CASES), help="measure rlrun alone, here")
    parser.add_argument("--peer", help="the Python that has Stable-Baselines3")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    if not args.peer or not set(args.cases) <= set(CASES):
        parser.error(f"name the peer's Python with --peer, and cases among {sorted(CASES)}")
    rows = []
    for case in args.cases:
        rows.append(in_turn(case, args.peer, args.repeats))
        print(rows[-1], flush=True)
    report = {"machine": platform.processor() or platform.machine(), "rows": rows}
    (ROOT / "docs" / "performance.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
