"""Ids that are not Gymnasium's: EnvPool's own, and `pettingzoo/<family>/<name>`."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from rlrun.config import ConfigError, Problem, near_miss

PREFIX = "pettingzoo/"
NEEDS = {
    "atari": "multi_agent_ale_py",
    "butterfly": "pymunk",
    "classic": "pygame",
    "mpe": "mpe2",
    "sisl": "pymunk",
}
"""What each family of PettingZoo cannot do without; `mpe` became a package of its own."""
INSTALL = "pip install 'rlrun[{}]'"


def is_parallel(env_id: str) -> bool:
    """Whether an id is one of PettingZoo."""
    return env_id.startswith(PREFIX)


def parallel_ids() -> list[str]:
    """Return the ids of all parallel environments of PettingZoo that are installed, sorted."""
    if find_spec("pettingzoo") is None:
        return []
    here = [name for name in _known() if find_spec(NEEDS[name.split("/")[0]]) is not None]
    return sorted(PREFIX + name for name in here)


def check_parallel_id(env_id: str) -> None:
    """Raise ConfigError, with a near miss, unless PettingZoo has such a parallel environment."""
    _demand(env_id, "pettingzoo", "pettingzoo")
    name = env_id.removeprefix(PREFIX)
    family = name.partition("/")[0]
    if family in NEEDS:
        _demand(env_id, NEEDS[family], "pettingzoo" if family != "atari" else "")
    if name not in _known():
        hint = near_miss(env_id, parallel_ids()) or "; `rlrun list envs` shows what is installed"
        reason = f"PettingZoo has no parallel environment {env_id!r}{hint}"
        raise ConfigError(Problem("env", reason))


def parallel_maker(env_id: str) -> Callable[..., Any]:
    """Return the function that makes a parallel environment. Raises ConfigError for other ids."""
    check_parallel_id(env_id)
    family, _, name = env_id.removeprefix(PREFIX).partition("/")
    module = f"mpe2.{name}" if family == "mpe" else f"pettingzoo.{family}.{name}"
    try:
        maker: Callable[..., Any] = importlib.import_module(module).parallel_env
    except ImportError as fault:
        reason = f"{env_id} needs a package that is not installed: {fault}"
        raise ConfigError(Problem("env", reason)) from fault
    return maker


def check_pool_id(env_id: str) -> None:
    """Raise ConfigError, with a near miss, unless EnvPool has such an environment."""
    _demand("env.vectorization=envpool", "envpool", "envpool")
    known = importlib.import_module("envpool").list_all_envs()
    if env_id not in known:
        hint = near_miss(env_id.removeprefix("ALE/"), known)
        hint = hint or "; its documentation lists them, env.vectorization=auto is for the others"
        raise ConfigError(Problem("env", f"EnvPool has no environment {env_id!r}{hint}"))


def _known() -> list[str]:
    """Return `<family>/<name>` of every parallel environment, installed or not."""
    registry = importlib.import_module("pettingzoo").parallel_registry
    names = [name.replace("-v", "_v") for name in registry]
    if find_spec("mpe2") is not None:
        modules = vars(importlib.import_module("mpe2.all_modules"))
        names += [f"mpe/{name}" for name in modules if name.startswith(("simple", "collect"))]
    return names


def _demand(what: str, module: str, extra: str) -> None:
    if find_spec(module) is None:
        fix = INSTALL.format(extra) if extra else f"pip install {module.replace('_', '-')}"
        reason = f"{what} needs the module {module!r}, which is not installed: {fix}"
        raise ConfigError(Problem("env", reason))
