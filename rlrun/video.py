"""Writes frames to an mp4, or to a gif where ffmpeg is not installed."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlrun.config import ConfigError, Problem

SMALLEST = 100  # pixels of the shorter side
MAX_FRAMES = 5000  # a film longer than a few minutes is a mistake


def shown(frame: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture `[height, width, 3]` as uint8, and one of few pixels with larger ones.

    Floats are from 0 to 1, as MinAtar's 10 x 10 are.
    """
    if frame.dtype.kind == "f":
        frame = (frame.clip(0.0, 1.0) * 255.0).round()
    larger = max(SMALLEST // min(frame.shape[:2]), 1)
    return frame.astype(np.uint8).repeat(larger, 0).repeat(larger, 1)


class VideoWriter:
    """Collects frames `[height, width, 3]` and writes them when closed.

    Raises ConfigError when neither imageio with ffmpeg nor pillow is installed.
    """

    def __init__(self, folder: Path, name: str, frames_per_second: int) -> None:
        has_ffmpeg = all(importlib.util.find_spec(m) for m in ("imageio", "imageio_ffmpeg"))
        if not has_ffmpeg and not importlib.util.find_spec("PIL"):
            raise ConfigError(Problem("--video", "needs packages: pip install 'rlrun[video]'"))
        self._path = folder / f"{name}.{'mp4' if has_ffmpeg else 'gif'}"
        self._rate = frames_per_second
        self._frames: list[Any] = []

    def add(self, frame: Any) -> None:
        """Append a frame; beyond 5,000 they are dropped."""
        if frame is None:
            raise ConfigError(Problem("--video", "this environment gives no pictures"))
        if len(self._frames) < MAX_FRAMES:
            self._frames.append(shown(np.asarray(frame)))

    def close(self) -> Path:
        """Write the file and return its path."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.suffix == ".mp4":
            import imageio

            imageio.mimwrite(self._path, self._frames, fps=self._rate, macro_block_size=1)
        else:
            from PIL import Image

            first, *rest = [Image.fromarray(frame) for frame in self._frames]
            pause = round(1000 / self._rate)
            first.save(self._path, save_all=True, append_images=rest, duration=pause, loop=0)
        return self._path
