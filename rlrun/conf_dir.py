"""Where the YAML groups lie: inside an installed wheel, or at the top of a source tree."""

from pathlib import Path


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
