"""Microseconds that adapter and wrappers add to a step of each environment.

    python scripts/wrappers_cost.py                 every case
    python scripts/wrappers_cost.py atari flatten   some of them
    python scripts/wrappers_cost.py atari@ALE/Enduro-v5     one of them on another environment
    python scripts/wrappers_cost.py 'atari@ALE/*-v5'        and on every one of this kind

Random actions are played by 8 environments, one after the other, and what reaches the environments
within is written down: every step and reset, those of skipped frames and random starts among them.
`bare` is these environments alone doing the same again, one step a call, from the same seeds: the
same scenes, because an emulator takes 1 us for one frame and 90 for another. `adapter` is what the
adapter adds to environments without wrappers, on scenes of its own, `wrappers` the rest of `both`.

The two take turns, a few steps at a time, and play everything several times over; of each few steps
the least time counts. It is processor time, so that other work on the machine matters less.
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


class Stepped(NamedTuple):
    """An action taken by one of the environments, for some frames or until an episode ends."""

    env: int
    action: Any
    frames: int


class Begun(NamedTuple):
    """A reset of one of the environments.

    `drawn` is the state of its random numbers before it, because wrappers draw from them too.
    """

    env: int
    options: dict[str, Any]
    drawn: Any


Calls = list[Stepped | Begun]


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
        if name not in CASES:
            raise SystemExit(f"no case {name!r}; there are {', '.join(CASES)}")
        env_id, wrappers = CASES[name]
        for each in _named(pattern) if pattern else [env_id]:
            costs = row(each, wrappers)
            print(f"{name:<16} {each:<24}" + "".join(f"{cost:10.1f}" for cost in costs), flush=True)


def row(env_id: str, wrappers: str) -> tuple[float, float, float, float, float]:
    """Return the columns."""
    values = compose([f"env={env_id}", f"env.wrappers={wrappers}", "preset=none"], []).values
    wrapped = check(values).run.env
    alone, both = measure(replace(wrapped, wrappers=Wrappers())), measure(wrapped)
    return both.steps, both.bare, alone.added, both.added - alone.added, both.added


def measure(config: EnvConfig) -> Cost:
    """Return what the adapter with a config's wrappers adds to the environments within."""
    recording = record(config)
    whole = GymnasiumEnv(config, NUM_ENVS)
    bare = [make_env(config.id, config.kwargs) for _ in range(NUM_ENVS)]
    rows = []
    for _ in range(REPEATS):
        whole.reset(SEED)
        replay(bare, recording.first)
        pairs = zip(recording.actions, recording.turns, strict=True)
        rows.append([(_timed(play, whole, a), _timed(replay, bare, b)) for a, b in pairs])
    replay(bare, recording.first)
    again = [(*replay(bare, turn), _scenes(bare)) for turn in recording.turns]
    if [told for _, *told in again] != recording.told:
        raise SystemExit(f"{config.id} did not play the same again")
    whole.close()
    for env in bare:
        env.close()
    least = [[min(side) for side in zip(*turn, strict=True)] for turn in zip(*rows, strict=True)]
    taken, alone = (sum(side) / ALL for side in zip(*least, strict=True))
    return Cost(sum(steps for steps, *_ in again) / ALL, alone, taken - alone)


class Recording(NamedTuple):
    """Random actions of every turn, and the calls that the reset before and they became.

    `told` has rewards and scenes after every turn.
    """

    actions: list[list[Tensor]]
    first: Calls
    turns: list[Calls]
    told: list[list[Any]]


def record(config: EnvConfig) -> Recording:
    """Play a config's environments once."""
    listening = Listening()
    with mock.patch.object(adapter, "make_env", listening.make):
        env = GymnasiumEnv(config, NUM_ENVS)
    env.spec.action_space.seed(SEED)
    actions = [[_sample(env.spec.action_space) for _ in range(STEPS)] for _ in range(TURNS)]
    env.reset(SEED)
    first, _ = listening.taken()
    turns, told = [], []
    for turn in actions:
        play(env, turn)
        calls, rewards = listening.taken()
        turns.append(calls)
        told.append([rewards, _scenes(listening.made)])
    env.close()
    return Recording(actions, first, turns, told)


class Listening:
    """Makes environments that write down what they are asked for, and add up their rewards."""

    def __init__(self) -> None:
        self.made: list[AnyGym] = []
        self._calls, self._rewards, self._busy = Calls(), 0.0, False

    def taken(self) -> tuple[Calls, float]:
        """Return calls and rewards since the last time."""
        taken = self._calls, round(self._rewards, 6)
        self._calls, self._rewards = Calls(), 0.0
        return taken

    def make(self, env_id: str, kwargs: dict[str, Any]) -> AnyGym:
        """Make one of them."""
        env, index = make_env(env_id, kwargs), len(self.made)
        self.made.append(env)
        game: Any = env.unwrapped
        step, reset = game.step, game.reset

        def heard_step(action: Any) -> Any:
            # of Atari's, some wrappers set how many frames a step is
            frames = getattr(game, "_frameskip", 1)
            call = Stepped(index, deepcopy(action), frames)
            told = self._write(call, lambda: step(action))
            if not self._busy:
                self._rewards += float(told[1])
            return told

        def heard_reset(**options: Any) -> Any:
            seeded = options.get("seed") is not None
            drawn = None if seeded else deepcopy(game.np_random.bit_generator.state)
            return self._write(Begun(index, options, drawn), lambda: reset(**options))

        game.step, game.reset = heard_step, heard_reset
        return env

    def _write(self, call: Stepped | Begun, work: Callable[[], Any]) -> Any:
        if self._busy:  # some resets take a step
            return work()
        self._calls.append(call)
        self._busy = True
        try:
            return work()
        finally:
            self._busy = False


def play(env: GymnasiumEnv, actions: list[Tensor]) -> None:
    """Take steps with the adapter."""
    for action in actions:
        env.step(action)


def replay(envs: list[AnyGym], calls: Calls) -> tuple[int, float]:
    """Do again what was written down; return how many steps it took, and the rewards."""
    steps, rewards = 0, 0.0
    for call in calls:
        env = envs[call.env]
        if isinstance(call, Begun):
            if call.drawn is not None:
                env.unwrapped.np_random.bit_generator.state = call.drawn
            env.reset(**call.options)
            continue
        for _ in range(call.frames):
            _, reward, terminated, truncated, _ = env.step(call.action)
            steps, rewards = steps + 1, rewards + float(reward)
            if terminated or truncated:
                break
    return steps, round(rewards, 6)


def _scenes(envs: list[AnyGym]) -> list[str]:
    """Return where environments are, as far as they have one of the usual names for it."""
    games: list[Any] = [env.unwrapped for env in envs]
    return [
        repr(game.ale.getRAM().tolist() if hasattr(game, "ale") else getattr(game, "state", None))
        + repr(getattr(game, "s", None))
        for game in games
    ]


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
