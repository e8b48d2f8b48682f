"""The folder a run leaves behind: who made it, from what, and its log.

Two runs never share one: the name holds the time, the seed and a random part, and making it fails
rather than reuse. A lock file keeps a second process out of a run that is being written.
"""

import fcntl
import json
import os
import platform
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from rlrun import __version__
from rlrun.config import ConfigError, Problem

PACKAGES = ("torch", "gymnasium", "numpy", "hydra-core", "omegaconf", "safetensors", "rich")


def safe_name(name: str) -> str:
    """Return a name that is one path component: `ALE/Pong-v5` becomes `ALE-Pong-v5`."""
    return re.sub(r"[^A-Za-z0-9._=,+-]+", "-", name).strip(".-")[:100] or "unnamed"


def stamp() -> str:
    """Return the local time as part of a folder's name."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def check_writable(output: Path) -> None:
    """Raise ConfigError unless a folder could be made at `output`; nothing is created."""
    place = output
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise ConfigError(Problem("output_dir", f"{place} is a file, not a folder"))
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(Problem("output_dir", f"{place} is not writable"))


def new_folder(parent: Path, name: str) -> Path:
    """Make and return a folder that did not exist before; ConfigError when the disk refuses."""
    while True:
        path = parent / f"{name}_{secrets.token_hex(3)}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as fault:
            reason = f"{path} cannot be made: {fault.strerror}"
            raise ConfigError(Problem("output_dir", reason)) from fault
        return path


class RunFolder:
    """One run's folder: configuration, manifest, log, and the lock that guards it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path)
        self._log: IO[str] = (path / "log.txt").open("a", encoding="utf-8")

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    def log(self, text: str) -> None:
        """Append a line to log.txt; a full disk does not stop a run."""
        try:
            self._log.write(f"{stamp()}  {text}\n")
            self._log.flush()
        except OSError:
            pass

    def update_manifest(self, **entries: Any) -> None:
        """Add entries to manifest.json, replacing the file in one step."""
        path = self.path / "manifest.json"
        held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        temporary = self.path / f".manifest-{os.getpid()}"
        temporary.write_text(json.dumps({**held, **entries}, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)

    def close(self) -> None:
        """Release the lock and the log."""
        self._log.close()
        self._lock.close()


def create(
    path: Path, config: Mapping[str, Any], yaml: str, overrides: list[str], command: list[str]
) -> RunFolder:
    """Fill a new run folder with what the run was made from."""
    folder = RunFolder(path)
    (path / "config.yaml").write_text(yaml, encoding="utf-8")
    lines = "".join(f"{override}\n" for override in overrides)
    (path / "overrides.txt").write_text(lines, encoding="utf-8")
    folder.update_manifest(
        format=1,
        status="running",
        command=command,
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
        config=dict(config),
        resumes=0,
        resume="env-reset",
        resume_reason="environment and replay state are not saved yet; episodes start anew",
        **_machine(),
    )
    return folder


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a run's manifest; ConfigError says when the folder is not a run."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or not isinstance(manifest.get("config"), dict):
            raise ValueError("it holds no configuration")
    except (OSError, ValueError) as fault:
        raise ConfigError(Problem("", f"{path} is not a run folder: {fault}")) from fault
    return dict(manifest)


def _lock(path: Path) -> IO[str]:
    handle = (path / ".lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        handle.close()
        raise ConfigError(Problem("", f"{path} is in use by another process")) from fault
    return handle


def _machine() -> dict[str, Any]:
    return {
        "versions": {"rlrun": __version__, "python": platform.python_version(), **_versions()},
        "git_commit": _git_commit(),
        "machine": {
            "platform": platform.platform(),
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "executable": Path(sys.executable).name,
        },
        "clock_started": time.time(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _git_commit() -> str | None:
    """Return the commit of the working folder, with `+` when files differ from it."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip()
