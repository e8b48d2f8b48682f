"""`rlrun eval`: replay a saved policy."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrun.config import ConfigError, Problem, parse

if TYPE_CHECKING:
    from rlrun.replay import Replayed

HELP = """usage: rlrun eval RUN|CHECKPOINT [KEY=VALUE ...] [--stochastic] [--video] [--render human]

Play whole episodes with a saved policy in fresh environments; print a table and write eval.json.
RUN uses its best checkpoint, or its newest one if none is marked best.

  episodes=100     how many
  seed=0           of the environments and of a stochastic policy
  num_envs=20      parallel environments
  max_steps=100000 an episode is cut here
  device=auto      auto, cpu or cuda
  which=best       best or last, where RUN is a run
  --stochastic     sample actions instead of taking the most likely ones
  --video          write an mp4 (gif without ffmpeg) of the first episodes, one environment
  --render human   show a window, one environment
  --trust-code     allow an environment of the form module:Env-v0, which imports that module

examples:
  rlrun eval runs/ppo/CartPole-v1/<run>
  rlrun eval runs/ppo/CartPole-v1/<run> episodes=3 --video
  rlrun eval runs/ppo/CartPole-v1/<run>/checkpoints/step-000100000 --stochastic"""

DEFAULTS: dict[str, Any] = {
    "episodes": 100,
    "seed": 0,
    "num_envs": 20,
    "max_steps": 100_000,
    "device": "auto",
    "which": "best",
}


def main(arguments: list[str]) -> int:
    """Run the verb."""
    from rlrun.replay import ReplayConfig, find_checkpoint, replay

    path, values, flags = _read(arguments)
    problems: list[Problem] = []
    config = parse(ReplayConfig, values, "", problems)
    if path is None:
        problems.append(Problem("", "eval takes one run or checkpoint (see `rlrun eval --help`)"))
    if config is None or path is None:
        raise ConfigError(*problems)
    saved, warnings = find_checkpoint(path, config.which)
    for warning in warnings:
        print(f"warning: {warning}")
    played = replay(saved, config, flags)
    _report(played, config.seed, flags, path)
    return 0


def _read(arguments: list[str]) -> tuple[Path | None, dict[str, Any], set[str]]:
    values, flags, places = dict(DEFAULTS), set[str](), list[Path]()
    rest = iter(arguments)
    for word in rest:
        key, equals, value = word.partition("=")
        if word in ("--video", "--stochastic", "--trust-code"):
            flags.add(word)
        elif key == "--render":
            mode = value if equals else next(rest, "")
            if mode != "human":
                raise ConfigError(Problem("--render", f"{mode!r} is not human"))
            flags.add("--render")
        elif word.startswith("-"):
            raise ConfigError(Problem(word, "unknown option (see `rlrun eval --help`)"))
        elif equals and not Path(word).exists():
            values[key] = _number(value)
        else:
            places.append(Path(word))
    return (places[0] if len(places) == 1 else None), values, flags


def _number(text: str) -> Any:
    try:
        return float(text)  # 1e2 is a fair way to write 100
    except ValueError:
        return text


def _report(played: "Replayed", seed: int, flags: set[str], path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from rlrun.replay import home_of

    metrics = played.outcome.metrics()
    table = Table("figure", "value", title=f"{played.title}, step {played.step:,}")
    for key, value in metrics.items():
        table.add_row(key, f"{value:,.4g}")
    console = Console()
    console.print(table)
    report = {
        "checkpoint": str(played.checkpoint),
        "step": played.step,
        "stochastic": "--stochastic" in flags,
        "seed": seed,
        "metrics": metrics,
        "cut": played.outcome.cut,
        "returns": played.outcome.returns,
        "lengths": played.outcome.lengths,
    }
    if played.outcome.cut:
        console.print(f"warning: {played.outcome.cut} episodes were cut at max_steps")
    target = home_of(path) / "eval.json"
    try:
        target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        console.print(f"written to {target}", highlight=False, soft_wrap=True)
    except OSError as fault:  # a run on a read-only disk can still be looked at
        console.print(f"warning: {target} was not written: {fault}", highlight=False)
    if played.video is not None:
        console.print(f"video {played.video}", highlight=False, soft_wrap=True)
