"""How much memory a process may still take, on the machine and within its container's limit."""

import os
from pathlib import Path

import torch

from rlrun.data.control_groups import ROOT, groups, read

FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""From the version of cgroups to its limit, its usage, and the cache it can give up."""


def free_memory(device: torch.device, root: Path = ROOT) -> int:
    """Return the bytes that can still be allocated on a device.

    On the CPU it is the smallest of what the machine has available and what every control group
    above the process (cgroup v1 or v2) leaves; `root` is where `proc` and `sys` are found.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    left = [_left(group, *FILES[version]) for group, version in groups("memory", root)]
    return min([_machine(root), *(each for some in left for each in some)])


def _machine(root: Path) -> int:
    for line in read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    most, used = read(group / limit).strip(), read(group / usage).strip()
    if not most.isdigit() or not used.isdigit():  # "max", or no such file
        return []
    rows = [line.split() for line in read(group / "memory.stat").splitlines()]
    spare = sum(int(row[1]) for row in rows if row[:1] == [cache])
    return [max(int(most) - int(used) + spare, 0)]
