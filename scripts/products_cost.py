"""Times float32 products by MKL and by oneDNN: prints the table of docs/performance.md.

    python scripts/products_cost.py [--repeats 5]

A layer's product with a batch, on one thread; each time is the least of `--repeats` means over 100.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from rlrun.accel.products import onednn_is_faster, through_onednn

WIDTHS, BATCHES, CALLS = (64, 128, 256, 512), (1, 64, 256), 100


def main() -> None:
    """Print the table, and whether a run on this machine would use it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("| width | batch | million operations | MKL, us | oneDNN, us | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for width in WIDTHS:
        for batch in BATCHES:
            inputs, weight = torch.randn(batch, width), torch.randn(width, width)
            usual = seconds(lambda a=inputs, b=weight: a @ b.t(), repeats)  # type: ignore[misc]
            with through_onednn():
                other = seconds(lambda a=inputs, b=weight: a @ b.t(), repeats)  # type: ignore[misc]
            operations = 2 * batch * width * width / 1e6
            times = f"{usual * 1e6:.0f} | {other * 1e6:.0f} | {usual / other:.2f}"
            print(f"| {width} | {batch} | {operations:.1f} | {times} |", flush=True)
    print("\nused on this machine:", onednn_is_faster())


def seconds(product: Callable[[], Tensor], repeats: int) -> float:
    """Return the seconds of one call."""
    means = []
    for _ in range(repeats):
        begun = time.perf_counter()
        for _ in range(CALLS):
            product()
        means.append((time.perf_counter() - begun) / CALLS)
    return min(means)


if __name__ == "__main__":
    main()
