"""Microseconds a vector step of environments one after the other and as batched arithmetic.

    python scripts/envs_cost.py                     every environment with a batched version
    python scripts/envs_cost.py CartPole-v1         one of them

Where the second column becomes smaller is what `BATCHED` in rlrun/envs/make.py holds. Run it on a
machine that does nothing else.
"""

import sys
import time

import torch

from rlrun.envs.adapter import EnvConfig
from rlrun.envs.base import VecEnv
from rlrun.envs.make import BATCHED, make_vec_env
from rlrun.envs.wrappers.chain import Wrappers

SIZES = (1, 4, 8, 16, 32, 64, 256, 1024, 4096)
STEPS, REPEATS = 60, 5


def main() -> None:
    """Print one table an environment."""
    torch.set_num_threads(1)
    for env_id in sys.argv[1:] or BATCHED:
        print(f"{env_id:<26} {'sync':>10} {'torch':>10}")
        for size in SIZES:
            costs = [f"{cost(env_id, kind, size):10.0f}" for kind in ("sync", "torch")]
            print(f"{size:>26} {' '.join(costs)}", flush=True)


def cost(env_id: str, kind: str, size: int) -> float:
    """Return the least time of a vector step, in microseconds; nan where it would take minutes."""
    if kind == "sync" and size > 256:
        return float("nan")
    config = EnvConfig(
        name=env_id,
        id=env_id,
        kwargs={},
        drop=(),
        success="info",
        wrappers=Wrappers(),
        vectorization=kind,  # type: ignore[arg-type]
    )
    env: VecEnv = make_vec_env(config, size, torch.device("cpu"))
    env.reset(0)
    action = torch.as_tensor(env.spec.action_space.sample())
    actions = action.expand(size, *action.shape).clone()
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for _ in range(STEPS):
            env.step(actions)
        best = min(best, (time.perf_counter() - begun) / STEPS)
    env.close()
    return best * 1e6


if __name__ == "__main__":
    main()
