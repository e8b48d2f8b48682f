"""Makes one Gymnasium environment by id, and says clearly when it cannot."""

import importlib
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium import error

from rlrun.config import ConfigError, Problem, near_miss
from rlrun.envs.families import FAMILIES, Family, families_near, family_named, family_of
from rlrun.envs.foreign import check_parallel_id, check_pool_id, is_parallel, parallel_ids


def make_env(env_id: str, kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
    """Make an environment; ConfigError says what is wrong with the id, package or arguments."""
    check_id(env_id)
    try:
        return gym.make(env_id, disable_env_checker=True, **kwargs)
    except error.DependencyNotInstalled as fault:
        raise ConfigError(Problem("env", _missing_package(env_id, str(fault)))) from fault
    except ModuleNotFoundError as fault:
        raise ConfigError(Problem("env", _missing_package(env_id, str(fault)))) from fault
    except (TypeError, error.Error) as fault:
        reason = str(fault).splitlines()[0]
        raise ConfigError(Problem("env.kwargs", f"{env_id} cannot be made: {reason}")) from fault


def check_id(env_id: str, *, pool: bool = False) -> None:
    """Raise ConfigError, with a near miss, unless Gymnasium, PettingZoo or EnvPool knows the id.

    `pool` asks EnvPool. Imports the module of `module:Env-v0` and the package of the id's family.
    """
    if pool or is_parallel(env_id):
        check_pool_id(env_id) if pool else check_parallel_id(env_id)
        return
    module, _, name = env_id.rpartition(":")
    family = family_of(name)
    if module:
        _import(env_id, module, "is the package installed?")
    if family is not None and name not in gym.registry:
        _import(env_id, family.module, family.fix)
        _register(family)
    if name in gym.registry:
        return
    for near in families_near(name):
        _load(near)
    hint = near_miss(name, gym.registry) or "; `rlrun list envs` shows what is installed"
    raise ConfigError(Problem("env", f"no environment {env_id!r} is installed{hint}"))


def installed() -> list[str]:
    """Return the ids of all environments that are installed, sorted."""
    for family in FAMILIES:
        _load(family)
    own = sorted(name for name in gym.registry if not _is_duplicate(name))
    return [*own, *parallel_ids()]


def missing() -> list[Family]:
    """Return the families that are not installed and would bring ids of their own."""
    return [family for family in FAMILIES if family.module and not _load(family)]


def _load(family: Family) -> bool:
    """Make a family's ids known to Gymnasium; return whether its package is installed."""
    if not family.module:
        return True
    try:
        importlib.import_module(family.module)
    except ImportError:
        return False
    _register(family)
    return True


def _register(family: Family) -> None:
    # a second call would warn that ids are registered again
    if family.register and not any(name.startswith(family.prefixes) for name in gym.registry):
        getattr(importlib.import_module(family.module), family.register)()


def _is_duplicate(name: str) -> bool:
    """Whether an id only repeats another under Gymnasium's compatibility namespaces."""
    return name.startswith(("phys2d/", "tabular/", "GymV"))


def _import(env_id: str, module: str, fix: str) -> None:
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as fault:
        if fault.name and _lies_here(fault.name):
            fix = "it lies in this folder; have Python search it: PYTHONPATH=. rlrun ..."
        reason = f"{env_id} needs the module {fault.name!r}, which is not installed: {fix}"
        raise ConfigError(Problem("env", reason)) from fault
    except (Exception, SystemExit) as fault:  # whatever a user's module does when it is imported
        text = f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0]}"
        where = f"`python -c 'import {module}'` shows where"
        raise ConfigError(
            Problem("env", f"{env_id}: its module cannot be imported: {text}; {where}")
        ) from fault
    if module == "ale_py":  # it prints its name for every environment otherwise
        imported.ALEInterface.setLoggerMode(imported.LoggerMode.Error)


def _lies_here(module: str) -> bool:
    place = Path(*module.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def _missing_package(env_id: str, text: str) -> str:
    family = family_of(env_id) or family_named(text)
    if family is None:
        return f"{env_id} needs a package that is not installed: {text.splitlines()[0]}"
    return f"{env_id} needs packages that are not installed: {family.fix}"
