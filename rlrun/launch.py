"""Takes one run from words to its end: check, build, make the folder, train, report."""

import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rlrun import __version__, async_runner, checkpoint, rundir, runner
from rlrun.accel.compiler import check_accel
from rlrun.accel.precision import doubt
from rlrun.build import Parts, assemble, build_parts
from rlrun.compose import Composed, as_words, compose, to_yaml
from rlrun.device import check_device
from rlrun.evaluate import Evaluation
from rlrun.experiment import Experiment
from rlrun.inspection.network import counts, doubts, in_words, name_of
from rlrun.logger.console import ConsoleLogger, PatientConsole
from rlrun.schema import Recipe, check
from rlrun.types import Diverged

LOOPS = {"sync": runner.train, "async": async_runner.train}
"""From what an algorithm asks for, `Algorithm.runner`, to the loop that drives it."""


@dataclass(frozen=True)
class Prepared:
    """A run that passed every check that costs nothing to make."""

    composed: Composed
    recipe: Recipe

    @property
    def yaml(self) -> str:
        """The resolved configuration, for people."""
        return to_yaml(self.recipe.plain())


def prepare(words: list[str], config_dirs: list[Path]) -> Prepared:
    """Compose and check one run's configuration."""
    return checked(compose(words, config_dirs))


def checked(composed: Composed) -> Prepared:
    """Check a composed configuration against types, ranges and what this machine has."""
    recipe = check(composed.values, composed.problems, composed.doubtful)
    check_device(recipe.run.device.name)
    check_accel(recipe.run.accel, recipe.run.device.name)
    rundir.check_writable(Path(recipe.run.output_dir))
    return Prepared(composed, recipe)


def launch(
    prepared: Prepared,
    *,
    command: list[str],
    parent: Path | None = None,
    name: str = "",
    quiet: bool = False,
) -> int:
    """Build and train one run in a new folder, under `parent` if given; return the exit code."""
    console = PatientConsole(quiet=quiet)
    recipe = prepared.recipe
    parts = build_parts(recipe)
    path = _make_folder(recipe, parent, name)
    try:
        folder = rundir.create(
            path, recipe.plain(), prepared.yaml, prepared.composed.overrides, command
        )
        folder.update_manifest(packages=recipe.packages())
    except BaseException:
        parts.env.close()
        raise
    _introduce(console, folder, prepared, parts)
    return drive(recipe, parts, folder, console)


def drive(
    recipe: Recipe,
    parts: Parts,
    folder: rundir.RunFolder,
    console: Console,
    *,
    resumes: int = 0,
    saved: Any = None,
) -> int:
    """Train in a folder that exists, from a checkpoint if given; return the exit code."""

    def say(text: str) -> None:
        folder.log(text)
        show(console, text)

    run = recipe.run
    title = f"{run.algo['name']} on {run.env.name}"
    offset = saved.resume["metrics_offset"] if saved else 0
    steps = saved.step if saved else 0
    shown = "console" in run.logger and not console.quiet
    panel = ConsoleLogger(console, run.total_timesteps, steps, title) if shown else None
    with assemble(
        recipe, parts, folder, say, panel, resumes=resumes, metrics_bytes=offset
    ) as experiment:
        if saved is not None:
            experiment.restore(saved)
        return _train_and_report(experiment, say)


def _train_and_report(experiment: Experiment, say: Any) -> int:
    folder = experiment.folder
    try:
        with runner.stop_on_signals(experiment):
            outcome = LOOPS[experiment.algorithm.runner](experiment)
    except Diverged as fault:
        experiment.loggers.close()
        kept = "the last checkpoint is kept" if checkpoint.committed(folder.checkpoints) else ""
        say(f"diverged at step {experiment.clock.steps:,}: {fault}" + (f"; {kept}" if kept else ""))
        folder.update_manifest(status="diverged", reason=str(fault))
        return 3
    except Exception as fault:
        experiment.loggers.close()
        folder.log(traceback.format_exc())
        folder.update_manifest(status="failed", reason=str(fault))
        say(f"failed at step {experiment.clock.steps:,}: {fault!r}")
        say(f"the traceback is in {folder.path / 'log.txt'}")
        return 1
    experiment.loggers.close()
    if outcome is None:
        number = experiment.stop_signal or signal.SIGINT
        folder.update_manifest(status="interrupted", steps=experiment.clock.steps)
        say(
            f"stopped at step {experiment.clock.steps:,}; continue with: rlrun resume {folder.path}"
        )
        return 128 + number
    _report(experiment, outcome, say)
    return 0


def _report(experiment: Experiment, outcome: Evaluation, say: Any) -> None:
    result = {"steps": experiment.clock.steps, **outcome.metrics()}
    experiment.folder.update_manifest(status="finished", result=result)
    episodes = len(outcome.returns)
    say(
        f"evaluation over {episodes} episodes: mean_reward {outcome.mean:.2f} "
        f"+- {outcome.standard_error:.2f} (standard error), std {outcome.std:.2f}"
    )
    say(f"run folder {experiment.folder.path}")


def _make_folder(recipe: Recipe, parent: Path | None, name: str) -> Path:
    run = recipe.run
    if parent is not None:
        path = parent / name
        path.mkdir(parents=True)
        return path
    place = Path(run.output_dir) / run.algo["name"] / rundir.safe_name(run.env.name)
    return rundir.new_folder(place, f"{rundir.stamp()}_s{run.seed}")


def _introduce(
    console: Console, folder: rundir.RunFolder, prepared: Prepared, parts: Parts
) -> None:
    composed, run = prepared.composed, prepared.recipe.run
    recipe, algorithm = prepared.recipe, parts.algorithm
    sizes = in_words(counts(algorithm))
    changes = as_words(composed.preset_changes)
    rows = [
        f"rlrun {__version__}: {run.algo['name']} on {run.env.name}, seed {run.seed}",
        f"preset  {composed.preset}" + (f": {changes}" if changes else ""),
        f"device  {parts.device}: {parts.device_reason}",
        f"network {name_of(recipe, algorithm)}: {sizes}",
        f"folder  {folder.path}",
    ]
    if parts.precision_reason:
        rows.append(f"numbers {run.precision}: {parts.precision_reason}")
    found = doubts(recipe, algorithm.spec)
    for each in (*found, *doubt(run.precision, parts.device)):
        rows.append(f"warning: {each.key}: {each.message}")
    for row in rows:
        folder.log(row)
        show(console, row)


def show(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
