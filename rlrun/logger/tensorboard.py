"""TensorBoard event files under `tb/`."""

from collections.abc import Mapping
from pathlib import Path

from rlrun.config import ConfigError, Problem


class TensorBoard:
    """Writes scalars; needs the extra `tensorboard`."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as fault:
            fix = "needs a package: pip install 'rlrun[tensorboard]'"
            raise ConfigError(Problem("logger.tensorboard", fix)) from fault
        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record a row."""
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
