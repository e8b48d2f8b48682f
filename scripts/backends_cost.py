"""Steps a second of the ways to step environments, as ratios to one after the other.

    python scripts/backends_cost.py                 every environment
    python scripts/backends_cost.py CartPole-v1     one of them

The ways take turns, so that what else the machine does falls on all of them.
"""

import statistics
import sys
import time

import torch

from rlrun.compose import compose
from rlrun.envs.make import AnyEnv, make_vec_env
from rlrun.schema import check

SIZES = (8, 64)
SECONDS, REPEATS = 0.5, 5
WAYS = {
    "CartPole-v1": {"async": (), "torch": (), "envpool": ()},
    "Pendulum-v1": {"async": (), "torch": (), "envpool": ()},
    "ALE/Pong-v5": {"async": (), "ale": (), "envpool": ("env=Pong-v5",)},
}
"""For each environment what is held against `sync`, and other words it needs."""


def main() -> None:
    """Print a line for each environment and number of them."""
    torch.set_num_threads(1)
    for env_id in sys.argv[1:] or WAYS:
        for size in SIZES:
            print(f"{env_id}, {size}: {compare(env_id, size)}", flush=True)


def compare(env_id: str, size: int) -> str:
    """Return the median ratio of each way to `sync`, with its range."""
    ways = {"sync": (), **WAYS[env_id]}
    envs = {way: made(env_id, way, words, size) for way, words in ways.items()}
    rates: dict[str, list[float]] = {way: [] for way in envs}
    for _ in range(REPEATS):
        for way, env in envs.items():
            rates[way].append(rate(env))
    for env in envs.values():
        env.close()
    cells = []
    for way in WAYS[env_id]:
        pairs = zip(rates[way], rates["sync"], strict=True)
        found = sorted(mine / base for mine, base in pairs)
        cells.append(f"{way} {statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})")
    return ", ".join(cells)


def made(env_id: str, way: str, words: tuple[str, ...], size: int) -> AnyEnv:
    """Make environments as `rlrun train` would."""
    asked = ["algo=ppo", f"env={env_id}", *words, "preset=none", f"env.vectorization={way}"]
    composed = compose(asked, [])
    config = check(composed.values, composed.problems, composed.doubtful).run.env
    env = make_vec_env(config, size, torch.device("cpu"))
    env.reset(0)
    return env


def rate(env: AnyEnv) -> float:
    """Return the steps a second of all environments together, under random actions."""
    space, count = env.spec.action_space, env.spec.num_envs
    actions = [torch.as_tensor(space.sample()).expand(count, *space.shape).clone() for _ in "ab"]
    begun, taken = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < SECONDS:
        env.step(actions[taken % 2])
        taken += 1
    return taken * count / spent


if __name__ == "__main__":
    main()
