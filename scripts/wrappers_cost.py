"""Microseconds that adapter and wrappers add to a step of each environment.

    python scripts/wrappers_cost.py                 every case
    python scripts/wrappers_cost.py atari flatten   some of them
    python scripts/wrappers_cost.py atari@ALE/Enduro-v5     one of them on another environment

`bare` is the environment alone as `gymnasium.make` gives it, for as many of its own steps as one
step with the wrappers takes; `adapter` is what the adapter adds to it, `wrappers` what they add to
that; all for each of 8 environments, one after the other. Processor time is counted, so that other
work on the machine matters less.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from rlrun.compose import compose
from rlrun.envs.adapter import EnvConfig, GymnasiumEnv
from rlrun.envs.registry import make_env
from rlrun.envs.spaces import action_writer
from rlrun.envs.wrappers.chain import Wrappers
from rlrun.schema import check

CASES = {
    "frame_stack": ("CartPole-v1", "[frame_stack]", 1),
    "flatten": ("CartPole-v1", "[flatten]", 1),
    "one_hot": ("FrozenLake-v1", "[one_hot]", 1),
    "time_aware": ("CartPole-v1", "[time_aware]", 1),
    "clip_reward": ("CartPole-v1", "[clip_reward]", 1),
    "sticky_action": ("CartPole-v1", "[sticky_action]", 1),
    "rescale_action": ("Pendulum-v1", "[rescale_action]", 1),
    "action_repeat": ("CartPole-v1", "[{name:action_repeat,times:4}]", 4),
    "max_and_skip": ("CartPole-v1", "[{name:max_and_skip,skip:4}]", 4),
    "resize": ("ALE/Pong-v5", "[resize]", 1),
    "atari": ("ALE/Pong-v5", "[atari]", 4),
}
"""Environment, `env.wrappers`, and how many of its steps are one with the wrappers."""
NUM_ENVS, STEPS, REPEATS = 8, 10, 120


def main() -> None:
    """Print one row a case."""
    torch.set_num_threads(1)
    columns = ("steps", "bare", "adapter", "wrappers", "both")
    print(f"{'case':<16} {'environment':<14}" + "".join(f"{each:>10}" for each in columns))
    for word in sys.argv[1:] or CASES:
        name, _, other = word.partition("@")
        env_id, words, frames = CASES[name]
        env_id = other or env_id
        costs = measure(env_id, words, frames)
        print(f"{name:<16} {env_id:<14}{frames:>10}" + "".join(f"{each:10.1f}" for each in costs))


def measure(env_id: str, words: str, frames: int) -> tuple[float, float, float, float]:
    """Return the columns; each is the least of measurements that take turns."""
    values = compose([f"env={env_id}", f"env.wrappers={words}", "preset=none"], []).values
    wrapped = check(values).run.env
    plain = EnvConfig(**{**vars(wrapped), "wrappers": Wrappers()})
    runs = [bare(wrapped), vectorised(plain), vectorised(wrapped)]
    rows = [[run() for run in runs] for _ in range(REPEATS)]
    alone, adapted, whole = (min(column) for column in zip(*rows, strict=True))
    # the adapter is passed once a step, however many steps of the environment are in it
    added, both = adapted - alone, whole - frames * alone
    return frames * alone, added, both - added, both


def bare(config: EnvConfig) -> Callable[[], float]:
    """Return the measurement of Gymnasium's environments in turn, in microseconds a step."""
    envs = [make_env(config.id, config.kwargs) for _ in range(NUM_ENVS)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    action: Any = action_writer(envs[0].action_space)(_actions(envs[0].action_space, 1))[0]

    def run() -> float:
        begun = time.process_time()
        for _ in range(STEPS):
            for env in envs:
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()
        return (time.process_time() - begun) / (STEPS * NUM_ENVS) * 1e6

    return run


def vectorised(config: EnvConfig) -> Callable[[], float]:
    """Return the measurement of the adapter, in microseconds a step of each environment."""
    env = GymnasiumEnv(config, NUM_ENVS)
    env.reset(0)
    actions = _actions(env.spec.action_space, NUM_ENVS)

    def run() -> float:
        begun = time.process_time()
        for _ in range(STEPS):
            env.step(actions)
        return (time.process_time() - begun) / (STEPS * NUM_ENVS) * 1e6

    return run


def _actions(space: Any, count: int) -> torch.Tensor:
    space.seed(0)
    action = torch.as_tensor(space.sample())
    return action.expand(count, *action.shape).clone()


if __name__ == "__main__":
    main()
