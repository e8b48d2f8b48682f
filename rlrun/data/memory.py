"""How much memory a process may still take, on the machine and within its container's limit."""

import os
from pathlib import Path

import torch

ROOT = Path("/")
V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
FILES = {
    V2: ("memory.max", "memory.current", "inactive_file"),
    V1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""From where a version of cgroups lives to its limit, its usage, and the cache it can give up."""


def free_memory(device: torch.device, root: Path = ROOT) -> int:
    """Return the bytes that can still be allocated on a device.

    On the CPU it is the smallest of what the machine has available and what every control group
    above the process (cgroup v1 or v2) leaves; `root` is where `proc` and `sys` are found.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min([_machine(root), *_groups(root)])


def _machine(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(root: Path) -> list[int]:
    """Return what each control group from the process's own up to the top leaves."""
    left = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / (V1 if controllers else V2)
        place = top / path.strip("/")
        for group in [place, *place.parents]:
            if group == top or top in group.parents:
                left += _left(group, *FILES[V1 if controllers else V2])
    return left


def _left(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    most, used = _read(group / limit).strip(), _read(group / usage).strip()
    if not most.isdigit() or not used.isdigit():  # "max", or no such file
        return []
    rows = [line.split() for line in _read(group / "memory.stat").splitlines()]
    spare = sum(int(row[1]) for row in rows if row[:1] == [cache])
    return [max(int(most) - int(used) + spare, 0)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
