"""What a replay memory costs: microseconds to draw a batch of 32, to add a step, and bytes a row.

Run it as `python scripts/replay_cost.py`, on a machine that does nothing else. A time is the best
of several medians, with one torch thread. Prints the table of docs/performance.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rlrun.data.priorities import PrioritizedConfig
from rlrun.data.replay import Replay
from rlrun.functional.schedules import Schedule
from rlrun.types import EnvSpec, Fragment

BATCH, FRAMES, SIDE, EPISODE = 32, 4, 84, 300
VECTOR = spaces.Box(-np.inf, np.inf, (8,), np.float32)
IMAGE = spaces.Box(0, 255, (FRAMES, SIDE, SIDE), np.uint8)
PRIORITIZED = PrioritizedConfig(alpha=0.6, beta=Schedule.constant(0.4), epsilon=1e-6)


@dataclass(frozen=True)
class Case:
    """A kind of observation and of draws; `stacked` declares the images as stacks of frames."""

    name: str
    image: bool = False
    stacked: bool = False
    n_step: int = 1
    prioritized: bool = False


CASES = (
    Case("vector of 8, uniform"),
    Case("vector of 8, n_step=3", n_step=3),
    Case("vector of 8, prioritized", prioritized=True),
    Case("vector of 8, prioritized, n_step=3", n_step=3, prioritized=True),
    Case("4x84x84, stored whole, uniform", image=True),
    Case("4x84x84, frames, uniform", image=True, stacked=True),
    Case("4x84x84, frames, prioritized", image=True, stacked=True, prioritized=True),
    Case("4x84x84, frames, all", image=True, stacked=True, n_step=3, prioritized=True),
)


def built(case: Case, capacity: int) -> Replay:
    """Return an empty replay memory of one environment."""
    extra: dict[str, Any] = {"frame_stack": FRAMES} if case.stacked else {}
    spec = EnvSpec("cost", 1, IMAGE if case.image else VECTOR, spaces.Discrete(6), **extra)
    prioritized = PRIORITIZED if case.prioritized else None
    return Replay(
        capacity, spec, torch.device("cpu"), batch_size=BATCH, n_step=case.n_step,
        gamma=0.99, prioritized=prioritized,
    )  # fmt: skip


def steps(case: Case) -> Iterator[Fragment]:
    """Yield steps of one environment without end, episodes of 300 steps."""
    action, reward = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1)
    never, flags = torch.zeros(1, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    obs, t = _first(case), 0
    while True:
        t += 1
        following = _after(obs, case)
        done = flags if t % EPISODE == 0 else never
        yield Fragment(obs, action, reward, following, done, never, (), {})
        obs = _first(case) if t % EPISODE == 0 else following


def _first(case: Case) -> Tensor:
    if not case.image:
        return torch.randn(1, 1, *VECTOR.shape)
    return _picture().expand(1, 1, FRAMES, SIDE, SIDE).contiguous()


def _after(obs: Tensor, case: Case) -> Tensor:
    return torch.cat([obs[:, :, 1:], _picture()], 2) if case.image else torch.randn_like(obs)


def _picture() -> Tensor:
    return torch.randint(0, 256, (1, 1, 1, SIDE, SIDE), dtype=torch.uint8)


def measure(case: Case, rows: int, repeats: int) -> tuple[float, float, float]:
    """Return microseconds a draw and an addition, and allocated bytes a row."""
    torch.manual_seed(0)
    replay, source = built(case, rows), steps(case)
    for _ in range(rows + rows // 4):
        replay.add(next(source))

    def draw() -> None:
        batch = replay.sample(BATCH)
        if case.prioritized:
            replay.update_priorities(batch.index, batch.reward)

    sampling = min(_median(lambda: replay.sample(BATCH), 200) for _ in range(repeats))
    if case.prioritized:
        updating = min(_median(draw, 200) for _ in range(repeats)) - sampling
        print(f"  (priorities of a batch: {updating:.0f} us)")
    ready = [next(source) for _ in range(100)]
    adding = min(_median_of(replay.add, ready) for _ in range(repeats))
    return sampling, adding, _allocated(replay) / rows


def _median(function: Callable[[], Any], count: int) -> float:
    return _median_of(lambda _: function(), range(count))


def _median_of(function: Callable[[Any], Any], arguments: Any) -> float:
    times = []
    for argument in arguments:
        begun = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def _allocated(part: Any) -> int:
    """Return the bytes of every tensor and array an object holds, each storage once."""
    found: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, np.ndarray):
            found[value.__array_interface__["data"][0]] = value.nbytes
        elif isinstance(value, dict):
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                visit(inner)
        elif type(value).__module__.startswith("rlrun.data"):
            visit(vars(value))

    visit(part)
    return sum(found.values())


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000, help="transitions kept")
    parser.add_argument("--repeats", type=int, default=7, help="medians of which the best counts")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| observations, draws | us a draw of 32 | us a step added | bytes a row |")
    print("| --- | --- | --- | --- |")
    for case in CASES:
        if arguments.only in case.name:
            found = measure(case, arguments.rows, arguments.repeats)
            print("| {} | {:.0f} | {:.0f} | {:,.0f} |".format(case.name, *found))


if __name__ == "__main__":
    main()
