"""Train Stable-Baselines3 on one case of `bench.py`; print its steps a second as one JSON line.

Runs in an environment of its own (`make bench` makes it): rlrun does not depend on any peer.
"""

import json
import sys
import time

import torch
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env

COMMON = {"learning_rate": 2.5e-4, "ent_coef": 0.01, "n_epochs": 4}
MEMORY = {"batch_size": 64, "buffer_size": 100_000, "learning_starts": 1_000}
WIDE = {"net_arch": [256, 256]}
CONTINUOUS = {"batch_size": 256, "learning_starts": 1_000, "policy_kwargs": WIDE}
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
    "dqn-zoo": (
        DQN,
        1,
        20_480,
        2_048,
        {
            **MEMORY,
            "learning_rate": 2.3e-3,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            "policy_kwargs": WIDE,
        },
    ),
    "dqn-freq4": (
        DQN,
        1,
        20_000,
        2_000,
        {**MEMORY, "learning_rate": 1e-4, "train_freq": 4, "target_update_interval": 500},
    ),
    "sac": (SAC, 1, 2_000, 1_200, {**CONTINUOUS, "learning_rate": 3e-4}),
    "td3": (TD3, 1, 2_000, 1_200, {**CONTINUOUS, "learning_rate": 1e-3}),
}
PENDULUM = ("sac", "td3")

torch.set_num_threads(1)
algorithm, num_envs, steps, warm_up, options = CASES[sys.argv[1]]
env_id = "Pendulum-v1" if sys.argv[1] in PENDULUM else "CartPole-v1"
env = make_vec_env(env_id, n_envs=num_envs, seed=1)
model = algorithm("MlpPolicy", env, device="cpu", seed=1, **options)
model.learn(warm_up)
before, start = model.num_timesteps, time.perf_counter()
model.learn(steps, reset_num_timesteps=False)
seconds = time.perf_counter() - start
print(json.dumps({"steps_per_second": (model.num_timesteps - before) / seconds}))
