"""`metrics.jsonl`: one JSON object a row; always written, and the source for reports."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path


class Jsonl:
    """Appends rows. A resumed run cuts the file back to what its checkpoint had seen."""

    def __init__(self, path: Path, *, keep_bytes: int = 0) -> None:
        self._file = path.open("ab")
        self._file.truncate(min(keep_bytes, path.stat().st_size))
        self._file.seek(0, 2)

    @property
    def offset(self) -> int:
        """Bytes written so far, rows of earlier parts of the run included."""
        return self._file.tell()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record a row; numbers that are not finite become null, as JSON has none."""
        values = {key: value if math.isfinite(value) else None for key, value in metrics.items()}
        row = {"step": step, "wall_time": round(time.time(), 3), **values}
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, float]]:
    """Return the rows of a metrics file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
