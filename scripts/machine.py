"""The machine that figures come from, in words."""

import os
import platform
from pathlib import Path

PROCESSORS = Path("/proc/cpuinfo")


def describe(processors: Path = PROCESSORS) -> str:
    """Return the processor's name, where the system tells it, and the number of cores."""
    return f"{_processor(processors)}, {os.cpu_count()} cores"


def _processor(processors: Path) -> str:
    if processors.exists():
        for line in processors.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
