"""What a person sees: a live panel on a terminal, plain lines elsewhere and where CI is set."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

SHOWN = {
    "rollout/ep_rew_mean": "return",
    "rollout/ep_len_mean": "length",
    "eval/mean_reward": "evaluation",
    "train/loss": "loss",
    "train/policy_gradient_loss": "policy loss",
    "train/value_loss": "value loss",
    "train/td_error": "TD error",
    "train/value_change": "value change",
    "train/entropy_loss": "entropy loss",
    "train/approx_kl": "KL",
    "rollout/exploration_rate": "exploration",
    "train/learning_rate": "learning rate",
}
PLAIN_EVERY = 2.0  # seconds between plain lines; a fast run would drown its own log


class PatientConsole(Console):
    """Goes on in silence once nobody reads any more, as in `rlrun train | head`."""

    def on_broken_pipe(self) -> None:
        """Stop printing, where Rich would end the process."""
        self.quiet = True
        with suppress(OSError):  # what is written already goes nowhere, instead of failing at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ConsoleLogger:
    """Progress bar, steps a second, time left, and the latest figures."""

    def __init__(self, console: Console, total: int, done: int, title: str) -> None:
        self._console, self._total = console, total
        self._latest: dict[str, float] = {}
        self._last_line = 0.0
        self._live: Live | None = None
        if console.is_terminal and os.environ.get("CI", "").lower() not in ("1", "true"):
            self._progress = Progress(
                TextColumn(f"[bold]{title}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]} steps/s"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._progress.add_task(title, total=total, completed=done, rate="")
            self._live = Live(self._progress, console=console, refresh_per_second=4)
            self._live.start()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show a row."""
        self._latest |= metrics
        if self._live is not None:
            rate = f"{self._latest.get('time/fps', 0):,.0f}"
            self._progress.update(self._task, completed=min(step, self._total), rate=rate)
            self._live.update(Group(self._progress, self._table()))
            return
        now = time.monotonic()
        if "eval/mean_reward" in metrics or now - self._last_line >= PLAIN_EVERY:
            self._last_line = now
            self._console.print(self._line(step), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for key, name in SHOWN.items():
            if key in self._latest:
                table.add_row(f"  [dim]{name}", f"{self._latest[key]:,.4g}")
        return table

    def _line(self, step: int) -> str:
        rate = self._latest.get("time/fps", 0.0)
        left = max(self._total - step, 0) / rate if rate else 0.0
        shown = [f"{name} {self._latest[k]:.4g}" for k, name in SHOWN.items() if k in self._latest]
        share = min(100 * step // max(self._total, 1), 100)
        head = f"{share:3d}%  step {step:,}  {rate:,.0f} steps/s  {left:,.0f} s left"
        return "  ".join([head, *shown])
