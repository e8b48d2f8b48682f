"""Where the YAML groups lie: inside an installed wheel, or at the top of a source tree."""

from dataclasses import dataclass
from pathlib import Path

from rlrun.config import ConfigError, Problem, near_miss

GROUPS = ("algo", "env", "network", "device", "logger", "preset", "experiment")


@dataclass(frozen=True)
class Places:
    """The folders of YAML files in the order of their precedence: a user's own come first."""

    own: list[Path]
    shipped: list[Path]
    """rlrun's, then those of plug-ins."""

    @property
    def all(self) -> list[Path]:
        """Every folder."""
        return [*self.own, *self.shipped]

    def clash(self, group: str, name: str) -> list[Path]:
        """Return the files of plug-ins that take a name another has, and no user settles it."""
        file = Path(group, f"{name}.yaml")
        if any((folder / file).is_file() for folder in self.own):
            return []
        return [folder / file for folder in self.shipped if (folder / file).is_file()][1:]


def conf_dir() -> Path:
    """Return the folder that holds `train.yaml` and the groups."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def choices(group: str, folders: list[Path]) -> list[str]:
    """Return the names of a group's YAML files, nested ones as `a/b`, without those of `_names`."""
    found = set()
    for folder in folders:
        root = folder / group
        for path in root.rglob("*.yaml"):
            if not path.name.startswith("_"):
                found.add(path.relative_to(root).with_suffix("").as_posix())
    return sorted(found)


def take_folders(arguments: list[str]) -> tuple[list[str], list[Path]]:
    """Split off each `--config-dir DIR`; ConfigError where it names no folder of groups."""
    words, folders = list[str](), list[Path]()
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        if name != "--config-dir":
            words.append(word)
            continue
        value = value if equals else next(rest, "")
        if not value:
            raise ConfigError(Problem(name, "needs a value"))
        folders.append(Path(value))
    check_folders(folders)
    return words, folders


def check_folders(folders: list[Path]) -> None:
    """Raise ConfigError unless each folder of a user's own YAML files holds groups, and no more."""
    problems = [Problem("--config-dir", text) for text in map(_fault_of, folders) if text]
    if problems:
        raise ConfigError(*problems)


def _fault_of(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if (folder / "train.yaml").exists():
        reason = "holds train.yaml, a name that is rlrun's own"
        return f"{folder} {reason}; put its values into experiment/NAME.yaml"
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if any(name in GROUPS for name in inside):
        return ""
    if folder.resolve().name in GROUPS:
        return f"{folder} is a group itself; name the folder that it lies in"
    hints = [f"{name}{hint}" for name in inside if (hint := near_miss(name, GROUPS))]
    found = f" (it holds {hints[0]})" if hints else ""
    return f"{folder} holds none of the folders {', '.join(GROUPS)}{found}"
