"""`rlrun list`: what can be chosen."""

from rlrun.config import ConfigError, Problem, near_miss

HELP = """usage: rlrun list [algos|networks|presets|envs]

Show the algorithms with the spaces they serve, networks, presets and installed environments.

examples:
  rlrun list
  rlrun list envs"""

TOPICS = ("algos", "networks", "presets", "envs")


def main(arguments: list[str]) -> int:
    """Run the verb."""
    for word in arguments:
        if word not in TOPICS:
            hint = near_miss(word, TOPICS) or f"; there are {', '.join(TOPICS)}"
            raise ConfigError(Problem("list", f"unknown topic {word!r}{hint}"))
    from rich.console import Console

    console = Console()
    for topic in arguments or TOPICS:
        console.print(f"[bold]{topic}")
        for row in ROWS[topic]():
            console.print(f"  {row}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _algorithms() -> list[str]:
    import rlrun.algos
    from rlrun.algos.base import Algorithm
    from rlrun.schema import find, names

    rows = [("", "observations", "actions", "")]
    for name in names(rlrun.algos):
        try:
            algorithm = find(rlrun.algos, name, Algorithm)
        except ConfigError as fault:
            rows.append((name, "", "", fault.problems[0].message))
            continue
        obs = " ".join(space.__name__ for space in algorithm.obs_spaces)
        actions = " ".join(space.__name__ for space in algorithm.action_spaces)
        rows.append((name, obs, actions, _first_sentence(algorithm)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]


def _networks() -> list[str]:
    import rlrun.nets.torsos
    from rlrun.nets.torso import Torso
    from rlrun.schema import find, names

    rows = []
    for name in names(rlrun.nets.torsos):
        try:
            text = _first_sentence(find(rlrun.nets.torsos, name, Torso))
        except ConfigError as fault:
            text = fault.problems[0].message
        rows.append(f"{name:<12} {text}")
    return rows


def _presets() -> list[str]:
    from rlrun.conf_dir import choices, conf_dir
    from rlrun.plugins import folders

    return [name for name in choices("preset", [conf_dir(), *folders()]) if name != "none"]


def _envs() -> list[str]:
    from rlrun.conf_dir import choices, conf_dir
    from rlrun.envs.registry import installed, missing
    from rlrun.plugins import folders

    named = choices("env", [conf_dir(), *folders()])
    absent = [f"{'... '.join(each.prefixes)}...: {each.fix}" for each in missing()]
    return [*named, *installed(), *absent]


def _first_sentence(thing: type) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


ROWS = {"algos": _algorithms, "networks": _networks, "presets": _presets, "envs": _envs}
