"""Makes one Gymnasium environment by id, and says clearly when it cannot."""

import importlib
from typing import Any

import gymnasium as gym
from gymnasium import error

from rlrun.config import ConfigError, Problem, near_miss

EXTRAS = {
    "Box2D": "box2d",
    "box2d": "box2d",
    "swig": "box2d",
    "mujoco": "mujoco",
    "MuJoCo": "mujoco",
    "pygame": "classic-control",
    "ale_py": "atari",
    "ale-py": "atari",
}
NAMESPACES = {"ALE": ("ale_py", "atari")}
"""Packages that register environments when imported: namespace to module and extra."""


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


def check_id(env_id: str) -> None:
    """Raise ConfigError, with a near miss, unless Gymnasium knows the id.

    Imports the module of `module:Env-v0` and the package behind a known namespace.
    """
    module, _, name = env_id.rpartition(":")
    namespace = name.partition("/")[0] if "/" in name else ""
    _import_for(env_id, module, namespace)
    if name in gym.registry:
        return
    hint = near_miss(name, gym.registry) or "; `rlrun list envs` shows what is installed"
    raise ConfigError(Problem("env", f"no environment {env_id!r} is installed{hint}"))


def installed() -> list[str]:
    """Return the ids of all environments that are installed, sorted."""
    for module, _ in NAMESPACES.values():
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    return sorted(name for name in gym.registry if not _is_duplicate(name))


def _is_duplicate(name: str) -> bool:
    """Whether an id only repeats another under Gymnasium's compatibility namespaces."""
    return name.startswith(("phys2d/", "tabular/", "GymV"))


def _import_for(env_id: str, module: str, namespace: str) -> None:
    extra = ""
    if not module and namespace in NAMESPACES:
        module, extra = NAMESPACES[namespace]
    if not module:
        return
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as fault:
        fix = f"pip install 'rlrun[{extra}]'" if extra else "is the package installed?"
        reason = f"{env_id} needs the module {fault.name!r}, which is not installed: {fix}"
        raise ConfigError(Problem("env", reason)) from fault
    if module == "ale_py":  # it prints its name for every environment otherwise
        imported.ALEInterface.setLoggerMode(imported.LoggerMode.Error)


def _missing_package(env_id: str, text: str) -> str:
    extra = next((extra for word, extra in EXTRAS.items() if word in text), None)
    if extra is None:
        return f"{env_id} needs a package that is not installed: {text.splitlines()[0]}"
    return f"{env_id} needs packages that are not installed: pip install 'rlrun[{extra}]'"
