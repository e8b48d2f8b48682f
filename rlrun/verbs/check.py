"""`rlrun check`: what a command would train, and how long that takes, without training."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlrun.config import ConfigError, Problem
from rlrun.verbs.train import split_options

HELP = """usage: rlrun check [GROUP=CHOICE ...] [KEY=VALUE ...] [--config-dir DIR] [--json]

Take the arguments of `rlrun train`, build everything, train nothing and write nothing. Reports
spaces, preset, network with shapes and parameter counts, updates and gradient steps ahead, memory,
an estimate of the training time on this machine, measured in a few seconds, and doubtful choices.

  --config-dir DIR   a folder of your own YAML groups, searched too
  --json             one JSON object instead of tables

examples:
  rlrun check algo=ppo env=CartPole-v1
  rlrun check algo=sac env=Pendulum-v1 total_timesteps=20000 --json"""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    as_json = "--json" in arguments
    words, options = split_options([word for word in arguments if word != "--json"])
    if "-m" in options["flags"] or options["--jobs"]:
        raise ConfigError(Problem("-m", "check looks at one run; leave out -m and --jobs"))
    if "--cfg" in options["flags"]:
        raise ConfigError(Problem("--cfg", "is an option of `rlrun train`; check prints no YAML"))
    from rlrun.build import build_parts
    from rlrun.inspection.report import inspect
    from rlrun.launch import prepare
    from rlrun.types import Diverged

    prepared = prepare(words, [Path(folder) for folder in options["--config-dir"]])
    parts = build_parts(prepared.recipe)
    try:
        report = inspect(prepared, parts)
    except Diverged as fault:
        print(f"rlrun: diverged while measuring: {fault}", file=sys.stderr)
        return 3
    finally:
        parts.env.close()
    if as_json:
        print(json.dumps(report))
    else:
        show(report)
    return 0


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    facts = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    facts.add_column(no_wrap=True, style="bold")
    facts.add_column(overflow="fold")
    for name, text in _facts(report):
        facts.add_row(name, text)
    console.print(facts, markup=False, highlight=False)
    table = Table("part", box=None)
    for heading in ("layer", "kind", "parameters", "output", "numbers"):
        table.add_column(heading, overflow="fold")
    for row in report["network"]["layers"]:
        shapes = ", ".join(f"{name} {_shape(shape)}" for name, shape in row["shapes"].items())
        output = _shape(row["output"]) if row["output"] else ""
        numbers = f"{row['parameters']:,}"
        table.add_row(row["part"], row["name"], row["kind"], shapes, output, numbers)
    if report["network"]["layers"]:
        console.print(table, highlight=False)
    for each in report["warnings"]:
        text = f"warning: {each['key']}: {each['message']}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if not report["warnings"]:
        console.print("nothing doubtful was found", highlight=False)


def _facts(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from rlrun.compose import as_words
    from rlrun.inspection.network import in_words

    env, device, accel = report["environment"], report["device"], report["accel"]
    changes = as_words(report["preset_changes"])
    yield "algorithm", f"{report['algorithm']} on {env['name']}"
    yield "preset", report["preset"] + (f": {changes}" if changes else "")
    yield "observation", env["observation_space"]
    yield "action", env["action_space"]
    yield "environments", f"{env['num_envs']}, {env['backend']}"
    yield "device", f"{device['name']}: {device['reason']}"
    yield "accel", f"{accel['choice']}: {accel['reason']}"
    yield from _ahead(report)
    yield "network", f"{report['network']['name']}: {in_words(report['network']['parameters'])}"


def _ahead(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    plan, memory, estimate = report["plan"], report["memory"], report["estimate"]
    each = plan["steps_per_update"]
    updates = f"{plan['updates']:,}, each on {each:,} new step{'s' if each > 1 else ''}"
    updates += f"; {plan['steps']:,} steps in all"
    if estimate["at_most"]:
        updates = f"{plan['updates']:,} at most; it ends where it converges"
    if plan["learning_updates"] < plan["updates"]:
        updates += f"; {plan['learning_updates']:,} of them learn"
    yield "updates", updates
    steps = plan["gradient_steps"]
    apart = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in steps.items())
    total = f"{sum(steps.values()):,}" + (f": {apart}" if len(steps) > 1 else "")
    yield "gradient steps", total if steps else "none: it learns without gradients"
    yield "evaluations", f"{plan['evaluations']:,}, the last one included"
    if memory["replay"]:
        yield "replay memory", f"{size(memory['replay'])} of {size(memory['free'])} free"
    checkpoints = f"{size(memory['checkpoint'])} each, {plan['checkpoints']:,} written"
    yield "checkpoints", f"{checkpoints}, {size(memory['checkpoints'])} kept"
    total_seconds = max(estimate["seconds"], 1e-9)
    shares = ", ".join(
        f"{name} {seconds / total_seconds:.0%}" for name, seconds in estimate["parts"].items()
    )
    speed = f"{estimate['steps_per_second']:,.0f} steps a second"
    about = "at most" if estimate["at_most"] else "about"
    yield "training time", f"{about} {duration(estimate['seconds'])} ({speed}: {shares})"
    yield "", "without evaluations, checkpoints and compiling"


def size(count: float) -> str:
    """Return bytes for people: 1,500,000 is `1.5 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Return a time for people: 5,400 is `1 h 30 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(each) for each in shape) or "1"
