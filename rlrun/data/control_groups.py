"""The control groups (cgroup v1 and v2) that a container's limits on this process are set by."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
TOP = "sys/fs/cgroup"


def groups(controller: str, root: Path = ROOT) -> Iterator[tuple[Path, int]]:
    """Yield the groups from the process's own up to the top, with the version of cgroups, 1 or 2.

    `root` is where `proc` and `sys` are found.
    """
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / TOP / (controller if controllers else "")
        place = top / path.strip("/")
        for group in [place, *place.parents]:
            if group == top or top in group.parents:
                yield group, 1 if controllers else 2


def read(path: Path) -> str:
    """Return a file's text, empty where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
