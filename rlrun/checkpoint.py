"""Checkpoints as data: safetensors and JSON, committed whole or not at all.

A checkpoint is a folder `step-000100000` that holds `policy.json` and `policy.safetensors` (all
that evaluation needs), `resume/state.json` and `resume/state.safetensors` (what training needs
besides), and `manifest.json` with the size and SHA-256 of each. It is written under a temporary
name, synced and renamed, so a reader sees all of it or nothing.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from rlrun.config import ConfigError, Problem

FORMAT = 1
PREFIX = "step-"
JSON_LIMIT = 4 * 1024 * 1024
"""Bytes: a JSON file from a checkpoint is never this large, so a larger one is not parsed."""

State = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: a description and two nested states."""

    step: int
    path: Path
    description: Mapping[str, Any]
    policy: State
    resume: State


def save(
    folder: Path, step: int, description: Mapping[str, Any], policy: State, resume: State
) -> Path:
    """Commit a checkpoint under `folder` and return its path; one at that step is replaced.

    Raises OSError when the disk refuses; the temporary folder is removed and older checkpoints
    are untouched then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".tmp-{step}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    final = folder / f"{PREFIX}{step:09d}"
    try:
        (temporary / "resume").mkdir(parents=True)
        scalars = _write_state(temporary / "policy.safetensors", policy)
        _write(
            temporary / "policy.json", _to_json({**description, "step": step, "scalars": scalars})
        )
        scalars = _write_state(temporary / "resume" / "state.safetensors", resume)
        _write(temporary / "resume" / "state.json", _to_json({"scalars": scalars}))
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        listed = {str(path.relative_to(temporary)): _fingerprint(path) for path in files}
        manifest = {"format": FORMAT, "files": listed}
        _write(temporary / "manifest.json", _to_json(manifest))
        _sync(temporary / "resume")
        _sync(temporary)
        if final.exists():  # left damaged by an earlier process: a reader would have taken it
            final.rename(folder / f".old-{step}-{os.getpid()}")
        temporary.rename(final)
        shutil.rmtree(folder / f".old-{step}-{os.getpid()}", ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(folder)
    point(folder, "last", final)
    return final


def load(path: Path, *, with_resume: bool) -> Checkpoint:
    """Read and verify one checkpoint; ConfigError names what is damaged.

    Without `with_resume` nothing under `resume/` is opened.
    """
    manifest = _read_json(path / "manifest.json")
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, dict):
        raise _damaged(path, f"its format {manifest.get('format')!r} is unknown to this version")
    wanted = ["policy.json", "policy.safetensors"]
    wanted += ["resume/state.json", "resume/state.safetensors"] if with_resume else []
    for name in wanted:
        if not (path / name).is_file() or _fingerprint(path / name) != files.get(name):
            raise _damaged(path, f"{name} is missing or does not match its recorded hash")
    description = _read_json(path / "policy.json")
    policy = _read_state(path / "policy.safetensors", description["scalars"])
    resume: State = {}
    if with_resume:
        scalars = _read_json(path / "resume" / "state.json")["scalars"]
        resume = _read_state(path / "resume" / "state.safetensors", scalars)
    return Checkpoint(int(description["step"]), path, description, policy, resume)


def committed(folder: Path) -> list[Path]:
    """Return the checkpoints under a folder, oldest first; order is by number, never by hint."""
    found = [p for p in folder.glob(f"{PREFIX}*") if p.name[len(PREFIX) :].isdigit() and p.is_dir()]
    return sorted(found, key=lambda path: int(path.name[len(PREFIX) :]))


def load_newest(folder: Path, *, with_resume: bool) -> tuple[Checkpoint, list[str]]:
    """Return the newest checkpoint that is whole, and a warning for each that was passed over."""
    warnings: list[str] = []
    for path in reversed(committed(folder)):
        try:
            return load(path, with_resume=with_resume), warnings
        except ConfigError as fault:
            warnings.append(str(fault))
    lost = "".join(f"\n  {warning}" for warning in warnings)
    raise ConfigError(Problem("", f"no usable checkpoint under {folder}{lost}"))


def point(folder: Path, name: str, target: Path) -> None:
    """Let the hint file `name` (`last` or `best`) name a checkpoint."""
    temporary = folder / f".{name}-{os.getpid()}"
    _write(temporary, f"{target.name}\n".encode())
    temporary.replace(folder / name)


def pointed(folder: Path, name: str) -> Path | None:
    """Return the checkpoint that a hint names, or None."""
    try:
        target = folder / (folder / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return target if target in committed(folder) else None


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` (at least 2) checkpoints; best and last stay."""
    spared = {pointed(folder, "best"), pointed(folder, "last")}
    for path in committed(folder)[: -max(keep, 2)]:
        if path not in spared:
            shutil.rmtree(path, ignore_errors=True)


def split_state(state: State, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split a nested state into tensors under dotted names, and everything else likewise."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for key, value in state.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            tensors[name] = value.detach().cpu().contiguous().clone()
        elif isinstance(value, Mapping):
            more_tensors, more_scalars = split_state(value, f"{name}/")
            tensors |= more_tensors
            scalars |= more_scalars
        else:
            scalars[name] = value
    return tensors, scalars


def join_state(tensors: Mapping[str, Any], scalars: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `split_state`."""
    state: dict[str, Any] = {}
    for name, value in [*tensors.items(), *scalars.items()]:
        *path, last = name.split("/")
        place = state
        for key in path:
            place = place.setdefault(key, {})
        place[last] = value
    return state


def _write_state(path: Path, state: State) -> dict[str, Any]:
    tensors, scalars = split_state(state)
    _write(path, safetensors.torch.save(tensors))
    return scalars


def _read_state(path: Path, scalars: Mapping[str, Any]) -> dict[str, Any]:
    return join_state(safetensors.torch.load_file(path), scalars)


def _to_json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise _damaged(path.parent, f"{path.name} is larger than {JSON_LIMIT} bytes")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise _damaged(path.parent, f"{path.name} cannot be read: {fault}") from fault
    if not isinstance(value, dict):
        raise _damaged(path.parent, f"{path.name} does not hold an object")
    return value


def _damaged(path: Path, reason: str) -> ConfigError:
    return ConfigError(Problem("", f"checkpoint {path} is not usable: {reason}"))


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
