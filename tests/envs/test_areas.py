"""Pictures made smaller: shares by hand, sums against exact ones, and what is left to OpenCV."""

import sys

import numpy as np
import pytest

from rlrun.envs.wrappers import areas, loops

cv2 = pytest.importorskip("cv2")


def exact(picture, after):
    """Average over areas in whole numbers: every pixel is repeated until the areas fit."""
    tall, wide = (np.lcm(old, new) for old, new in zip(picture.shape, after, strict=True))
    large = np.repeat(
        np.repeat(picture.astype(int), tall // picture.shape[0], 0), wide // picture.shape[1], 1
    )
    sums = large.reshape(after[0], tall // after[0], after[1], wide // after[1]).sum((1, 3))
    count = (tall // after[0]) * (wide // after[1])
    return (2 * sums + count) // (2 * count)


def test_five_pixels_are_shared_by_two():
    first, shares, whole = areas.share(5, 2)
    assert (first.tolist(), shares.tolist(), whole) == ([0, 2], [[2, 2, 1], [1, 2, 2]], 5)


def test_the_shares_of_every_pixel_add_up():
    for old, new in ((160, 84), (210, 84), (96, 84), (12, 3)):
        first, shares, whole = areas.share(old, new)
        assert (shares.sum(1) == whole).all()
        used = np.zeros(old, int)
        for begin, row in zip(first, shares, strict=True):
            used[begin : begin + len(row)] += row
        assert (used == new * whole // old).all()


def test_an_average_is_that_of_the_area_by_hand():
    pytest.importorskip("numba")
    picture = np.zeros((5, 3), np.uint8)
    picture[:, 0] = (10, 20, 30, 40, 50)
    # (2 x 10 + 2 x 20 + 30) / 5 = 18 and (30 + 2 x 40 + 2 x 50) / 5 = 42
    assert areas.averager((5, 3), (2, 3))(picture)[:, 0].tolist() == [18, 42]


def test_halves_are_rounded_upwards():
    pytest.importorskip("numba")
    picture = np.tile(np.array([[0], [1]], np.uint8), (2, 3))
    assert areas.averager((4, 3), (2, 3))(picture).tolist() == [[1, 1, 1], [1, 1, 1]]


SIZES = [
    ((210, 160), (84, 84)),
    ((96, 96), (84, 84)),
    ((9, 7), (3, 7)),
    ((100, 100), (75, 90)),
    ((48, 36), (4, 12)),
    ((36, 48), (12, 4)),
    ((256, 3), (1, 3)),
    *(((257, 3), (1, 3)), ((230, 160), (84, 84)), ((211, 163), (84, 84))),  # more than 16 bits
]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_averages_are_exact_and_those_of_opencv_but_for_rounding(before, after):
    pytest.importorskip("numba")
    average = areas.averager(before, after)
    assert isinstance(average, areas.Areas)  # not OpenCV
    rng = np.random.default_rng(0)
    for top in (1, 255):
        picture = rng.integers(0, top, before, np.uint8, endpoint=True)
        small = average(picture)
        assert (small.dtype, small.flags.c_contiguous) == (np.uint8, True)
        assert (small == exact(picture, after)).all()
        theirs = cv2.resize(picture, after[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(theirs.astype(int) - small).max() <= 1
    assert (average(np.full(before, 255, np.uint8)) == 255).all()


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_rows_that_change_are_averaged_anew_and_only_they(before, after):
    pytest.importorskip("numba")
    average, rng = areas.averager(before, after), np.random.default_rng(0)
    picture = rng.integers(0, 255, before, np.uint8)
    shown = average(picture)
    for row in range(before[0]):
        picture[row, rng.integers(before[1])] ^= 128
        shown, before_it = average(picture), shown
        assert (shown == exact(picture, after)).all()
        covered = row * after[0] // before[0], ((row + 1) * after[0] - 1) // before[0]
        changed = np.flatnonzero((shown != before_it).any(1))
        assert set(changed) <= set(range(covered[0], covered[1] + 1))
    average.rows.small[:] = 77  # nothing changes, so nothing is written
    assert (average(picture) == 77).all()
    picture[0, 0] ^= 128
    again = average(picture)
    assert (again[0] == exact(picture, after)[0]).all()
    assert (again[1:] == 77).all()


def test_the_first_picture_is_averaged_whatever_it_shows():
    for brightness in (0, 1, 255):
        picture = np.full((210, 160), brightness, np.uint8)
        assert (areas.averager((210, 160), (84, 84))(picture) == brightness).all()


def test_two_streams_of_pictures_do_not_meet():
    one, other = (areas.averager((210, 160), (84, 84)) for _ in range(2))
    dark, light = np.zeros((210, 160), np.uint8), np.full((210, 160), 9, np.uint8)
    for _ in range(2):
        assert (one(dark) == 0).all()
        assert (other(light) == 9).all()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(((100, 160), np.uint8), ((210, 400), np.uint8), ((100, 100), np.uint8)),
        *(((210, 160, 1), np.uint8), ((210, 160), np.float32), ((210, 160), np.uint16)),
    ],
)
def test_a_picture_that_is_not_what_was_said_is_opencvs(shape, dtype):
    picture = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    theirs = cv2.resize(picture, (84, 84), interpolation=cv2.INTER_AREA)
    assert (areas.averager((210, 160), (84, 84))(picture) == theirs).all()


def test_a_result_is_not_written_over():
    average = areas.averager((210, 160), (84, 84))
    dark = average(np.zeros((210, 160), np.uint8))
    average(np.full((210, 160), 200, np.uint8))
    assert (dark == 0).all()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(((84, 84), (210, 160)), ((2, 160), (2, 84))),
        *(((4099, 4111), (84, 84)), ((70_000, 3), (35_000, 3))),
    ],
)
def test_what_grows_or_thirty_two_bits_do_not_hold_is_left_to_opencv(before, after):
    picture = np.random.default_rng(0).integers(0, 255, before, np.uint8)
    theirs = cv2.resize(picture, after[::-1], interpolation=cv2.INTER_AREA)
    assert (areas.averager(before, after)(picture) == theirs).all()


def test_without_a_place_to_keep_it_a_loop_is_compiled_anew(monkeypatch):
    numba = pytest.importorskip("numba")
    given = []

    def njit(loop=None, *, cache=False):
        if cache:
            raise RuntimeError("no locator available")
        given.append(loop)
        return "compiled"

    monkeypatch.setattr(numba, "njit", njit)
    assert loops.compiled(exact) == "compiled"
    assert given == [exact]


def test_without_numba_there_is_no_loop(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert loops.compiled(exact) is None


def test_without_numba_opencv_does_it_all(monkeypatch):
    monkeypatch.setattr(areas, "_loop", lambda whole, kind: None)
    picture = np.random.default_rng(0).integers(0, 255, (210, 160), np.uint8)
    theirs = cv2.resize(picture, (84, 84), interpolation=cv2.INTER_AREA)
    assert (areas.averager((210, 160), (84, 84))(picture) == theirs).all()
