"""From command-line words to built parts and short runs, made as `rlrun train` makes them."""

from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from rlrun import rundir
from rlrun.algos.base import Algorithm
from rlrun.build import assemble, build_parts
from rlrun.compose import compose
from rlrun.conf_dir import choices, conf_dir
from rlrun.experiment import Experiment
from rlrun.logger.jsonl import read
from rlrun.runner import train
from rlrun.schema import Recipe, check

ALGORITHMS = choices("algo", [conf_dir()])
"""Every YAML in `conf/algo`."""


@cache
def recipe(*words: str) -> Recipe:
    """Return the checked recipe of a command; the same words are composed once."""
    composed = compose(list(words), [])
    return check(composed.values, composed.problems, composed.doubtful)


def changed(
    made: Recipe,
    algo: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    **run: Any,
) -> Recipe:
    """Return a recipe with other keys, and other options of algorithm and network that exist."""
    return replace(
        made,
        run=replace(made.run, **run),
        algorithm_config=_with(made.algorithm_config, algo or {}),
        network=replace(made.network, config=_with(made.network.config, network or {})),
    )


def experiment(folder: Path, made: Recipe, **options: Any) -> Experiment:
    """Build a run in a new folder; `options` are those of `assemble`."""
    parts = build_parts(made)
    folder.mkdir(parents=True)
    place = rundir.create(folder, made.plain(), "", [], [])
    return assemble(made, parts, place, place.log, None, **options)


def trained(folder: Path, made: Recipe) -> tuple[Algorithm, list[dict[str, Any]]]:
    """Train to the end in a new folder; return the algorithm and the rows of `metrics.jsonl`."""
    with experiment(folder, made) as run:
        train(run)
    return run.algorithm, read(folder / "metrics.jsonl")


def _with(config: Any, values: dict[str, Any]) -> Any:
    names = {field.name for field in fields(config)}
    return replace(config, **{key: value for key, value in values.items() if key in names})
