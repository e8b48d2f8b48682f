"""Train Stable-Baselines3 on one case of `bench.py`; print its steps a second as one JSON line.

Runs in an environment of its own (`make bench` makes it): rlrun does not depend on any peer.
"""

import json
import sys
import time

import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env

COMMON = {"learning_rate": 2.5e-4, "ent_coef": 0.01, "n_epochs": 4}
# case: class, environments, timed steps, untimed steps, arguments
CASES = {
    "ppo-small": (PPO, 4, 40_960, 1_024, {**COMMON, "n_steps": 128, "batch_size": 128}),
    "ppo-wide": (PPO, 64, 262_144, 8_192, {**COMMON, "n_steps": 128, "batch_size": 2_048}),
    "ppo-epochs": (
        PPO,
        8,
        25_600,
        512,
        {
            "n_steps": 32,
            "batch_size": 256,
            "n_epochs": 20,
            "gamma": 0.98,
            "gae_lambda": 0.8,
            "learning_rate": 1e-3,
        },
    ),
    "a2c": (A2C, 8, 40_000, 800, {"n_steps": 5, "learning_rate": 7e-4}),
}

torch.set_num_threads(1)
algorithm, num_envs, steps, warm_up, options = CASES[sys.argv[1]]
env = make_vec_env("CartPole-v1", n_envs=num_envs, seed=1)
model = algorithm("MlpPolicy", env, device="cpu", seed=1, **options)
model.learn(warm_up)
before, start = model.num_timesteps, time.perf_counter()
model.learn(steps, reset_num_timesteps=False)
seconds = time.perf_counter() - start
print(json.dumps({"steps_per_second": (model.num_timesteps - before) / seconds}))
