"""Algorithms, networks and YAML folders of other installed packages, found by their entry points.

Nothing of such a package is imported before its name is chosen. docs/extending.md shows how to
write one.
"""

from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from rlrun.config import ConfigError, Problem

T = TypeVar("T")
ALGORITHMS, NETWORKS, CONFIGS = "rlrun.algos", "rlrun.networks", "rlrun.configs"
"""Groups of entry points: a name and its class, or for the last a name and a package."""


def entries(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name."""
    return {point.name: point for point in entry_points(group=group)}


def owner(point: EntryPoint) -> str:
    """Return the name of the package an entry point belongs to."""
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]


def load(key: str, point: EntryPoint, base: type[T]) -> type[T]:
    """Import what an entry point names.

    Raises ConfigError under `key` if that fails, or is not a subclass of `base`.
    """
    try:
        found = point.load()
    except Exception as fault:  # whatever a stranger's module does when it is imported
        reason = (str(fault).splitlines() or [""])[0]
        raise ConfigError(
            Problem(
                key,
                f"{point.name!r} of the package {owner(point)} cannot be imported: "
                f"{type(fault).__name__}: {reason}",
            )
        ) from fault
    if not (isinstance(found, type) and issubclass(found, base)):
        reason = f"{point.value} of the package {owner(point)} is no subclass of {base.__name__}"
        raise ConfigError(Problem(key, f"{point.name!r}: {reason}"))
    return found


def folders() -> list[Path]:
    """Return the folder `conf` of each package that brings one, without importing the packages."""
    found = []
    for point in entries(CONFIGS).values():
        spec = find_spec(point.module)
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            if (Path(place) / "conf").is_dir():
                found.append(Path(place) / "conf")
    return found
