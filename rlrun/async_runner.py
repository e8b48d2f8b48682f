"""The loop of algorithms whose copies learn side by side, each in a process of its own.

A worker does what `runner.train` does, collect and update, with one environment and a copy of the
network, and moves parameters that lie in shared memory. This process counts, logs, evaluates and
saves: from time to time it copies the shared parameters into an algorithm of its own.
"""

import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch import multiprocessing as processes  # adds that tensors are handed over by reference

from rlrun.algos.base import Algorithm
from rlrun.data.collector import Collector
from rlrun.evaluate import Evaluation
from rlrun.experiment import Experiment
from rlrun.nets.shared_learner import SharedLearner, SharedMemory
from rlrun.runner import finish, tend
from rlrun.types import Diverged, Metrics

REPORT_EVERY = 0.2
"""Seconds between a worker's reports; also the longest that a signal goes unnoticed."""

PATIENCE = 2.0
"""Seconds that workers get to finish the update at hand before they are killed."""

PRELOADED = ["rlrun.build"]
"""What the fresh process imports once, for all workers."""


class Board(NamedTuple):
    """What all processes see. Each worker writes its own place only, so nothing needs a lock.

    `steps` and `updates` `[N + 1]` count since the run began; the last place holds what a
    resumed run started with. `stop` `[1]` is set once.
    """

    steps: Tensor
    updates: Tensor
    stop: Tensor


class Job(NamedTuple):
    """What a worker is started with."""

    worker: int
    make_worker: Callable[[int], tuple[Algorithm, Collector]]
    memory: list[SharedMemory]
    board: Board
    total: int


class Report(NamedTuple):
    """What a worker says: its last update, and the episodes it finished since it last spoke."""

    metrics: dict[str, float]
    returns: list[float]
    lengths: list[int]


class Failure(NamedTuple):
    """Why a worker ended before its time."""

    reason: str
    diverged: bool


def train(run: Experiment) -> Evaluation | None:
    """Let workers learn until the budget is spent; the same promises as `runner.train`.

    Raises Diverged when a worker's gradient is not finite, RuntimeError when a worker falls.
    """
    with Workers(run) as workers:
        workers.start()
        while not run.finished():
            workers.listen(REPORT_EVERY)
            workers.count()
            tend(run, workers.metrics)
    workers.count()
    return finish(run)


class Workers:
    """N processes that learn; a context manager that ends every one of them."""

    def __init__(self, run: Experiment) -> None:
        self.run = run
        self.metrics: dict[str, float] = {}
        self._learners = shared_learners(run.algorithm)
        self._count = run.algorithm.spec.num_envs
        self.board = Board(_counters(self._count + 1), _counters(self._count + 1), _counters(1))
        self.board.steps[-1], self.board.updates[-1] = run.clock.steps, run.clock.updates
        self._processes: dict[Connection, BaseProcess] = {}

    def start(self) -> None:
        """Start the workers, unless someone asks to stop meanwhile."""
        # a fork of this process would inherit its threads' locks; a fork of a fresh one does not
        context = processes.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        memory = [learner.memory for learner in self._learners]
        for index in range(self._count):
            if self.run.stop_signal is not None:
                break
            ours, theirs = context.Pipe(duplex=False)
            job = Job(index, self.run.make_worker, memory, self.board, self.run.clock.total)
            self._processes[ours] = context.Process(target=work, args=(job, theirs), daemon=True)
            self._processes[ours].start()
            theirs.close()

    def __enter__(self) -> Self:
        return self

    def listen(self, seconds: float) -> None:
        """Take in what workers say within some seconds. Raises what a worker fell of."""
        for pipe in wait(list(self._processes), seconds):
            assert isinstance(pipe, Connection)
            try:
                message = pipe.recv()
            except (EOFError, ConnectionError):
                self._bury(pipe)
                continue
            if isinstance(message, Failure):
                raise (Diverged if message.diverged else RuntimeError)(message.reason)
            self.metrics = message.metrics or self.metrics
            # finished episodes add up, whoever finished them
            self.run.collector.load_state_dict(
                {"returns": message.returns, "lengths": message.lengths}
            )

    def count(self) -> None:
        """Set the clock to what the workers did, and copy what they have learned."""
        self.run.clock.advance_to(int(self.board.steps.sum()), int(self.board.updates.sum()))
        for learner in self._learners:
            learner.pull()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.board.stop.fill_(1)
        deadline = time.monotonic() + PATIENCE
        try:
            while fault is None and self._processes and time.monotonic() < deadline:
                self.listen(REPORT_EVERY)
        finally:
            for pipe, process in self._processes.items():
                pipe.close()
                if process.pid is not None:  # it was started
                    process.join(max(deadline - time.monotonic(), 0.0))
                    process.kill()
                    process.join()
            self._processes.clear()

    def _bury(self, pipe: Connection) -> None:
        process = self._processes.pop(pipe)
        pipe.close()
        process.join()
        if process.exitcode and self.run.stop_signal is None:
            raise RuntimeError(f"a worker ended with exit code {process.exitcode}")


def shared_learners(algorithm: Algorithm) -> list[SharedLearner]:
    """Return the learners of an algorithm that workers share, in a fixed order."""
    return [part for part in algorithm.parts().values() if isinstance(part, SharedLearner)]


def _counters(size: int) -> Tensor:
    counters: Tensor = torch.zeros(size, dtype=torch.int64).share_memory_()
    return counters


def work(job: Job, pipe: Connection) -> None:
    """Learn in this process until the budget is spent or someone says stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever started this process ends it
    try:
        _learn(job, pipe)
    except BrokenPipeError:
        return  # nobody listens any more
    except Exception as fault:
        diverged = isinstance(fault, Diverged)
        reason = str(fault) if diverged else f"worker {job.worker}: {traceback.format_exc()}"
        with suppress(BrokenPipeError):
            pipe.send(Failure(reason, diverged))


def _learn(job: Job, pipe: Connection) -> None:
    algorithm, collector = job.make_worker(job.worker)
    for learner, memory in zip(shared_learners(algorithm), job.memory, strict=True):
        learner.attach(memory)
        learner.pull()
    act, board, reporter = partial(algorithm.act, explore=True), job.board, Reporter(pipe)
    while (steps := int(board.steps.sum())) < job.total and not board.stop:
        algorithm.anneal(steps / job.total)
        fragment = collector.collect(act, algorithm.horizon)
        metrics = algorithm.update(fragment)
        board.steps[job.worker] += fragment.reward.numel()
        board.updates[job.worker] += 1
        reporter.note(metrics, collector, int(fragment.done.sum()))
    reporter.send()


class Reporter:
    """Gathers what a worker has to say and sends it now and then."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._metrics: Metrics = {}
        self._returns: list[float] = []
        self._lengths: list[int] = []
        self._spoken = time.monotonic()

    def note(self, metrics: Metrics, collector: Collector, finished: int) -> None:
        """Take in an update and the number of episodes that ended in its fragment."""
        self._metrics = metrics
        if finished:
            episodes = collector.state_dict()
            self._returns += episodes["returns"][-finished:]
            self._lengths += episodes["lengths"][-finished:]
        if time.monotonic() - self._spoken > REPORT_EVERY:
            self.send()

    def send(self) -> None:
        """Say it. Raises BrokenPipeError when nobody listens any more."""
        metrics = {key: float(value) for key, value in self._metrics.items()}
        self._pipe.send(Report(metrics, self._returns, self._lengths))
        self._returns, self._lengths, self._spoken = [], [], time.monotonic()
