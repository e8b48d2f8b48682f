"""Rounds to zero the numbers too small for a float's full precision, which processors do slowly.

The moments of Adam end there: where a unit has died its gradient is 0, and 0.9^k of what was is
below 1.2e-38, the least normal float32, after some 800 steps. Arithmetic on such numbers takes a
hundred times as long, and a network of 256 x 256 has thousands of them; docs/performance.md shows
what that costs.
"""

import torch


def flush_denormals() -> None:
    """Round them to zero in this thread and those it starts; some processors cannot."""
    torch.set_flush_denormal(True)
