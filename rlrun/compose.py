"""From command-line words to one plain mapping; with `build`, the only room that knows Hydra.

Groups (`algo=ppo`) are composed by Hydra. Single values (`algo.gamma=0.9`) are applied afterwards
without Hydra's structure check, so that the schema, which knows types and ranges, reports every
fault of a command in one message instead of the first one with advice to "use +key".
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlrun.conf_dir import GROUPS, Places, check_folders, choices, conf_dir
from rlrun.config import ConfigError, Problem, near_miss
from rlrun.env_source import register
from rlrun.plugins import OFFERED, folders, owners


@dataclass(frozen=True)
class Composed:
    """A command's configuration: plain values, where they came from, and faults found so far."""

    values: dict[str, Any]
    overrides: list[str]
    preset: str
    preset_changes: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)
    doubtful: tuple[str, ...] = ()
    """Groups whose choice was unknown; a near miss stands in, and their keys prove nothing."""


def as_words(values: Mapping[str, Any]) -> str:
    """Return keys and values as words of a command, quoted for a shell where that is needed."""
    return " ".join(shlex.quote(f"{key}={_written(value)}") for key, value in values.items())


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_written(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return "null" if value is None else str(value)


def compose(arguments: list[str], config_dirs: list[Path]) -> Composed:
    """Compose one run. Raises ConfigError only where the words cannot be parsed at all."""
    with opened(config_dirs) as places:
        return _compose(_parse(arguments), places)


def compose_sweep(arguments: list[str], config_dirs: list[Path]) -> list[Composed]:
    """Compose every job of a sweep, in the order of the grid."""
    with opened(config_dirs) as places:
        parsed = _parse(arguments)
        try:
            batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        except HydraException as fault:
            raise ConfigError(Problem("", _first_line(fault))) from fault
        jobs = [list(job) for batch in batches for job in batch]
        return [_compose(_parse(job), places) for job in jobs]


def to_yaml(values: dict[str, Any]) -> str:
    """Return the configuration as YAML for people to read."""
    return str(OmegaConf.to_yaml(OmegaConf.create(values)))


@contextmanager
def opened(config_dirs: list[Path]) -> Iterator[Places]:
    """Let Hydra search the YAML files of the user, of rlrun and of plug-ins, in this order.

    Raises ConfigError for a folder of the user's that holds no groups.
    """
    register()
    check_folders(config_dirs)
    places = Places([folder.resolve() for folder in config_dirs], [conf_dir(), *folders()])
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        search = loader.get_search_path()
        for folder in places.own:
            search.prepend("own", f"file://{folder}", "main")
        for folder in reversed(places.shipped[1:]):
            search.append("plug-in", f"file://{folder}", SearchPathQuery("main", None))
        loader.repository.initialize_sources(search)  # type: ignore[attr-defined]
        yield places


def _parse(arguments: list[str]) -> list[Override]:
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    problems, parsed = [], []
    for word in arguments:
        try:
            parsed += parser.parse_overrides([word])
        except HydraException as fault:
            hint = "; write key=value" if "=" not in word else f": {_first_line(fault)}"
            problems.append(Problem(word, f"cannot be read{hint}"))
            continue
        if not parsed[-1].key_or_group:
            reason = "has no key before the '='; write key=value, such as seed=3"
            problems.append(Problem(word, reason))
    if problems:
        raise ConfigError(*problems)
    return parsed


def _compose(parsed: list[Override], places: Places) -> Composed:
    problems: list[Problem] = []
    doubtful: list[str] = []
    groups: list[str] = []
    values: list[Override] = []
    for override in parsed:
        if override.is_sweep_override():
            problem = "several values in one run; add -m to run one job for each"
            problems.append(Problem(override.key_or_group, problem))
        elif override.key_or_group in GROUPS:
            groups += _group(override, places, problems, doubtful)
        else:
            values.append(override)
    config, preset, changes = _apply_preset(groups, places, problems)
    for override in values:
        _apply_value(config, override, problems)
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as fault:
        raise ConfigError(Problem("", _first_line(fault))) from fault
    assert isinstance(plain, dict)
    plain["preset"] = preset
    _complete_wrappers(plain.get("env"))
    words = [override.input_line or "" for override in parsed]
    changes = {key: value for key, value in changes.items() if not _overridden(key, values)}
    return Composed(plain, words, preset, changes, problems, tuple(doubtful))  # type: ignore[arg-type]


def _group(
    override: Override, places: Places, problems: list[Problem], doubtful: list[str]
) -> list[str]:
    """Return the words that choose a group for Hydra; note unknown choices, and stand one in."""
    group, chosen = override.key_or_group, override.value()
    if override.is_delete() or isinstance(chosen, dict):
        problems.append(Problem(group, "names a group: choose one, as in algo=ppo"))
        return []
    if group == "experiment" and chosen is None:
        return []
    if group == "env":
        if chosen in (None, "") or isinstance(chosen, list):
            reason = "is a list" if isinstance(chosen, list) else "is empty"
            problems.append(Problem("env", f"{reason}; name one id, such as env=CartPole-v1"))
            return []
        return [f"env='{chosen}'"]
    names = choices(group, places.all)
    if group == "preset":
        names = ["auto", *names]
    wanted = [str(name) for name in chosen] if isinstance(chosen, list) else [str(chosen)]
    for name in wanted:
        if name not in names:
            problems.append(Problem(group, _unknown(group, name, names)))
            doubtful.append(group)
        for file in places.clash(group, name):
            reason = f"{name!r} is taken already; {file} of a plug-in must get another name"
            problems.append(Problem(group, reason))
    if not set(wanted) <= set(names):
        stand_in = near_miss(wanted[0], names).removeprefix("; did you mean ").rstrip("?")
        return [f"{group}={stand_in}"] if stand_in and group != "logger" else []
    return [f"{group}=[{','.join(wanted)}]" if isinstance(chosen, list) else f"{group}={chosen}"]


def _unknown(group: str, name: str, names: list[str]) -> str:
    for package in owners(OFFERED[group], name) if group in OFFERED else ():
        file = f"{group}/{name}.yaml in the folder conf of its entry point rlrun.configs"
        return f"{name!r} of the package {package} comes without its YAML file: {file}"
    hint = near_miss(name, names) or f"; there are {', '.join(names)}"
    return f"{name!r} does not exist{hint}"


def _apply_preset(
    groups: list[str], places: Places, problems: list[Problem]
) -> tuple[DictConfig, str, dict[str, Any]]:
    """Compose without and, where there is one, with the preset; return what it changed, too."""
    asked = next((word[7:] for word in reversed(groups) if word.startswith("preset=")), "auto")
    groups = [word for word in groups if not word.startswith("preset=")]
    base, chosen = _run_hydra(groups, problems)
    names = choices("preset", places.all)
    preset = f"{chosen['algo']}/{chosen['env']}" if asked == "auto" else asked
    if preset not in names or preset == "none":
        return base, "none", {}
    owner = preset.partition("/")[0]
    if owner != chosen["algo"]:
        problems.append(Problem("preset", f"{preset} is for {owner}, not for {chosen['algo']}"))
        return base, "none", {}
    tuned, _ = _run_hydra([*groups, f"preset={preset}"], problems)
    if any(word.startswith("network=") for word in groups):
        tuned.network = base.network  # sizes tuned for one network say nothing about another
    before, after = _flat(base), _flat(tuned)
    changes = {key: value for key, value in after.items() if before.get(key, base) != value}
    return tuned, preset, changes


def _run_hydra(groups: list[str], problems: list[Problem]) -> tuple[DictConfig, dict[str, str]]:
    try:
        config = hydra_compose("train", groups, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as fault:
        raise ConfigError(*problems, Problem("", _first_line(fault))) from fault
    except YAMLError as fault:
        reason = " ".join(str(fault).split())
        raise ConfigError(
            *problems, Problem("", f"a YAML file cannot be read: {reason}")
        ) from fault
    chosen = {str(key): str(value) for key, value in config.hydra.runtime.choices.items()}
    OmegaConf.set_struct(config, False)
    OmegaConf.set_readonly(config, False)
    del config["hydra"]
    return config, chosen


def _apply_value(config: DictConfig, override: Override, problems: list[Problem]) -> None:
    key = override.key_or_group
    try:
        if override.is_delete():
            parent, _, last = key.rpartition(".")
            place = OmegaConf.select(config, parent) if parent else config
            if not isinstance(place, DictConfig) or last not in place:
                raise KeyError(key)
            del place[last]
        else:
            OmegaConf.update(config, key, override.value(), merge=False, force_add=True)
    except KeyError:
        problems.append(Problem(key, "cannot be removed: there is no such key"))
    except (OmegaConfBaseException, TypeError, ValueError, AttributeError, AssertionError):
        parent = key.rpartition(".")[0]
        problems.append(Problem(key, f"{parent} is a single value and holds no keys"))


def _complete_wrappers(env: Any) -> None:
    """Give each entry of `env.wrappers` the options it leaves out; what is no entry stays."""
    if not isinstance(env, dict) or not isinstance(env.get("wrappers"), list):
        return
    options = OmegaConf.to_container(OmegaConf.load(conf_dir() / "env" / "_wrappers.yaml"))
    assert isinstance(options, dict)
    for place, entry in enumerate(env["wrappers"]):
        given = {"name": entry} if isinstance(entry, str) else entry
        if isinstance(given, dict) and given.get("name") in options:
            name = given["name"]
            env["wrappers"][place] = {"name": name, **options[name], **given}


def _flat(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=False)
    rows: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, part in value.items():
                visit(f"{prefix}{key}.", part)
        else:
            rows[prefix[:-1]] = value

    visit("", plain)
    return rows


def _overridden(key: str, values: list[Override]) -> bool:
    names = [override.key_or_group for override in values]
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _first_line(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0] if lines else type(fault).__name__
