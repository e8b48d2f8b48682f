"""Gray pictures made smaller: every pixel is the average of the area it covers.

The same average as OpenCV's `INTER_AREA`, six times as fast. A result `m` long over a source `n`
long covers `n / m` pixels, so in units of `1 / m` all shares are whole numbers; sums of them are
exact, and only the division at the end rounds, halves upwards. First whole rows are added up, then,
of the transposed sums, again whole rows: loops over 16-bit numbers that vectorise. Numba compiles
them. There is no float in them on purpose: between emulated frames, wide arithmetic in
floats slows a processor down for longer than it takes.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Average: TypeAlias = Callable[[Any], Any]
"""From a picture `[height, width]` uint8 to a smaller one."""
TAPS = 3
"""Rows that are added at once; every result is given at least so many, some with a share of 0."""


@cache
def averager(before: tuple[int, int], after: tuple[int, int]) -> Average:
    """Return the function from pictures of (height, width) `before` to those `after`.

    Numba makes it where it is installed, the picture becomes smaller both ways, and the sums fit
    into 16 bits, as from 210 x 160 to 84 x 84; OpenCV elsewhere. The two differ by at most 1, where
    OpenCV's floats round otherwise. The same sizes give the same function, whose memory to work in
    then stays in the processor's cache; it is not for threads. Raises ModuleNotFoundError without
    OpenCV.
    """
    cv2 = opencv()
    height, width = after

    def of_any_size(picture: Any) -> Any:
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)

    if all(new <= old >= TAPS for old, new in zip(before, after, strict=True)):
        whole = math.prod(share(*sizes)[2] for sizes in zip(before, after, strict=True))
        loops = _loops(whole) if 255 * whole + whole // 2 < 2**16 else None
        if loops is not None:
            return _compiled(loops, before, after, of_any_size)
    return of_any_size


def opencv() -> Any:
    """Return OpenCV, on one thread. Raises ModuleNotFoundError where it is not installed."""
    import cv2

    cv2.setNumThreads(1)  # for small pictures a second thread costs more than it brings
    return cv2


def share(old: int, new: int) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Return of each of `new` pixels the first of `old` it covers, its shares, and their sum.

    First `[new]`, shares `[new, taps]` of the pixels from the first on; `taps` is what the widest
    needs and at least `TAPS`.
    """
    common = math.gcd(old, new)
    unit, whole = new // common, old // common
    begins = np.arange(new) * whole
    taps = max(TAPS, int(np.max((begins % unit + whole - 1) // unit + 1)))
    first = np.minimum(begins // unit, old - taps)
    edges = (first[:, None] + np.arange(taps)) * unit
    ends = np.minimum(edges + unit, begins[:, None] + whole)
    return first, np.maximum(ends - np.maximum(edges, begins[:, None]), 0), whole


def _compiled(
    loops: tuple[Any, Any], before: tuple[int, int], after: tuple[int, int], of_any_size: Average
) -> Average:
    cv2 = opencv()
    add, divide = loops
    first_row, rows, _ = share(before[0], after[0])
    first_column, columns, _ = share(before[1], after[1])
    rows, columns = rows.astype(np.uint16), columns.astype(np.uint16)
    added = np.empty((after[0], before[1]), np.uint16)
    turned, sums = np.empty((before[1], after[0]), np.uint16), np.empty(after[::-1], np.uint16)
    averaged = np.empty(after[::-1], np.uint8)

    def average(picture: Any) -> Any:
        if picture.shape != before or picture.dtype != np.uint8:
            return of_any_size(picture)  # the loops would read on behind its end
        add(picture, added, first_row, rows)
        cv2.transpose(added, turned)
        add(turned, sums, first_column, columns)
        divide(sums, averaged)
        return cv2.transpose(averaged)

    return average


@cache
def _loops(whole: int) -> tuple[Any, Any] | None:
    """Return the two loops compiled, the second for sums of that many shares; None without Numba.

    `whole` is a constant to the compiler, which makes the division a product of 16 bits.
    """
    try:
        import numba
    except ImportError:
        return None
    add, divide = _add, _divide(whole)
    try:
        return numba.njit(cache=True)(add), numba.njit(cache=True)(divide)
    except RuntimeError:  # nowhere to keep what it compiles
        return numba.njit(add), numba.njit(divide)


def _add(source: Any, sums: Any, first: Any, shares: Any) -> None:
    """Write to each row of `sums` `[m, width]` the shares of those of `source` `[n, width]`."""
    width = source.shape[1]
    for row in range(sums.shape[0]):
        begin, line = first[row], sums[row]
        a, b, c = shares[row, 0], shares[row, 1], shares[row, 2]
        above, here, below = source[begin], source[begin + 1], source[begin + 2]
        for j in range(width):
            line[j] = a * above[j] + b * here[j] + c * below[j]
        for tap in range(3, shares.shape[1]):
            factor, here = shares[row, tap], source[begin + tap]
            for j in range(width):
                line[j] += factor * here[j]


def _divide(whole: int) -> Callable[..., None]:
    half = np.uint16(whole // 2)

    def divide(sums: Any, averaged: Any) -> None:
        """Write sums to `averaged`, divided and rounded."""
        for row in range(sums.shape[0]):
            line, rounded = sums[row], averaged[row]
            for j in range(line.shape[0]):
                rounded[j] = np.uint16(line[j] + half) // whole

    return divide
