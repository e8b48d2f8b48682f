"""The record of a run's built parts, and what the loop asks of them together."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from rlrun import checkpoint
from rlrun.accel.accelerator import Accelerator
from rlrun.algos.base import Algorithm
from rlrun.clock import Clock
from rlrun.data.collector import Collector
from rlrun.envs.base import VecEnv
from rlrun.evaluate import Evaluation, evaluate
from rlrun.logger.base import LoggerSet
from rlrun.logger.jsonl import Jsonl
from rlrun.rundir import RunFolder
from rlrun.types import Diverged, Metrics


@dataclass
class Experiment:
    """Everything the loop drives; a context manager that closes it."""

    periods: "Periods"
    description: Mapping[str, Any]
    algorithm: Algorithm
    accelerator: Accelerator
    env: VecEnv
    make_eval_env: Callable[[int], VecEnv]
    make_worker: Callable[[int], tuple[Algorithm, Collector]]
    collector: Collector
    clock: Clock
    device: torch.device
    folder: RunFolder
    metrics_file: Jsonl
    loggers: LoggerSet
    say: Callable[[str], None]
    best: float | None = None
    stop_signal: int | None = None
    _saved: tuple[int, Path] | None = field(default=None, repr=False)
    _eval_env: VecEnv | None = field(default=None, repr=False)
    _since: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), 0), repr=False)

    def finished(self) -> bool:
        """Say whether the budget is spent, the algorithm is done, or someone asked to stop."""
        spent = self.clock.steps >= self.clock.total
        return spent or self.algorithm.converged or self.stop_signal is not None

    def log(self, metrics: Metrics) -> None:
        """Write a row; this is where metrics become numbers. Raises Diverged on a bad gradient."""
        row = {key: _number(value) for key, value in metrics.items()}
        if not np.isfinite(row.get("train/grad_norm", 0.0)):
            raise Diverged("the gradient is not finite")
        row |= self.collector.episodes()
        now, (then, steps) = time.monotonic(), self._since
        self._since = (now, self.clock.steps)
        row["time/fps"] = (self.clock.steps - steps) / max(now - then, 1e-9)
        row["time/iterations"] = float(self.clock.updates)
        row["time/total_timesteps"] = float(self.clock.steps)
        self.write(row)

    def write(self, row: dict[str, float]) -> None:
        """Write numbers to every logger."""
        self.loggers.write(self.clock.steps, row)

    def evaluate(self, episodes: int) -> Evaluation | None:
        """Play episodes in separate environments, log them, and keep the best checkpoint.

        None if someone asked to stop meanwhile.
        """
        if self._eval_env is None:
            most = self.periods.final_eval_episodes
            self._eval_env = self.make_eval_env(min(self.periods.eval_num_envs, most))
        words = np.random.SeedSequence([self.periods.seed, 1, self.clock.steps])
        started = time.monotonic()
        try:
            outcome = evaluate(
                partial(self.algorithm.act, explore=False),
                self.algorithm.initial_carry,
                self._eval_env,
                episodes=episodes,
                seed=int(words.generate_state(1)[0]),
                device=self.device,
                max_steps=self.periods.eval_max_steps,
                on_step=self._stop_if_asked,
            )
        except _Stopped:
            return None
        self._since = (self._since[0] + time.monotonic() - started, self._since[1])
        self.write(outcome.metrics())
        if outcome.cut:
            limit = self.periods.eval_max_steps
            self.say(f"warning: {outcome.cut} episodes were cut at eval_max_steps={limit}")
        if self.best is None or outcome.mean >= self.best:
            self.best = outcome.mean
            path = self.save()
            if path is not None:
                checkpoint.point(self.folder.checkpoints, "best", path)
        return outcome

    def save(self) -> Path | None:
        """Write a checkpoint, once a step; a disk that refuses costs a warning, not the run."""
        if self._saved is not None and self._saved[0] == self.clock.steps:
            return self._saved[1]
        parts = dict(self.algorithm.parts())
        policy = parts.pop("policy").state_dict()
        resume = {
            "algorithm": {name: part.state_dict() for name, part in parts.items()},
            "clock": self.clock.state_dict(),
            "collector": self.collector.state_dict(),
            "random": _random_state(self.device),
            "metrics_offset": self.metrics_file.offset,
            "best": self.best,
        }
        folder = self.folder.checkpoints
        try:
            path = checkpoint.save(folder, self.clock.steps, self.description, policy, resume)
            checkpoint.prune(folder, self.periods.keep_checkpoints)
        except OSError as fault:
            self.say(f"warning: the checkpoint at step {self.clock.steps} was not saved: {fault}")
            return None
        self._saved = (self.clock.steps, path)
        return path

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Continue from a checkpoint; the environments start new episodes."""
        parts = dict(self.algorithm.parts())
        parts.pop("policy").load_state_dict(saved.policy)
        state = saved.resume
        for name, part in parts.items():
            part.load_state_dict(state.get("algorithm", {}).get(name, {}))
        self.clock.load_state_dict(state["clock"])
        self.collector.load_state_dict(state["collector"])
        self.best = state["best"]
        self._since = (time.monotonic(), self.clock.steps)
        torch.set_rng_state(state["random"]["torch"])
        if "cuda" in state["random"] and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)

    def _stop_if_asked(self) -> None:
        if self.stop_signal is not None:
            raise _Stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.loggers.close()
        self.env.close()
        if self._eval_env is not None:
            self._eval_env.close()
        self.folder.close()


@dataclass(frozen=True)
class Periods:
    """How often, in environment steps, and how much; 0 means only at the end."""

    seed: int
    log_every: int
    eval_every: int
    eval_episodes: int
    final_eval_episodes: int
    eval_num_envs: int
    eval_max_steps: int
    save_every: int
    keep_checkpoints: int


class _Stopped(Exception):  # noqa: N818 - no error: it leaves an evaluation
    """Someone asked to stop during an evaluation."""


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _number(value: Tensor | float) -> float:
    return float(value.item()) if isinstance(value, Tensor) else float(value)
