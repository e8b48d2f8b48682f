"""The protocol of a logger, and the set of those a run writes to."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol


class Logger(Protocol):
    """Receives rows of scalars, in the order of their steps."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record a row."""
        ...

    def close(self) -> None:
        """Flush and release what is held."""
        ...


class LoggerSet:
    """Writes each row to every logger; one that fails is warned of once and left out after."""

    def __init__(self, loggers: Mapping[str, Logger], warn: Callable[[str], None]) -> None:
        self._loggers = dict(loggers)
        self._warn = warn

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record a row everywhere."""
        for name, logger in list(self._loggers.items()):
            self._attempt(name, partial(logger.write, step, metrics))

    def close(self) -> None:
        """Close every logger."""
        for name, logger in list(self._loggers.items()):
            self._attempt(name, logger.close)
        self._loggers.clear()

    def _attempt(self, name: str, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as fault:  # any service may fail in any way; training goes on
            self._loggers.pop(name, None)
            self._warn(f"logger {name} failed and is off now: {fault}")


def build(name: str, options: Mapping[str, Any], folder: Path, run: Mapping[str, Any]) -> Logger:
    """Build an optional logger by name; its package is imported here and not before."""
    if name == "tensorboard":
        from rlrun.logger.tensorboard import TensorBoard

        return TensorBoard(folder / "tb")
    from rlrun.logger.wandb import WandB

    return WandB(folder, run, **options)
