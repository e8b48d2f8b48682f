"""`rlrun list`: what can be chosen."""

from pathlib import Path

from rlrun.conf_dir import choices, conf_dir, take_folders
from rlrun.config import ConfigError, Problem, near_miss

HELP = """usage: rlrun list [algos|networks|presets|envs] [--config-dir DIR]

Show the algorithms with the spaces they serve, networks, presets and installed environments. What
another package brought is followed by its name.

  --config-dir DIR   a folder of your own YAML groups, shown too

examples:
  rlrun list
  rlrun list envs"""

TOPICS = ("algos", "networks", "presets", "envs")


def main(arguments: list[str]) -> int:
    """Run the verb."""
    topics, folders = take_folders(arguments)
    for word in topics:
        if word not in TOPICS:
            hint = near_miss(word, TOPICS) or f"; there are {', '.join(TOPICS)}"
            raise ConfigError(Problem("list", f"unknown topic {word!r}{hint}"))
    from rich.console import Console

    from rlrun.plugins import folders as plugged

    places, console = [*folders, conf_dir(), *plugged()], Console()
    for topic in topics or TOPICS:
        console.print(f"[bold]{topic}")
        for row in ROWS[topic](places):
            console.print(f"  {row}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _algorithms(places: list[Path]) -> list[str]:
    import rlrun.algos
    from rlrun.algos.base import Algorithm
    from rlrun.schema import choose, names

    rows = [("", "observations", "actions", "")]
    for name in names(rlrun.algos):
        try:
            algorithm = choose("algo", rlrun.algos, name, Algorithm)
        except ConfigError as fault:
            rows.append((name, "", "", fault.problems[0].message))
            continue
        obs = " ".join(space.__name__ for space in algorithm.obs_spaces)
        actions = " ".join(space.__name__ for space in algorithm.action_spaces)
        rows.append((name, obs, actions, _first_sentence(algorithm) + _package("algo", name)))
    aliases = [name for name in choices("algo", places) if name not in {row[0] for row in rows}]
    rows += [(name, "", "", "a YAML file over another algorithm") for name in aliases]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join(f"{c:<{w}}" for c, w in zip(row, [*widths, 0], strict=True)) for row in rows]


def _networks(places: list[Path]) -> list[str]:
    import rlrun.nets.torsos
    from rlrun.nets.torso import Torso
    from rlrun.schema import choose, names

    rows = {}
    for name in names(rlrun.nets.torsos):
        try:
            torso = choose("network", rlrun.nets.torsos, name, Torso)
            rows[name] = _first_sentence(torso) + _package("network", name)
        except ConfigError as fault:
            rows[name] = fault.problems[0].message
    for name in choices("network", places):
        rows.setdefault(name, "a YAML file over another network")
    width = max(map(len, rows))
    return [f"{name:<{width}}  {text}" for name, text in rows.items()]


def _presets(places: list[Path]) -> list[str]:
    return [name for name in choices("preset", places) if name != "none"]


def _envs(places: list[Path]) -> list[str]:
    from rlrun.envs.registry import installed, missing

    absent = [f"{'... '.join(each.prefixes)}...: {each.fix}" for each in missing()]
    return [*choices("env", places), *installed(), *absent]


def _package(group: str, name: str) -> str:
    from rlrun.plugins import OFFERED, release

    package = release(OFFERED[group], name)
    return f" ({package})" if package else ""


def _first_sentence(thing: type) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


ROWS = {"algos": _algorithms, "networks": _networks, "presets": _presets, "envs": _envs}
