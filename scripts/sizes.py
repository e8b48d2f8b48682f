"""Cost against size, for docs/sizes.json and the pictures of docs/performance.md.

    make sizes                       everything, in some minutes
    make sizes ARGS="width"          one of envs, replay, width
    make sizes ARGS="--draw"         only the pictures, from the figures there are

Every point has a process of its own, with one torch thread. Times are processor time, the median of
several repetitions: what else the machine does then bends no curve by taking turns, only by taking
cache. Resident memory is read from /proc, so this needs Linux with glibc.
"""

import argparse
import ctypes
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import machine
import torch
from replay_cost import Case as Memory
from replay_cost import built, episode

from rlrun.bench import PPO, Case, Timing, measure
from rlrun.data.capacity import bytes_for

DOCS = Path(__file__).parent.parent / "docs"
Row = dict[str, Any]
C = ctypes.CDLL(None)

NUM_ENVS = (1, 4, 16, 64, 256, 1024, 4096)
SAMPLES = 4096
"""Steps an update sees, however many environments they come from."""
WIDTHS = (32, 64, 128, 256, 512, 1024)
BATCH = 256
MEMORIES = {
    "vectors of 8, episodes of 300": (Memory("vectors"), 300),
    "vectors of 8, episodes of 20": (Memory("vectors"), 20),
    "frames of 84 x 84, stacks of 4, episodes of 300": (
        Memory("frames", image=True, stacked=True),
        300,
    ),
}
"""What is remembered, and the length of its episodes."""
ROOMS = {
    False: (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    True: (300, 1_000, 3_000, 10_000, 30_000),
}
"""Values of `buffer_size`, for vectors and for images."""


def main() -> None:
    """Measure what was asked for, keep it, and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    if not set(arguments.parts) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    torch.set_num_threads(1)
    for part in () if arguments.draw else arguments.parts or PARTS:
        record(part, PARTS[part](arguments.repeats), DOCS / "sizes.json")
    from sizes_plots import draw  # matplotlib, which measuring should not need

    draw(json.loads((DOCS / "sizes.json").read_text(encoding="utf-8")), DOCS / "images")


def over_envs(repeats: int) -> list[Row]:
    """Return PPO's steps a second on CartPole, for each number and kind of environments."""
    rows = []
    for kind in ("sync", "torch"):
        for num_envs in NUM_ENVS:
            case = envs_case(kind, num_envs)
            timings = apart(measure, case, [], repeats, time.process_time)
            rows.append(shown({"kind": kind, "num_envs": num_envs, **speed(timings)}))
    return rows


def envs_case(kind: str, num_envs: int) -> Case:
    """Return PPO with four epochs of four minibatches of the same size, whatever `num_envs`."""
    words = (
        *(*PPO, f"num_envs={num_envs}", f"algo.n_steps={SAMPLES // num_envs}"),
        *(f"algo.batch_size={SAMPLES // 4}", "algo.n_epochs=4"),
        *(f"env.vectorization={kind}", "accel=off", "threads=1", "device=cpu"),
    )
    # few environments are slow: fewer updates a repetition keep every point at some seconds
    updates = min(max(num_envs // 16, 1), 4)
    return Case(words, updates * SAMPLES, SAMPLES)


def speed(timings: list[Timing]) -> Row:
    """Return the median steps a second, their range, and microseconds of the parts of a step."""
    rates = sorted(each.steps_per_second for each in timings)
    parts = {
        part: round(statistics.median(each.parts[part] / each.steps for each in timings) * 1e6, 3)
        for part in timings[0].parts
    }
    return {
        "steps_per_second": round(statistics.median(rates)),
        "range": [round(rates[0]), round(rates[-1])],
        "microseconds": parts,
    }


def over_width(repeats: int) -> list[Row]:
    """Return milliseconds of a gradient step of PPO and SAC, for each width of two layers."""
    rows = []
    for algo in ("ppo", "sac"):
        for width in WIDTHS:
            case, gradients = width_case(algo, width)
            timings = apart(measure, case, [], repeats, time.process_time)
            each = sorted(timing.parts["update"] / gradients * 1e3 for timing in timings)
            row = {"algo": algo, "width": width, "milliseconds": statistics.median(each)}
            rows.append(shown({**row, "range": [each[0], each[-1]]}))
    return rows


def width_case(algo: str, width: int) -> tuple[Case, int]:
    """Return what is run, and the gradient steps in one repetition of it."""
    common = (f"network.sizes=[{width},{width}]", f"algo.batch_size={BATCH}")
    common = (*common, "accel=off", "threads=1", "device=cpu")
    updates = max(512 // width, 1)
    if algo == "ppo":  # one minibatch is the whole fragment, 20 times over
        words = (*PPO, "num_envs=8", "algo.n_steps=32", "algo.n_epochs=20", *common)
        return Case(words, updates * BATCH, BATCH), updates * 20
    words = (
        *("algo=sac", "env=Pendulum-v1", "algo.learning_starts=256", "algo.buffer_size=10000"),
        *("algo.train_freq=8", "algo.gradient_steps=8", *common),
    )
    return Case(words, updates * 8, 272), updates * 8


def over_replay(_: int) -> list[Row]:
    """Return the bytes of replay memories: what the check before them expects, and resident."""
    rows = []
    for name, (memory, steps) in MEMORIES.items():
        for capacity in ROOMS[memory.image]:
            expected, resident = apart(held, memory, steps, capacity)
            row = {"kind": name, "buffer_size": capacity, "expected": expected}
            rows.append(shown({**row, "resident": resident}))
    return rows


def held(memory: Memory, steps: int, capacity: int) -> tuple[int, int]:
    """Return the bytes expected of a memory, and how many this process grows by filling it."""
    played = episode(memory, steps)
    small = built(memory, 300)  # what the first use of the code takes is not the memory's
    small.add(played)
    small.sample(32)
    C.malloc_trim(0)  # free room that the allocator holds would hide what is taken from it
    before = anonymous()
    replay = built(memory, capacity)
    # ends have found their room only once the oldest entries were overwritten
    while replay.added < 2.2 * capacity:
        replay.add(played)
    C.malloc_trim(0)
    resident = anonymous() - before
    assert len(replay) == capacity
    return bytes_for(capacity, replay._spec, prioritized=False), resident


def anonymous(status: Path = Path("/proc/self/status")) -> int:
    """Return the bytes this process holds in main memory, without those of files."""
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{status} has no RssAnon")


def apart(function: Callable[..., Any], *values: Any) -> Any:
    """Return a function's result, called in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        return pool.submit(function, *values).result()


def shown(row: Row) -> Row:
    """Print a row and return it."""
    print(json.dumps(row), flush=True)
    return row


def record(part: str, rows: list[Row], store: Path) -> None:
    """Put a part's rows into the file, with where they come from and what else went on there."""
    figures = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    figures[part] = {
        "machine": machine.describe(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
        "rows": rows,
    }
    store.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


PARTS = {"envs": over_envs, "replay": over_replay, "width": over_width}

if __name__ == "__main__":
    main()
