"""The typed configuration of a run, and the check that turns plain values into it."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import rlrun.algos
import rlrun.nets.torsos
from rlrun.algos.base import Algorithm
from rlrun.config import ConfigError, Problem, keys_of, near_miss, option, parse, plain, valid
from rlrun.envs.adapter import EnvConfig
from rlrun.envs.registry import check_id
from rlrun.nets.torso import Network, Torso
from rlrun.plugins import ALGORITHMS, NETWORKS, OFFERED, absent, entries, load, owners, release
from rlrun.saved import completed

T = TypeVar("T")
GROUPS = {rlrun.algos.__name__: ALGORITHMS, rlrun.nets.torsos.__name__: NETWORKS}
"""From the package with what is built in to the group of entry points with what is not."""
LOGGERS = {"console": (), "tensorboard": (), "wandb": ("project", "mode", "entity")}


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """Options of the group `device`."""

    name: Literal["auto", "cpu", "cuda"] = option("where tensors live")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run is made from; `algo` and `network` are typed by what they name."""

    algo: dict[str, Any] = option("the algorithm's name and options")
    network: dict[str, Any] = option("the network's name and options")
    env: EnvConfig = option("the environment")
    device: DeviceConfig = option("the device")
    logger: dict[str, Any] = option("loggers besides metrics.jsonl, with their options")
    preset: str = option("the preset that was applied")
    seed: int = option("decides all randomness", at_least=0, below=2**63)
    num_envs: int = option("parallel environments", at_least=1)
    total_timesteps: int = option("environment steps over all environments", at_least=1)
    threads: Literal["auto"] | int = option(
        "torch threads; auto chooses by the size of a gradient step", at_least=1
    )
    accel: Literal["auto", "off", "compile", "cuda_graph"] = option(
        "compile acting and gradient steps; auto does where enough work lies ahead"
    )
    precision: Literal["float32", "bfloat16"] = option(
        "arithmetic of the networks' products while learning; all else stays float32"
    )
    log_every: int = option("steps between rows of metrics", at_least=1)
    eval_every: int = option("steps between evaluations; 0 only at the end", at_least=0)
    eval_episodes: int = option("episodes of an evaluation during training", at_least=1)
    final_eval_episodes: int = option("episodes of the last evaluation", at_least=1)
    eval_num_envs: int = option("parallel environments of an evaluation", at_least=1)
    eval_max_steps: int = option("longest episode of an evaluation", at_least=1)
    save_every: int = option("steps between checkpoints; 0 only at the end", at_least=0)
    keep_checkpoints: int = option("newest checkpoints kept besides best and last", at_least=2)
    output_dir: str = option("where run folders are made")


@dataclass(frozen=True)
class Recipe:
    """A checked configuration: the classes it names and their typed options."""

    run: RunConfig
    algorithm: type[Algorithm]
    algorithm_config: Any
    network: Network

    def plain(self) -> dict[str, Any]:
        """Return the whole configuration as JSON holds it; `check` reads it back."""
        values = {field.name: plain(getattr(self.run, field.name)) for field in fields(self.run)}
        values["algo"] = {"name": self.run.algo["name"], **plain(self.algorithm_config)}
        values["network"] = {"name": self.run.network["name"], **plain(self.network.config)}
        return values

    def packages(self) -> dict[str, str]:
        """Return the packages, with versions, of what plug-ins brought, by group."""
        chosen = {"algo": self.run.algo["name"], "network": self.run.network["name"]}
        found = {group: release(OFFERED[group], name) for group, name in chosen.items()}
        return {group: package for group, package in found.items() if package}


def check_saved(values: Mapping[str, Any], packages: object) -> Recipe:
    """Return the recipe of a run from its saved configuration and the packages saved beside it.

    Keys that have come since are as they were then. Raises ConfigError, which names the packages
    that are missing here.
    """
    problems = absent(values, packages)
    if problems:
        raise ConfigError(*problems)
    return check(completed(values))


def check(
    values: Mapping[str, Any], found: Iterable[Problem] = (), doubtful: Iterable[str] = ()
) -> Recipe:
    """Return the recipe of a run, or raise ConfigError with every problem at once.

    `found` are problems that are already known; keys under the groups in `doubtful` are not
    reported, because the group itself was misspelt.
    """
    problems: list[Problem] = []
    algorithm = _named(values.get("algo"), "algo", rlrun.algos, Algorithm, problems)
    torso = _named(values.get("network"), "network", rlrun.nets.torsos, Torso, problems)
    known = [
        *(keys_of(algorithm.Config, "algo.") if algorithm else []),
        *(keys_of(torso.Config, "network.") if torso else []),
    ]
    run = parse(RunConfig, values, "", problems, known)
    options = _parse_named(algorithm, values, "algo", problems, keys_of(RunConfig))
    if algorithm is not None:
        problems += _together(algorithm, values)
    if algorithm is not None and torso is not None:
        problems += _memory(algorithm, torso, values)
    network = _parse_named(torso, values, "network", problems, keys_of(RunConfig))
    _check_env(values.get("env"), problems)
    _check_loggers(values.get("logger"), problems)
    doubtful = tuple(f"{group}." for group in doubtful)
    problems = [each for each in problems if not each.key.startswith(doubtful)]
    problems = [*found, *problems]
    if problems:
        raise ConfigError(*problems)
    assert run is not None
    assert algorithm is not None
    assert torso is not None
    return Recipe(run, algorithm, options, Network(torso, network))


def names(package: Any) -> list[str]:
    """Return what may be chosen by name: modules of a package, and entry points of others."""
    return sorted({*_own(package), *entries(GROUPS[package.__name__])})


def find(package: Any, name: str, base: type[T]) -> type[T]:
    """Return the subclass of `base` that the module `name` of a package defines."""
    module = importlib.import_module(f"{package.__name__}.{name}")
    own = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, base) and each.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} must define exactly one {base.__name__}, not {own}")
    return own[0]


def _own(package: Any) -> list[str]:
    found = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [name for name in found if name != "base" and not name.startswith("_")]


def choose(group: str, package: Any, name: str, base: type[T]) -> type[T]:
    """Return what a name of a group stands for.

    Raises ConfigError where it is unknown, offered twice, or of a plug-in that cannot be imported.
    """
    key, known = f"{group}.name", names(package)
    if name not in known:
        hint = near_miss(name, known) or f"; there are {', '.join(known)}"
        raise ConfigError(Problem(key, f"{name!r} does not exist{hint}"))
    givers = [*(["rlrun"] if name in _own(package) else []), *owners(OFFERED[group], name)]
    if len(givers) > 1:
        reason = f"is offered by {' and '.join(givers)}; one must take another name or go"
        raise ConfigError(Problem(key, f"{name!r} {reason}"))
    if name in _own(package):
        return find(package, name, base)
    return load(key, entries(OFFERED[group])[name], base)


def _named(
    values: Any, group: str, package: Any, base: type[T], problems: list[Problem]
) -> type[T] | None:
    name = values.get("name") if isinstance(values, Mapping) else None
    try:
        return choose(group, package, str(name), base)
    except ConfigError as fault:
        problems += fault.problems
        return None


def _parse_named(
    named: Any, values: Mapping[str, Any], group: str, problems: list[Problem], known: list[str]
) -> Any:
    if named is None:
        return None
    options = {key: value for key, value in values[group].items() if key != "name"}
    return parse(named.Config, options, f"{group}.", problems, known)


def _together(algorithm: type[Algorithm], values: Mapping[str, Any]) -> list[Problem]:
    run = valid(RunConfig, values)
    if "num_envs" not in run:
        return []
    return algorithm.faults(valid(algorithm.Config, values["algo"]), run["num_envs"])


def _memory(
    algorithm: type[Algorithm], torso: type[Torso], values: Mapping[str, Any]
) -> list[Problem]:
    if algorithm.recurrent or not torso.recurrent:
        return []
    own = sorted(_own(rlrun.algos))  # a plug-in must not be imported only to be recommended
    able = [name for name in own if find(rlrun.algos, name, Algorithm).recurrent]
    reason = (
        f"{values['network']['name']} has a memory, which {values['algo']['name']} cannot train; "
        f"use it with {', '.join(able)}, or a network without one, such as network=auto"
    )
    return [Problem("network", reason)]


def _check_env(values: Any, problems: list[Problem]) -> None:
    env_id = values.get("id") if isinstance(values, Mapping) else None
    if isinstance(env_id, str):
        try:
            check_id(env_id, pool=values.get("vectorization") == "envpool")
        except ConfigError as fault:
            problems += fault.problems


def _check_loggers(values: Any, problems: list[Problem]) -> None:
    for name, options in values.items() if isinstance(values, Mapping) else ():
        if name not in LOGGERS:
            hint = near_miss(str(name), LOGGERS) or f"; there are {', '.join(LOGGERS)}"
            problems.append(Problem(f"logger.{name}", f"unknown logger{hint}"))
            continue
        known = LOGGERS[name]
        for key in options or {}:
            if key not in known:
                hint = near_miss(str(key), known)
                problems.append(Problem(f"logger.{name}.{key}", f"unknown key{hint}"))
