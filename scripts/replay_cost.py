"""What a replay memory costs: time of a draw of 32 and of a step added, and bytes a transition.

Run it as `python scripts/replay_cost.py`, on a machine that does nothing else. A time is the best
of several medians, with one torch thread. Prints the table of docs/performance.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
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
    Case(
        "4x84x84, frames, prioritized, n_step=3",
        image=True,
        stacked=True,
        n_step=3,
        prioritized=True,
    ),
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


def episode(case: Case, steps: int = EPISODE) -> Fragment:
    """Return an episode of one environment, `[steps, 1, ...]`."""
    if case.image:
        pictures = torch.randint(0, 256, (steps + 1, SIDE, SIDE), dtype=torch.uint8)
        moving = torch.cat([pictures[:1].expand(FRAMES - 1, -1, -1), pictures])
        obs = moving.unfold(0, FRAMES, 1).permute(0, 3, 1, 2).unsqueeze(1).contiguous()
    else:
        obs = torch.randn(steps + 1, 1, *VECTOR.shape)
    action, reward = torch.zeros(steps, 1, dtype=torch.int64), torch.ones(steps, 1)
    never = torch.zeros(steps, 1, dtype=torch.bool)
    ended = never.clone()
    ended[-1] = True
    return Fragment(obs[:-1], action, reward, obs[1:], ended, never, (), {})


def single_steps(fragment: Fragment) -> list[Fragment]:
    """Return a fragment's steps one by one."""
    columns = zip(*(column.split(1) for column in fragment[:6]), strict=True)
    return [Fragment(*column, (), {}) for column in columns]


def measure(case: Case, rows: int, repeats: int) -> tuple[float, float, float, float]:
    """Return microseconds a draw, a priority update and a step added, and bytes a row."""
    torch.manual_seed(0)
    replay, played = built(case, rows), episode(case)
    while replay.added < 1.2 * rows:
        replay.add(played)
    drawing = min(_median(lambda _: replay.sample(BATCH), range(200)) for _ in range(repeats))
    batch = replay.sample(BATCH)
    index = [batch.index] * 200
    error = batch.reward * torch.rand(BATCH)
    updating = min(
        _median(lambda drawn: replay.update_priorities(drawn, error), index) for _ in range(repeats)
    )
    adding = min(_median(replay.add, single_steps(played)) for _ in range(repeats))
    return drawing, updating, adding, _allocated(replay) / len(replay)


def _median(function: Callable[[Any], Any], arguments: Iterable[Any]) -> float:
    """Return the median microseconds of a call."""
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
    parser.add_argument("--vectors", type=int, default=1_000_000, help="transitions of vectors")
    parser.add_argument("--images", type=int, default=10_000, help="transitions of images")
    parser.add_argument("--repeats", type=int, default=7, help="medians of which the best counts")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| observations, draws | a draw of 32, us | priorities of 32, us | a step, us | bytes |")
    print("| --- | --- | --- | --- | --- |")
    for case in CASES:
        if arguments.only in case.name:
            rows = arguments.images if case.image else arguments.vectors
            drawing, updating, adding, size = measure(case, rows, arguments.repeats)
            shown = f"{updating:.0f}" if case.prioritized else ""
            print(f"| {case.name} | {drawing:.0f} | {shown} | {adding:.0f} | {size:,.0f} |")


if __name__ == "__main__":
    main()
