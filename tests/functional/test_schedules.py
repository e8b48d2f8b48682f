import pytest

from rlrun.functional.schedules import Schedule


def test_constant():
    schedule = Schedule.parse(0.25)
    assert [schedule(0.0), schedule(0.5), schedule(1.0)] == [0.25, 0.25, 0.25]
    assert schedule == Schedule.constant(0.25)


@pytest.mark.parametrize("value", [{"linear": 0.5}, "lin_0.5", {"linear": "5e-1"}])
def test_linear_runs_to_zero(value):
    schedule = Schedule.parse(value)
    assert [schedule(0.0), schedule(0.5), schedule(1.0)] == [0.5, 0.25, 0.0]


def test_linear_in_full_is_held_after_its_fraction():
    schedule = Schedule.parse({"linear": {"start": 1.0, "end": 0.5, "fraction": 0.25}})
    values = [schedule(progress) for progress in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert values == [1.0, 0.75, 0.5, 0.5, 0.5]


def test_exponential_interpolates_geometrically():
    schedule = Schedule.parse({"exponential": {"start": 1.0, "end": 0.01, "fraction": 0.5}})
    values = [schedule(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert values == pytest.approx([1.0, 0.1, 0.01, 0.01])


def test_progress_outside_the_run_changes_nothing():
    schedule = Schedule.parse("lin_1.0")
    assert schedule(-0.5) == 1.0
    assert schedule(1.5) == 0.0


def test_extremes_are_both_ends():
    assert Schedule.parse("lin_3").extremes() == (3.0, 0.0)
    assert Schedule.parse(2).extremes() == (2.0, 2.0)


@pytest.mark.parametrize(
    "value",
    [0.1, "lin_0.1", {"exponential": {"start": 2, "end": 1}}, {"linear": {"start": 0, "end": 3}}],
)
def test_plain_is_read_back(value):
    schedule = Schedule.parse(value)
    assert Schedule.parse(schedule.plain()) == schedule


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("fast", "'fast' is not a number or a schedule"),
        ("lin_fast", "'fast' is not a number"),
        (True, "True is not a number"),
        (None, "None is not a number"),
        (float("nan"), "nan is not a number"),
        ("inf", "'inf' is not a number"),
        ([1, 2], "is not a number"),
        ({"cosine": 1.0}, "is not a schedule"),
        ({"linear": 1.0, "exponential": 1.0}, "is not a schedule"),
        ({}, "is not a schedule"),
        ({"exponential": 1.0}, "needs {start: ..., end: ...}"),
        ({"linear": {"start": 1.0}}, "takes start, end and fraction"),
        ({"linear": {"start": 1.0, "end": 0.0, "stop": 1}}, "takes start, end and fraction"),
        ({"linear": {"start": 1.0, "end": 0.0, "fraction": 0}}, "fraction 0 is not in (0, 1]"),
        ({"linear": {"start": 1.0, "end": 0.0, "fraction": 2}}, "fraction 2 is not in (0, 1]"),
        ({"exponential": {"start": 1.0, "end": 0.0}}, "needs positive ends"),
    ],
)
def test_what_is_not_a_schedule_is_refused_with_the_reason(value, reason):
    with pytest.raises(ValueError) as fault:  # noqa: PT011 - the message is checked below
        Schedule.parse(value)
    assert reason in str(fault.value)
