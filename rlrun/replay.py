"""Builds a saved policy from its checkpoint and plays it; nothing but data is read."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from rlrun import checkpoint
from rlrun.accel.threads import at_first
from rlrun.build import build_algorithm, make_env
from rlrun.checkpoint import Checkpoint
from rlrun.config import ConfigError, Problem, option
from rlrun.device import choose_device
from rlrun.evaluate import Evaluation, evaluate
from rlrun.schema import check_saved
from rlrun.video import VideoWriter


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """What a replay is asked for."""

    episodes: int = option("episodes to play", at_least=1)
    seed: int = option("of the environments", at_least=0)
    num_envs: int = option("parallel environments", at_least=1)
    max_steps: int = option("an episode is cut here", at_least=1)
    device: Literal["auto", "cpu", "cuda"] = option("where tensors live")
    which: Literal["best", "last"] = option("the checkpoint of a run")


@dataclass(frozen=True)
class Replayed:
    """The outcome, and what was played."""

    title: str
    step: int
    checkpoint: Path
    outcome: Evaluation
    video: Path | None


def find_checkpoint(path: Path, which: str) -> tuple[Checkpoint, list[str]]:
    """Return the checkpoint a path means, and warnings about damaged ones passed over.

    A run means its best or newest checkpoint; damaged ones give way to the newest that is whole.
    """
    if (path / "policy.json").is_file():
        return checkpoint.load(path, with_resume=False), []
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    if not checkpoint.committed(folder):
        raise ConfigError(Problem("", f"{path} is neither a run folder nor a checkpoint"))
    best = checkpoint.pointed(folder, "best") if which == "best" else None
    if best is not None:
        try:
            return checkpoint.load(best, with_resume=False), []
        except ConfigError as fault:
            saved, warnings = checkpoint.load_newest(folder, with_resume=False)
            return saved, [str(fault), *warnings]
    return checkpoint.load_newest(folder, with_resume=False)


def home_of(path: Path) -> Path:
    """Return the run folder of a run or checkpoint; for a checkpoint on its own, this folder."""
    path = path.resolve()
    if (path / "checkpoints").is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else Path.cwd()


def replay(saved: Checkpoint, options: ReplayConfig, flags: set[str]) -> Replayed:
    """Play episodes with a saved policy. Raises ConfigError for what cannot be built or shown."""
    config = saved.description["config"]
    env_id = str(config["env"]["id"])
    if ":" in env_id and "--trust-code" not in flags:
        reason = f"{env_id!r} imports code of that module; add --trust-code if you trust it"
        raise ConfigError(Problem("env", reason))
    recipe = check_saved(config, saved.description.get("packages"))
    torch.set_num_threads(at_first(recipe.run.threads))
    video = "--video" in flags
    mode = "rgb_array" if video else "human" if "--render" in flags else None
    if video:  # pictures need no screen
        os.environ.setdefault(
            "SDL_VIDEODRIVER", "offscreen"
        )  # "dummy" keeps highway-env from drawing
        if "DISPLAY" not in os.environ:
            os.environ.setdefault("MUJOCO_GL", "egl")
    count = 1 if mode else min(options.num_envs, options.episodes)
    env = make_env(recipe, count, mode)
    try:
        if mode and mode not in env.render_modes:
            reason = f"{env_id} draws no pictures: its render modes are {env.render_modes}"
            raise ConfigError(Problem("--video" if video else "--render", reason))
        device, _ = choose_device(options.device, env.spec.obs_space)
        algorithm = build_algorithm(recipe, env.spec, device)
        algorithm.parts()["policy"].load_state_dict(saved.policy)
        algorithm.anneal(1.0)
        play = partial(
            evaluate,
            partial(algorithm.act, explore="--stochastic" in flags),
            algorithm.initial_carry,
            env,
            episodes=options.episodes,
            seed=options.seed,
            device=device,
            max_steps=options.max_steps,
        )
        outcome, path = _filmed(play, env, saved) if video else (play(), None)
    finally:
        env.close()
    title = f"{recipe.run.algo['name']} on {recipe.run.env.name}"
    return Replayed(title, saved.step, saved.path, outcome, path)


def _filmed(
    play: Callable[..., Evaluation], env: Any, saved: Checkpoint
) -> tuple[Evaluation, Path]:
    folder = home_of(saved.path) / "videos"
    writer = VideoWriter(folder, f"step-{saved.step:09d}", env.frames_per_second)
    outcome = play(on_step=lambda: writer.add(_picture(env)))
    return outcome, writer.close()


def _picture(env: Any) -> Any:
    try:
        return env.render()
    except Exception as fault:  # each kind of environment fails in its own way to draw
        reason = (str(fault).splitlines() or [type(fault).__name__])[0]
        fix = "MuJoCo needs OpenGL: install libegl1, or libosmesa6 and set MUJOCO_GL=osmesa"
        raise ConfigError(
            Problem("--video", f"no picture can be drawn here: {reason}; {fix}")
        ) from fault
