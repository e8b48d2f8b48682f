"""Weights & Biases; `logger.wandb.mode=offline` writes files for a later `wandb sync`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rlrun.config import ConfigError, Problem

Mode: TypeAlias = Literal["online", "offline", "disabled"]


class WandB:
    """Sends scalars to one W&B run; needs the extra `wandb`."""

    def __init__(
        self, folder: Path, run: Mapping[str, Any], *, project: str, mode: Mode, entity: str | None
    ) -> None:
        try:
            import wandb
        except ImportError as fault:
            fix = "needs a package: pip install 'rlrun[wandb]'"
            raise ConfigError(Problem("logger.wandb", fix)) from fault
        self._run = wandb.init(
            project=project,
            entity=entity,
            mode=mode,
            dir=str(folder),
            name=folder.name,
            config=dict(run),
            settings=wandb.Settings(console="off", silent=True),
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record a row."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Finish the run and wait for what is still to be sent."""
        self._run.finish()
