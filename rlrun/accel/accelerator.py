"""Compiles what learners differentiate and what collecting repeats: no algorithm knows of it.

A gradient step becomes one graph; so does acting, and several steps of policy and environment where
the environments are tensors themselves. A compiler takes seconds before it saves the first
microsecond, so `auto` asks for it only where many gradient steps, or steps, lie ahead.
"""

from collections.abc import Callable

from torch.nn import Module

from rlrun.accel.compiler import (
    Graph,
    Mode,
    fast,
    has_compiler,
    hold_still,
)
from rlrun.accel.threads import ThreadChoice
from rlrun.algos.base import Algorithm
from rlrun.data.collector import Collector
from rlrun.nets.learner import Learner
from rlrun.nets.memory import remembers

WORTH_COMPILING = 20_000
"""Gradient steps ahead from which compiling pays: see docs/performance.md."""
WORTH_ACTING = 100_000
"""Steps of each environment ahead from which compiling what acts pays."""

OURS = ("rlrun", "torch")
"""Where code comes from that compiles without a look at every call."""


class Accelerator:
    """Decides, and tells the learners of an algorithm."""

    def __init__(
        self,
        mode: Mode,
        algorithm: Algorithm,
        collector: Collector,
        steps: int,
        say: Callable[[str], None],
        threads: ThreadChoice | None = None,
    ) -> None:
        """`steps` are those that each environment of `collector` will take in the whole run.

        While `threads` has yet to choose, nothing is compiled: their number is compiled in.
        """
        self._say, self._collector, self._steps = say, collector, steps
        self._threads, self._counting = threads, threads is not None
        self._graph: Graph = "cuda_graph" if mode == "cuda_graph" else "compile"
        self._guarded = collector.device.type != "cpu" or not ours(algorithm)
        # on a GPU a step of its own is bound by its kernels' launches, however it is called
        self._acts = algorithm.steady and (collector.unrolls or not self._guarded)
        parts = algorithm.parts().values()
        self._learners = [part for part in parts if isinstance(part, Learner)]
        if any(isinstance(part, Module) and remembers(part) for part in parts):
            self._learners = []  # how a history falls into episodes is new at every call
        if algorithm.runner == "async":
            self._learners = []  # they learn in processes of their own
        self._begun: tuple[float, int] | None = None
        self._undecided = mode == "auto" and bool(self._learners) and has_compiler()
        self._acts &= mode != "off" and has_compiler()
        self._asked = mode in ("compile", "cuda_graph")
        if self._asked and not self._learners and not self._acts:
            say("accel   nothing to compile: see docs/performance.md")
        if threads is None:
            self._obey()

    def consider(self, progress: float) -> None:
        """Compile if that pays, judged by the gradient steps so far; the clock has no say in it."""
        if self._counting:
            if self._threads is None or not self._threads.decide():
                return
            self._counting = False
            self._obey()
        ahead = self._steps * (1.0 - progress)
        if self._acts and ahead >= WORTH_ACTING:
            self._act(f"about {ahead:,.0f} steps of each environment ahead")
        if not self._undecided:
            return
        updates = sum(each.updates for each in self._learners)
        if self._begun is None:  # a resumed run does not begin at 0
            self._begun = (progress, updates)
            return
        since, done = progress - self._begun[0], updates - self._begun[1]
        ahead = done * (1.0 - progress) / since if since > 0.0 else 0.0
        if ahead >= WORTH_COMPILING:
            self._compile(f"about {ahead:,.0f} gradient steps ahead")

    def _obey(self) -> None:
        if self._asked and self._learners:
            self._compile("as asked")
        if self._asked and self._acts:
            self._act("as asked")

    def _compile(self, reason: str) -> None:
        self._undecided = False
        for learner in self._learners:
            if self._graph == "cuda_graph":
                hold_still(learner.lasting)
            way = fast(self._guarded, self._graph, self._say, same_draws=True)
            learner.transform(way if self._threads is None else self._threads.through(way))
        waits = "the next update waits for it, for up to a minute"
        self._say(f"accel   {self._graph}: {reason}; {waits}")

    def _act(self, reason: str) -> None:
        self._acts = False
        unrolls = self._collector.unrolls
        self._collector.transform(
            fast(self._guarded, self._graph, self._say, same_draws=not unrolls)
        )
        what = "act and environment as one" if unrolls else "act"
        self._say(f"accel   {what}: {reason}; the next steps wait for it")


def ours(algorithm: Algorithm) -> bool:
    """Say whether an algorithm and its networks are this package's, not a plug-in's.

    Of these it is known, and tested, that no number in a loss changes unless it is a tensor.
    """
    parts = (part for part in algorithm.parts().values() if isinstance(part, Module))
    layers = (type(layer) for part in parts for layer in part.modules())
    return all(kind.__module__.split(".")[0] in OURS for kind in (type(algorithm), *layers))
