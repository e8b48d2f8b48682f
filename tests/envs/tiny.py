"""Environments of a few steps for every kind of space, with what they must look like by hand.

Registered with Gymnasium when this module is imported: `env=tests.envs.tiny:Spaces-v0`.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import Space, spaces, wrappers

DISCRETE = spaces.Discrete(2)
INNER = spaces.Dict({"x": spaces.Discrete(3, start=1), "y": spaces.Box(0, 1, (1,), np.float64)})


@dataclass(frozen=True)
class ObsCase:
    """A space, what an episode shows, and the same as tensors (nested lists) and as a space."""

    space: Space[Any]
    shown: list[Any]
    read: list[Any]
    adapted: Space[Any]
    dtype: str = "float32"


def inner(x: int, y: float) -> dict[str, Any]:
    return {"x": x, "y": np.array([y])}


F64 = spaces.Box(np.array([-1.0, 0.0]), np.array([2.0, 5.0]), dtype=np.float64)
F32 = spaces.Box(np.float32([-1.0, 0.0]), np.float32([2.0, 5.0]))
WIDE = spaces.Box(-np.inf, np.inf, (1,), np.float32)
IMAGE = spaces.Box(0, 255, (2, 1), np.uint8)
PICTURE = spaces.Box(0, 255, (4, 3, 1), np.uint8)
POINT = spaces.Box(-1.0, 1.0, (), np.float32)
MULTI = spaces.MultiDiscrete([3, 2], start=[1, -1])
BITS = spaces.MultiBinary(2)

OBS: dict[str, ObsCase] = {
    "box": ObsCase(WIDE, [[0.5], [-1e9], [2.0]], [[0.5], [-1e9], [2.0]], WIDE),
    "float64": ObsCase(F64, [[-1, 0], [0.1, 5], [2, 1]], [[-1, 0], [0.1, 5], [2, 1]], F32),
    "scalar": ObsCase(POINT, [0.0, 0.5, 1.0], [0.0, 0.5, 1.0], POINT),
    "image": ObsCase(IMAGE, [[[0], [9]], [[255], [1]], [[7], [8]]], [], IMAGE, "uint8"),
    "picture": ObsCase(
        *(PICTURE, [[[[t], [7], [8]]] * 4 for t in (0, 9, 255)], [], PICTURE, "uint8")
    ),
    "seen and felt": ObsCase(
        spaces.Tuple([PICTURE, WIDE]),
        [([[[t]] * 3] * 4, [t + 0.5]) for t in range(3)],
        [{"0": [[[t]] * 3] * 4, "1": [t + 0.5]} for t in range(3)],
        spaces.Dict({"0": PICTURE, "1": WIDE}),
        "",
    ),
    "discrete": ObsCase(spaces.Discrete(3), [0, 1, 2], [0, 1, 2], spaces.Discrete(3), "int64"),
    "start": ObsCase(
        spaces.Discrete(3, start=5), [5, 6, 7], [0, 1, 2], spaces.Discrete(3), "int64"
    ),
    "multidiscrete": ObsCase(
        *(MULTI, [[1, -1], [2, 0], [3, -1]], [[0, 0], [1, 1], [2, 0]]),
        *(spaces.MultiDiscrete([3, 2]), "int64"),
    ),
    "multibinary": ObsCase(BITS, [[0, 1], [1, 1], [1, 0]], [], BITS, "int8"),
    "tuple": ObsCase(
        spaces.Tuple([spaces.Discrete(4), WIDE]),
        [(0, [0.5]), (1, [1.5]), (2, [2.5])],
        [{"0": t, "1": [t + 0.5]} for t in range(3)],
        spaces.Dict({"0": spaces.Discrete(4), "1": WIDE}),
        "",
    ),
    "nested": ObsCase(
        spaces.Dict({"b": spaces.Tuple([DISCRETE, INNER]), "a": IMAGE}),
        [{"a": [[t], [2 * t]], "b": (t % 2, inner(t + 1, t / 4))} for t in range(3)],
        [{"a": [[t], [2 * t]], "b.0": t % 2, "b.1.x": t, "b.1.y": [t / 4]} for t in range(3)],
        spaces.Dict(
            {
                "a": IMAGE,
                "b.0": DISCRETE,
                "b.1.x": spaces.Discrete(3),
                "b.1.y": spaces.Box(0, 1, (1,), np.float32),
            }
        ),
        "",
    ),
}
"""An episode shows the three values in their order; an empty `read` is `shown` itself."""

ACTIONS: dict[str, tuple[Space[Any], list[Any], list[Any]]] = {
    "discrete": (spaces.Discrete(3), [0, 2], [0, 2]),
    "start": (spaces.Discrete(3, start=1), [0, 2], [1, 3]),
    "multidiscrete": (MULTI, [[0, 1], [2, 0]], [[1, 0], [3, -1]]),
    "multibinary": (spaces.MultiBinary(3), [[0, 1, 1], [1, 0, 0]], [[0, 1, 1], [1, 0, 0]]),
    "table of bits": (
        spaces.MultiBinary([2, 2]),
        [[0, 1, 1, 0], [1, 1, 0, 0]],
        [[[0, 1], [1, 0]], [[1, 1], [0, 0]]],
    ),
    "box": (F32, [[-3.0, -1.0], [1.5, 9.0]], [[-1.0, 0.0], [1.5, 5.0]]),
    "float64": (F64, [[-3.0, -1.0], [1.5, 9.0]], [[-1.0, 0.0], [1.5, 5.0]]),
    "float16": (spaces.Box(-1, 1, (1,), np.float16), [[-3.0], [0.5]], [[-1.0], [0.5]]),
    "unbounded": (WIDE, [[-1e9], [0.5]], [[-1e9], [0.5]]),
    "matrix": (
        spaces.Box(-1, 1, (2, 2)),
        [[0.1, 0.2, 0.3, 0.4], [5, 6, -7, 0]],
        [[[0.1, 0.2], [0.3, 0.4]], [[1, 1], [-1, 0]]],
    ),
}
"""For each kind the space, two actions as a policy hands them out, and as the space has them."""


def value_of(space: Space[Any], value: Any) -> Any:
    """Return nested lists as a member of a space."""
    if isinstance(space, spaces.Dict):
        return {key: value_of(part, value[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(value_of(part, value[k]) for k, part in enumerate(space.spaces))
    return value if isinstance(space, spaces.Discrete) else np.array(value, space.dtype)


class Spaces(gym.Env):
    """Shows the values of a case of `OBS`; after two steps the episode ends, in turn either way.

    Checks that each action is one of its space, and remembers the last.
    """

    def __init__(self, obs: str = "box", action: str = "discrete") -> None:
        case = OBS[obs]
        self.observation_space, self.action_space = case.space, ACTIONS[action][0]
        self.shown = [value_of(case.space, value) for value in case.shown]
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode = 0 if seed is not None else self.episode + 1
        self.t = 0
        return self.shown[0], {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.action = action
        self.t += 1
        over = self.t == 2
        even = self.episode % 2 == 0
        return self.shown[self.t], float(self.t), over and even, over and not even, {}


class Wrong(gym.Env):
    """Has a space that tensors cannot hold."""

    def __init__(self, obs: Space[Any] = WIDE, action: Space[Any] = DISCRETE) -> None:
        self.observation_space, self.action_space = obs, action


class Goal(gym.Env):
    """Ends with success or without, as the first action says."""

    observation_space, action_space = WIDE, DISCRETE

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.float32([self.np_random.random()]), {}

    def step(self, action):
        return np.float32([2.0]), 0.0, True, False, {"is_success": bool(action)}


class Prize(gym.Env):
    """Ends at once: after action 0 without a reward, after 1 with one, after 2 with one, but cut.

    Tells in `info` the opposite of what its rewards say; half of what it shows is words.
    """

    observation_space = spaces.Dict({"seen": WIDE, "said": spaces.Text(9)})
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"seen": np.float32([0.5]), "said": "go"}, {}

    def step(self, action):
        shown = {"seen": np.float32([2.0]), "said": "done"}
        return (
            shown,
            float(action > 0),
            bool(action < 2),
            bool(action == 2),
            {"success": action == 0},
        )


class OneBuffer(gym.Env):
    """Hands out one buffer and writes into it, in `reset` too."""

    observation_space, action_space = WIDE, DISCRETE

    def __init__(self) -> None:
        self.buffer = np.zeros(1, dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.buffer[:] = 0.0
        return self.buffer, {}

    def step(self, action):
        self.buffer[:] = 3.0
        return self.buffer, 0.0, False, True, {}


def stacked(obs: str = "image", around: str = "nothing") -> gym.Env:
    """Return `Spaces` with three frames stacked, and perhaps a wrapper around that."""
    env = wrappers.FrameStackObservation(Spaces(obs), 3)
    if around == "turned":
        turned = spaces.Box(0, 255, (2, 1, 3), np.uint8)
        return wrappers.TransformObservation(env, lambda seen: np.moveaxis(seen, 0, -1), turned)
    return wrappers.TimeLimit(env, 100) if around == "limit" else env


gym.register("Stacked-v0", stacked)
for kind in (Spaces, Wrong, Goal, Prize, OneBuffer):
    gym.register(f"{kind.__name__}-v0", f"{__name__}:{kind.__name__}")
