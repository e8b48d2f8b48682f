import pytest
import torch

from rlrun.clock import Clock
from rlrun.types import Fragment


def fragment(steps: int, num_envs: int = 4) -> Fragment:
    rows = torch.zeros(steps, num_envs)
    return Fragment(rows, rows, rows, rows, rows.bool(), rows.bool(), (), {})


def test_counts_steps_over_all_environments():
    clock = Clock(100)
    clock.advance(fragment(5))
    clock.advance(fragment(3))
    assert (clock.steps, clock.updates) == (32, 2)
    assert clock.progress == 0.32


def test_progress_never_exceeds_one():
    clock = Clock(10)
    assert clock.progress == 0.0
    clock.advance(fragment(5))
    assert clock.progress == 1.0


def test_an_update_without_steps_counts_as_one():
    clock = Clock(100)
    clock.advance(fragment(0))
    clock.advance(fragment(0))
    assert (clock.steps, clock.updates) == (2, 2)


def test_a_period_is_due_when_a_multiple_is_reached_or_passed():
    clock = Clock(100)
    due = []
    for steps in (2, 3, 5, 6, 1):  # at 8, 20, 40, 64, 68
        clock.advance(fragment(steps))
        due.append((clock.crossed(20), clock.crossed(0), clock.crossed(1000)))
    assert due == [
        (False, False, False),
        (True, False, False),
        (True, False, False),
        (True, False, False),
        (False, False, False),
    ]


def test_a_restored_clock_continues_and_is_not_due_again():
    clock, other = Clock(100), Clock(100)
    clock.advance(fragment(5))
    other.load_state_dict(clock.state_dict())
    assert (other.steps, other.updates) == (20, 1)
    assert clock.crossed(20)
    assert not other.crossed(20)
    other.advance(fragment(5))
    assert other.crossed(20)
    assert other.progress == pytest.approx(0.4)


def test_counts_kept_elsewhere_are_due_like_ones_own():
    clock = Clock(100)
    clock.advance_to(30, 3)
    assert (clock.steps, clock.updates, clock.progress) == (30, 3, pytest.approx(0.3))
    assert clock.crossed(20)
    clock.advance_to(30, 3)
    assert not clock.crossed(20)
    clock.advance_to(41, 4)
    assert clock.crossed(20)
