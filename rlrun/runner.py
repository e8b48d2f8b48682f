"""The loop: collect, update, and now and then log, evaluate and save. It names no algorithm."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from rlrun.accel.compiler import compiling
from rlrun.evaluate import Evaluation
from rlrun.experiment import Experiment
from rlrun.types import Metrics

ONE_REQUEST = 1.0
"""Seconds in which signals are one request: `timeout` sends two, to its child and to the group."""


class CompilingStopped(BaseException):
    """Someone asked to stop while the compiler was at work, which catches every `Exception`."""


def train(run: Experiment) -> Evaluation | None:
    """Alternate collecting and updating until the budget is spent.

    The end is always a checkpoint and, unless someone asked to stop, an evaluation; its outcome is
    returned, or None after a stop. Raises Diverged when a gradient is not finite.
    """
    act = partial(run.algorithm.act, explore=True)
    while not run.finished():
        run.algorithm.anneal(run.clock.progress)
        try:
            fragment = run.collector.collect(act, run.algorithm.horizon)
            metrics = run.algorithm.update(fragment)
        except CompilingStopped:
            break  # the clock stands before this fragment, of which little or nothing is learned
        run.clock.advance(fragment)
        tend(run, metrics)
    return finish(run)


def tend(run: Experiment, metrics: Metrics) -> None:
    """Log, evaluate and save where the last advance made it due."""
    periods, clock = run.periods, run.clock
    if clock.crossed(periods.log_every) or run.finished():
        run.log(metrics)
        if not run.finished():
            run.accelerator.consider(clock.progress)
    if clock.crossed(periods.eval_every) and not run.finished():
        run.evaluate(periods.eval_episodes)
    if clock.crossed(periods.save_every) and not run.finished():
        run.save()


def finish(run: Experiment) -> Evaluation | None:
    """Save and evaluate for the last time; in this order, so that nothing learned can be lost."""
    if run.save() is None:
        raise OSError("the last checkpoint could not be saved")
    return None if run.stop_signal else run.evaluate(run.periods.final_eval_episodes)


@contextmanager
def stop_on_signals(run: Experiment) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the loop after the update at hand; a later one exits at once.

    A compiler at work is not waited for: it may take a minute.
    """
    asked = 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if run.stop_signal is not None:
            if time.monotonic() - asked < ONE_REQUEST:
                return
            raise SystemExit(128 + number)
        run.stop_signal, asked = number, time.monotonic()
        name = signal.Signals(number).name
        if compiling(frame):
            run.say(f"{name}: leaving the compiler and saving; again to quit")
            raise CompilingStopped
        run.say(f"{name}: finishing the update and saving; again to quit")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
