"""`rlrun resume`: continue a run in its own folder."""

import sys
from pathlib import Path

from rlrun.config import ConfigError, Problem

HELP = """usage: rlrun resume RUN

Continue a run from its newest checkpoint, in the same folder and with the same configuration:
counters, schedules, optimizer, normalisers, memories and random numbers go on where they were;
environments start new episodes. A run that has finished says so.

example:
  rlrun resume runs/ppo/CartPole-v1/2026-01-31_12-00-00_s0_a1b2c3"""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        reason = "resume takes one run folder and no options, for a run keeps its configuration"
        raise ConfigError(Problem("", f"{reason} (see `rlrun resume --help`)"))
    path = Path(arguments[0])
    from rlrun import checkpoint
    from rlrun.accel.compiler import check_accel
    from rlrun.build import build_parts
    from rlrun.device import check_device
    from rlrun.launch import drive, show
    from rlrun.logger.console import PatientConsole
    from rlrun.rundir import RunFolder, read_manifest
    from rlrun.schema import check_saved

    if path.name == "checkpoints" and (path.parent / "manifest.json").exists():
        path = path.parent
    if not (path / "manifest.json").exists():
        reason = f"{path} is no run folder: it has no manifest.json"
        raise ConfigError(Problem("", reason))
    manifest = read_manifest(path)
    if manifest.get("status") == "finished":
        print(f"{path} has finished: nothing to resume", file=sys.stderr)
        return 0
    recipe = check_saved(manifest["config"], manifest.get("packages"))
    check_device(recipe.run.device.name)
    check_accel(recipe.run.accel, recipe.run.device.name)
    saved, warnings = checkpoint.load_newest(path / "checkpoints", with_resume=True)
    folder = RunFolder(path)
    console = PatientConsole()
    for warning in warnings:
        folder.log(f"warning: {warning}")
        show(console, f"warning: {warning}")
    resumes = int(manifest.get("resumes", 0)) + 1
    folder.update_manifest(status="running", resumes=resumes)
    text = f"resume {path} at step {saved.step:,} of {recipe.run.total_timesteps:,}"
    folder.log(text)
    show(console, text)
    parts = build_parts(recipe)
    return drive(recipe, parts, folder, console, resumes=resumes, saved=saved)
