"""Microseconds that adapter and wrappers add to a step of each environment.

    python scripts/wrappers_cost.py                 every case
    python scripts/wrappers_cost.py atari flatten   some of them
    python scripts/wrappers_cost.py atari@ALE/Enduro-v5     one of them on another environment
    python scripts/wrappers_cost.py 'atari@ALE/*-v5'        and on every one of this kind

Random actions are played by 8 environments, one after the other, and what reaches the environments
within is written down: every step and reset, those of skipped frames and random starts among them.
`bare` is Gymnasium's environments alone doing the same again, one step a call, from the same seeds:
the same scenes, because an emulator takes 1 us for one frame and 90 for another. `adapter` is what
the adapter alone adds to environments, measured likewise, `wrappers` what is left of `both`.

Both sides take turns, a few steps at a time, and play everything several times over; of each few
steps the least time counts. It is processor time, so that other work on the machine matters less.
"""

import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from fnmatch import filter as matching
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

from rlrun.compose import compose
from rlrun.envs import adapter
from rlrun.envs.adapter import EnvConfig, GymnasiumEnv
from rlrun.envs.registry import installed, make_env
from rlrun.envs.wrappers.base import AnyGym
from rlrun.envs.wrappers.chain import Wrappers
from rlrun.schema import check

CASES = {
    "frame_stack": ("CartPole-v1", "[frame_stack]"),
    "flatten": ("CartPole-v1", "[flatten]"),
    "one_hot": ("FrozenLake-v1", "[one_hot]"),
    "time_aware": ("CartPole-v1", "[time_aware]"),
    "clip_reward": ("CartPole-v1", "[clip_reward]"),
    "sticky_action": ("CartPole-v1", "[sticky_action]"),
    "rescale_action": ("Pendulum-v1", "[rescale_action]"),
    "action_repeat": ("CartPole-v1", "[{name:action_repeat,times:4}]"),
    "max_and_skip": ("CartPole-v1", "[{name:max_and_skip,skip:4}]"),
    "resize": ("ALE/Pong-v5", "[resize]"),
    "atari": ("ALE/Pong-v5", "[atari]"),
}
"""Environment and `env.wrappers`."""
NUM_ENVS, STEPS, TURNS, REPEATS, SEED = 8, 10, 16, 5, 0
ALL = STEPS * TURNS * NUM_ENVS


class Call(NamedTuple):
    """A step of one of the environments, or where `action` is None a reset with some words.

    `drawn` is the state of an environment's random numbers before it, from which wrappers draw too.
    """

    env: int
    action: Any
    words: dict[str, Any]
    drawn: Any = None


class Cost(NamedTuple):
    """How many steps of the environment one is, and microseconds a step: alone, and added."""

    steps: float
    bare: float
    added: float


def main() -> None:
    """Print one row a case."""
    torch.set_num_threads(1)
    columns = ("steps", "bare", "adapter", "wrappers", "both")
    print(f"{'case':<16} {'environment':<24}" + "".join(f"{each:>10}" for each in columns))
    for word in sys.argv[1:] or CASES:
        name, _, pattern = word.partition("@")
        env_id, words = CASES[name]
        for each in _named(pattern) if pattern else [env_id]:
            costs = row(each, words)
            print(f"{name:<16} {each:<24}" + "".join(f"{cost:10.1f}" for cost in costs), flush=True)


def row(env_id: str, words: str) -> tuple[float, float, float, float, float]:
    """Return the columns."""
    values = compose([f"env={env_id}", f"env.wrappers={words}", "preset=none"], []).values
    wrapped = check(values).run.env
    alone, both = measure(replace(wrapped, wrappers=Wrappers())), measure(wrapped)
    return both.steps, both.bare, alone.added, both.added - alone.added, both.added


def measure(config: EnvConfig) -> Cost:
    """Return what the adapter with a config's wrappers adds to the environments within."""
    actions, first, turns, rewards = record(config)
    whole = GymnasiumEnv(config, NUM_ENVS)
    bare = [make_env(config.id, config.kwargs) for _ in range(NUM_ENVS)]
    rows = []
    for _ in range(REPEATS):
        whole.reset(SEED)
        replay(bare, first)
        pairs = zip(actions, turns, strict=True)
        rows.append([(_timed(play, whole, a), _timed(replay, bare, b)) for a, b in pairs])
    whole.close()
    again = replay(bare, first) + sum(replay(bare, turn) for turn in turns)
    if abs(again - rewards) > 1e-6 * abs(rewards):
        raise SystemExit(f"{config.id} played otherwise the second time: {again}, {rewards}")
    least = [[min(side) for side in zip(*turn, strict=True)] for turn in zip(*rows, strict=True)]
    taken, alone = (sum(side) / ALL for side in zip(*least, strict=True))
    steps = sum(call.action is not None for turn in turns for call in turn)
    return Cost(steps / ALL, alone, taken - alone)


Turns = list[list[Call]]


def record(config: EnvConfig) -> tuple[list[list[Tensor]], list[Call], Turns, float]:
    """Return random actions, the calls that the reset before and they became, and all rewards."""
    made = Recording()
    with mock.patch.object(adapter, "make_env", made.make):
        env = GymnasiumEnv(config, NUM_ENVS)
    env.spec.action_space.seed(SEED)
    actions = [[_sample(env.spec.action_space) for _ in range(STEPS)] for _ in range(TURNS)]
    env.reset(SEED)
    first, turns = made.taken(), []
    for turn in actions:
        play(env, turn)
        turns.append(made.taken())
    env.close()
    return actions, first, turns, made.rewards


class Recording:
    """Makes environments that write down what they are asked for, and sums up their rewards."""

    def __init__(self) -> None:
        self.rewards, self._calls, self._made = 0.0, list[Call](), 0

    def taken(self) -> list[Call]:
        """Return what was written since the last time."""
        calls, self._calls = self._calls, []
        return calls

    def make(self, env_id: str, kwargs: dict[str, Any]) -> AnyGym:
        """Make one of them."""
        env, index = make_env(env_id, kwargs), self._made
        self._made += 1
        game: Any = env.unwrapped
        step, reset = game.step, game.reset

        def recorded_step(action: Any) -> Any:
            # of Atari's, some wrappers set how many frames a step is
            frames = getattr(game, "_frameskip", 1)
            self._calls.extend([Call(index, deepcopy(action), {})] * frames)
            told = step(action)
            self.rewards += float(told[1])
            return told

        def recorded_reset(**words: Any) -> Any:
            seeded = words.get("seed") is not None
            drawn = None if seeded else deepcopy(game.np_random.bit_generator.state)
            self._calls.append(Call(index, None, words, drawn))
            return reset(**words)

        game.step, game.reset = recorded_step, recorded_reset
        return env


def play(env: GymnasiumEnv, actions: list[Tensor]) -> None:
    """Take steps with the adapter."""
    for action in actions:
        env.step(action)


def replay(envs: list[AnyGym], calls: list[Call]) -> float:
    """Do again what was written down; return the sum of rewards."""
    rewards = 0.0
    for number, action, words, drawn in calls:
        env = envs[number]
        if action is not None:
            rewards += float(env.step(action)[1])
            continue
        if drawn is not None:
            env.unwrapped.np_random.bit_generator.state = drawn
        env.reset(**words)
    return rewards


def _named(pattern: str) -> list[str]:
    """Return the installed environments' ids that match, or the pattern where none does."""
    return matching(installed(), pattern) or [pattern]


def _sample(space: Any) -> Tensor:
    return torch.stack([torch.as_tensor(space.sample()) for _ in range(NUM_ENVS)])


def _timed(work: Callable[..., object], *args: Any) -> float:
    begun = time.process_time()
    work(*args)
    return (time.process_time() - begun) * 1e6


if __name__ == "__main__":
    main()
