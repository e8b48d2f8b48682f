"""Gray pictures made smaller: every pixel is the average of the area it covers.

The same average as OpenCV's `INTER_AREA`, in a fraction of its time. A result `m` long over a
source `n` long covers `n / m` pixels, so in units of `1 / m` all shares are whole numbers; sums of
them are exact, and only the division at the end rounds, halves upwards. Rows that are as they were
in the picture before are not averaged again: of a game's screen, most are. Numba compiles the loop.
There is no float in it on purpose: between emulated frames, wide arithmetic in floats slows a
processor down for longer than it takes.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlrun.envs.wrappers.loops import Loop, compiled, compiled_once

Average: TypeAlias = Callable[[Any], Any]
"""From a picture `[height, width]` uint8 to a smaller one."""
Kind: TypeAlias = type[np.uint16] | type[np.uint32]
"""Of the numbers in which sums are taken: the smaller, the more at once."""
TAPS = 3
"""Pixels that are added at once; a result is given at least so many, some with a share of 0."""


def averager(before: tuple[int, int], after: tuple[int, int]) -> Average:
    """Return a function from pictures of (height, width) `before` to those `after`.

    `row_average` makes it where it can, OpenCV elsewhere. The two differ by at most 1, where
    OpenCV's floats round otherwise. It remembers the last picture, so every stream of pictures
    should have one of its own. Raises ModuleNotFoundError without OpenCV.
    """
    cv2 = opencv()
    height, width = after

    def of_any_size(picture: Any) -> Any:
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)

    rows = row_average(before, after)
    return of_any_size if rows is None else Areas(rows, before, of_any_size)


def row_average(before: tuple[int, int], after: tuple[int, int]) -> "RowAverage | None":
    """Return the average of pictures of (height, width) `before` as those `after`.

    None without Numba, where the picture does not become smaller both ways, or where sums fit
    neither into 16 bits, as from 210 x 160 to 84 x 84, nor into 32.
    """
    if not all(new <= old >= TAPS for old, new in zip(before, after, strict=True)):
        return None
    whole = math.prod(share(*sizes)[2] for sizes in zip(before, after, strict=True))
    largest = 255 * whole + whole // 2
    kind = np.uint16 if largest < 2**16 else np.uint32
    loop = _loop(whole, kind) if largest < 2**32 and max(before) < 2**16 else None
    return None if loop is None else RowAverage(loop, before, after, kind)


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


class RowAverage:
    """The average over areas of pictures of one size, where told which rows changed."""

    def __init__(
        self, loop: Loop, before: tuple[int, int], after: tuple[int, int], kind: Kind
    ) -> None:
        self._loop = loop
        self._rows = _table(before[0], after[0], kind)
        self._columns = np.ascontiguousarray(_table(before[1], after[1], kind).T)
        self.small = np.zeros(after, np.uint8)  # that of a black picture
        self._room = np.empty((2, max(before)), kind)

    def __call__(self, picture: Any, changed: Any) -> Any:
        """Return the average, an array of its own.

        `changed` `[height]` uint8 is not 0 where a row is not as it was in the picture before, the
        first of which was black.
        """
        self._loop(picture, changed, self._rows, self._columns, self.small, self._room)
        return self.small.copy()


class Areas:
    """The average over areas of pictures, which finds the rows that changed by itself."""

    def __init__(self, rows: RowAverage, shape: tuple[int, int], of_any_size: Average) -> None:
        self.rows, self._of_any_size = rows, of_any_size
        self._last, self._changed = np.zeros(shape, np.uint8), np.zeros(shape[0], np.uint8)
        loop = compiled_once(_compare)
        assert loop is not None, "row_average asks for Numba"
        self._compare = loop

    def __call__(self, picture: Any) -> Any:
        """Return the average, an array of its own."""
        if picture.shape != self._last.shape or picture.dtype != np.uint8:
            return self._of_any_size(picture)  # the loop would read on behind its end
        self._compare(picture, self._last, self._changed)
        return self.rows(picture, self._changed)


def _table(old: int, new: int, kind: Kind) -> NDArray[Any]:
    """Return what `share` says as one array `[new, 1 + taps]`, the first pixel in column 0."""
    first, shares, _ = share(old, new)
    return np.column_stack((first, shares)).astype(kind)


@cache
def _loop(whole: int, kind: Kind) -> Loop | None:
    """Return the loop for sums of that many shares, compiled; None without Numba.

    `whole` is a constant to the compiler, which makes the division a product in whole numbers.
    """
    return compiled(_averaging(whole, kind))


def _compare(picture: Any, last: Any, changed: Any) -> None:
    """Write a picture `[h, w]` to `last`, and to `changed` `[h]` 1 where a row was not equal."""
    for row in range(picture.shape[0]):
        new, old = picture[row], last[row]
        different = np.uint8(0)
        for j in range(new.shape[0]):  # no branch here, so that it vectorises
            different = max(different, np.uint8(new[j] ^ old[j]))
            old[j] = new[j]
        changed[row] = different != 0


def _averaging(whole: int, kind: Kind) -> Loop:
    half = kind(whole // 2)
    one, two = np.uint64(1), np.uint64(2)  # an index plus a signed number would be a float

    def average(picture: Any, changed: Any, rows: Any, columns: Any, small: Any, room: Any) -> None:
        """Write to `small` those rows of a picture `[h, w]` that cover one in `changed` `[h]`.

        `rows` is the table of `h`, `columns` that of `w`, transposed; `room` `[2, max(h, w)]`
        of `kind` is to work in.
        """
        line, sums = room[0], room[1]
        for row in range(small.shape[0]):
            shares, out, stale = rows[row], small[row], 0
            for tap in range(shares.shape[0] - 1):
                stale |= changed[shares[0] + tap] * shares[1 + tap]
            if not stale:
                continue
            a, b, c = shares[1], shares[2], shares[3]
            above, here, below = picture[shares[0]], picture[shares[0] + 1], picture[shares[0] + 2]
            for j in range(above.shape[0]):
                line[j] = a * above[j] + b * here[j] + c * below[j]
            for tap in range(TAPS, shares.shape[0] - 1):
                a, above = shares[1 + tap], picture[shares[0] + tap]
                for j in range(above.shape[0]):
                    line[j] += a * above[j]
            first, left, middle, right = columns[0], columns[1], columns[2], columns[3]
            for j in range(out.shape[0]):
                g = np.uint64(first[j])
                total = left[j] * line[g] + middle[j] * line[g + one] + right[j] * line[g + two]
                sums[j] = total + half
            for tap in range(TAPS, columns.shape[0] - 1):
                left = columns[1 + tap]
                for j in range(out.shape[0]):
                    sums[j] += left[j] * line[first[j] + np.uint16(tap)]
            for j in range(out.shape[0]):
                out[j] = sums[j] // whole

    return average
