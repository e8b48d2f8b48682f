"""Everything `rlrun check` says of a run, as one plain mapping."""

from dataclasses import asdict
from typing import Any

from rlrun.accel.accelerator import WORTH_COMPILING
from rlrun.accel.compiler import has_compiler
from rlrun.build import Parts
from rlrun.inspection.advice import advise
from rlrun.inspection.network import counts, name_of
from rlrun.inspection.plan import backend_of, memory_of, plan_of
from rlrun.inspection.speed import forecast, measure
from rlrun.launch import Prepared
from rlrun.schema import Recipe


def inspect(prepared: Prepared, parts: Parts) -> dict[str, Any]:
    """Look at what was built, measure it for some seconds, and return what JSON can hold."""
    recipe, composed = prepared.recipe, prepared.composed
    run, algorithm = recipe.run, parts.algorithm
    plan, memory = plan_of(recipe, algorithm), memory_of(recipe, algorithm)
    speed = measure(recipe, parts)
    steps = {
        name: round(each * plan.learning_updates) for name, each in speed.gradient_steps.items()
    }
    seconds = forecast(recipe, plan, speed)
    choice, reason = accel_of(recipe, sum(steps.values()))
    return {
        "algorithm": run.algo["name"],
        "preset": composed.preset,
        "preset_changes": composed.preset_changes,
        "environment": {
            "name": run.env.name,
            "num_envs": run.num_envs,
            "backend": backend_of(recipe, parts),
            "observation_space": " ".join(str(algorithm.spec.obs_space).split()),
            "action_space": " ".join(str(algorithm.spec.action_space).split()),
        },
        "device": {"name": str(parts.device), "reason": parts.device_reason},
        "accel": {"choice": choice, "reason": reason},
        "network": {
            "name": name_of(recipe, algorithm),
            "parameters": counts(algorithm),
            "layers": [asdict(row) for row in speed.layers],
        },
        "plan": {**asdict(plan), "gradient_steps": steps},
        "memory": asdict(memory),
        "estimate": {
            "seconds": sum(seconds.values()),
            "steps_per_second": plan.steps / max(sum(seconds.values()), 1e-9),
            "parts": seconds,
            "updates_measured": speed.measured,
            "at_most": algorithm.horizon == 0,  # planning ends where it converges
        },
        "warnings": [
            {"key": each.key, "message": each.message}
            for each in advise(recipe, parts, plan, memory, speed)
        ],
    }


def accel_of(recipe: Recipe, gradient_steps: int) -> tuple[str, str]:
    """Return off or the kind of graph, and why, for the gradient steps ahead."""
    mode, ahead = recipe.run.accel, f"{gradient_steps:,} gradient steps ahead"
    if mode != "auto":
        return mode, "as asked"
    if not gradient_steps:
        return "off", "there is no gradient to compile"
    if not has_compiler():
        return "off", "no C++ compiler was found"
    if gradient_steps >= WORTH_COMPILING:
        reason = f"{ahead}, from {WORTH_COMPILING:,} it pays; the estimate is without it"
        return "compile", reason
    return "off", f"{ahead}, from {WORTH_COMPILING:,} it pays"
