"""Layers, shapes and parameter counts of what an algorithm learns with."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gymnasium import spaces
from torch import Tensor, nn

from rlrun.algos.base import Algorithm
from rlrun.config import Problem
from rlrun.nets.actor_critic import ActorCritic
from rlrun.nets.images import image_of
from rlrun.nets.torso import Torso, TorsoStack
from rlrun.nets.torsos.mlp import MLP
from rlrun.schema import Recipe
from rlrun.types import EnvSpec, shown


@dataclass
class Layer:
    """One layer: the shapes of its parameters by name, how many numbers they are, and its output.

    Where several networks are one batched product, shapes begin with their number. `output` is
    without the leading dimensions of a batch, and () where no call was seen.
    """

    part: str
    name: str
    kind: str
    output: tuple[int, ...] = ()
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    parameters: int = 0


def networks(algorithm: Algorithm) -> dict[str, nn.Module]:
    """Return the modules among an algorithm's parts, by name."""
    parts = algorithm.parts().items()
    return {name: part for name, part in parts if isinstance(part, nn.Module)}


def layers(algorithm: Algorithm, outputs: Mapping[nn.Module, tuple[int, ...]]) -> list[Layer]:
    """Return every layer that holds parameters; `outputs` are the shapes that `watched` saw."""
    found: dict[tuple[str, str], Layer] = {}
    for part, module in networks(algorithm).items():
        for path, owner in module.named_modules():
            above, _, last = path.rpartition(".")
            listed = isinstance(owner, nn.ParameterList)  # entry k of several lists is one layer, k
            for name, value in owner.named_parameters(recurse=False):
                place = f"{above}.{name}" if listed else path or name
                kind = type(module.get_submodule(above) if listed else owner).__name__
                row = found.setdefault((part, place), Layer(part, place, kind))
                row.shapes[last if listed else name] = tuple(value.shape)
                row.parameters += value.numel()
                row.output = outputs.get(owner, ())
    return list(found.values())


def counts(algorithm: Algorithm) -> dict[str, int]:
    """Return how many parameters each network has; policy and value of one bundle apart."""
    sizes: dict[str, int] = {}
    for part, module in networks(algorithm).items():
        if isinstance(module, ActorCritic):
            sizes |= module.parameter_counts()
        else:
            sizes[part] = sum(each.numel() for each in module.parameters())
    return {name: size for name, size in sizes.items() if size}


def in_words(sizes: Mapping[str, int]) -> str:
    """Return counts as one line for people."""
    if not sizes:
        return "no parameters"
    rows = [f"{name.replace('_', ' ')} {size:,}" for name, size in sizes.items()]
    return ", ".join(rows) + " parameters"


def name_of(recipe: Recipe, algorithm: Algorithm) -> str:
    """Return the network's name, or `table` for an algorithm that builds none."""
    modules = [each for part in networks(algorithm).values() for each in part.modules()]
    built = any(isinstance(each, Torso | TorsoStack) for each in modules)
    return str(recipe.run.network["name"]) if built else "table"


def doubts(recipe: Recipe, spec: EnvSpec) -> Iterator[Problem]:
    """Yield what is doubtful about the network and its head; `rlrun train` says it, too."""
    policy, space = getattr(recipe.algorithm_config, "policy", None), spec.action_space
    kind = getattr(policy, "action_distribution", "gaussian")
    if kind != "gaussian" and not isinstance(space, spaces.Box):
        reason = f"{kind} is for Box actions and does nothing for {shown(space)}"
        yield Problem("algo.policy.action_distribution", reason)
    obs_space = spec.obs_space
    if recipe.network.torso is not MLP:
        return
    if not recipe.network.config.sizes:
        reason = "no hidden layers: what is learned is linear in the observation"
        yield Problem("network.sizes", reason)
    parts = obs_space.spaces.values() if isinstance(obs_space, spaces.Dict) else [obs_space]
    if any(image_of(part, "auto") is not None for part in parts):
        reason = "mlp sees an image as a row of numbers; network=auto takes convolutions"
        yield Problem("network", reason)


@contextmanager
def watched(algorithm: Algorithm) -> Iterator[dict[nn.Module, tuple[int, ...]]]:
    """Note what linear layers and convolutions give, by layer, while this is entered."""
    outputs: dict[nn.Module, tuple[int, ...]] = {}

    def note(kept: int, module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.setdefault(module, tuple(output.shape[-kept:]))

    hooks = [
        each.register_forward_hook(partial(note, 3 if isinstance(each, nn.Conv2d) else 1))
        for module in networks(algorithm).values()
        for each in module.modules()
        if isinstance(each, nn.Conv2d | nn.Linear)
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
