"""Times a gradient step on one thread and on all cores: prints the table of docs/performance.md.

    python scripts/threads_cost.py [--repeats 40]

The network is 17 numbers, two hidden layers and 6 outputs; a step is loss, gradient, the check for
finite numbers and Adam. Each time is the least of many: other work only ever adds.
"""

import argparse
import time

import torch
from torch import Tensor, nn

from rlrun.accel.operations import Operations
from rlrun.accel.threads import cores
from rlrun.nets.learner import Learner

WIDTHS, BATCHES = (64, 128, 256, 512, 1024), (64, 256, 1024)
INPUTS, OUTPUTS = 17, 6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40, help="turns of each cell")
    repeats = parser.parse_args().repeats
    most = cores()
    print(f"| width | batch | million operations | 1 thread, us | {most} threads, us | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for width in WIDTHS:
        for batch in BATCHES:
            operations, one, all_cores = timed(width, batch, most, repeats)
            print(
                f"| {width} | {batch} | {operations / 1e6:.1f} | {one * 1e6:.0f} "
                f"| {all_cores * 1e6:.0f} | {one / all_cores:.2f} |",
                flush=True,
            )


def timed(width: int, batch: int, most: int, repeats: int) -> tuple[int, float, float]:
    """Return the operations of a step, and its least seconds on one thread and on the most."""
    layers = [nn.Linear(INPUTS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
    network = nn.Sequential(*layers, nn.Linear(width, OUTPUTS))
    learner, rows = Learner(network.parameters()), torch.randn(batch, INPUTS)

    def loss(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return network(rows).square().mean(), {}

    with Operations() as counted:
        learner.minimize(loss, rows)
    least = {1: float("inf"), most: float("inf")}
    calls = max(3, round(0.01 / (counted.total / 40e9 + 2e-4)))
    for _ in range(repeats):
        for threads in least:
            torch.set_num_threads(threads)
            learner.minimize(loss, rows)
            for _ in range(calls):
                begun = time.perf_counter()
                learner.minimize(loss, rows)
                least[threads] = min(least[threads], time.perf_counter() - begun)
    return counted.total, least[1], least[most]


if __name__ == "__main__":
    main()
