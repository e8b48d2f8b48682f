"""Algorithms, networks and YAML folders of other installed packages, found by their entry points.

Nothing of such a package is imported before its name is chosen. docs/extending.md shows how to
write one.
"""

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from rlrun.config import ConfigError, Problem

T = TypeVar("T")
ALGORITHMS, NETWORKS, CONFIGS = "rlrun.algos", "rlrun.networks", "rlrun.configs"
"""Groups of entry points: a name and its class, or for the last a name and a package."""
OFFERED = {"algo": ALGORITHMS, "network": NETWORKS}
"""From the group of a configuration to the group of entry points that add to it."""


def entries(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name."""
    return {point.name: point for point in reversed(tuple(_points(tuple(sys.path))[group]))}


def owners(group: str, name: str) -> list[str]:
    """Return the packages that offer a name in a group; more than one is a clash."""
    points = _points(tuple(sys.path))[group]
    return sorted({owner(point) for point in points if point.name == name})


def owner(point: EntryPoint) -> str:
    """Return the name of the package an entry point belongs to."""
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]


def release(group: str, name: str) -> str:
    """Return package and version that offer a name, such as `my-rl 0.1`; empty for what none do."""
    point = entries(group).get(name)
    if point is None:
        return ""
    return owner(point) + (f" {point.dist.version}" if point.dist is not None else "")


def absent(values: Mapping[str, Any], packages: object) -> list[Problem]:
    """Return a problem for each part of a saved configuration whose package is gone.

    `packages` is what was saved beside it, from group to package; a file may hold anything there.
    """
    problems = []
    for group, offered in OFFERED.items():
        package = packages.get(group) if isinstance(packages, Mapping) else None
        part = values.get(group)
        name = part.get("name") if isinstance(part, Mapping) else None
        if isinstance(package, str) and isinstance(name, str) and name not in entries(offered):
            reason = f"{name!r} comes from the package {package!r}, which is not installed here"
            problems.append(Problem(f"{group}.name", reason))
    return problems


def load(key: str, point: EntryPoint, base: type[T]) -> type[T]:
    """Import what an entry point names.

    Raises ConfigError under `key` if that fails, or is not a subclass of `base` that can be built.
    """
    whose = f"{point.name!r} of the package {owner(point)}"
    try:
        found = point.load()
    except (Exception, SystemExit) as fault:  # whatever a stranger's module does when imported
        reason = (str(fault).splitlines() or [""])[0]
        module = point.value.partition(":")[0].strip()
        where = f"`python -c 'import {module}'` shows where"
        text = f"{whose} cannot be imported: {type(fault).__name__}: {reason}; {where}"
        raise ConfigError(Problem(key, text)) from fault
    fault_found = _fault_of(found, base)
    if fault_found:
        raise ConfigError(Problem(key, f"{whose}: {point.value} {fault_found}"))
    assert isinstance(found, type)
    return found


def folders() -> list[Path]:
    """Return the folder `conf` of each package that brings one, without importing the packages."""
    found = []
    for point in entries(CONFIGS).values():
        top, *inner = point.value.partition(":")[0].strip().split(".")
        try:
            spec = find_spec(top)
        except (ImportError, ValueError):
            continue
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            folder = Path(place).joinpath(*inner, "conf")
            if folder.is_dir():
                found.append(folder.resolve())
    return found


def _fault_of(found: Any, base: type) -> str:
    if not (isinstance(found, type) and issubclass(found, base)):
        return f"is no subclass of {base.__module__}.{base.__name__}"
    if not is_dataclass(getattr(found, "Config", None)):
        return "has no `Config` that is a dataclass"
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    return f"does not define {', '.join(missing)}" if missing else ""


@cache
def _points(path: tuple[str, ...]) -> dict[str, EntryPoints]:
    """Read the entry points on `path`, which is Python's: another path, other packages."""
    found = entry_points()
    return {group: found.select(group=group) for group in (ALGORITHMS, NETWORKS, CONFIGS)}
