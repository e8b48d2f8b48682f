"""Train Stable-Baselines3's PPO on a MinAtar game with the values and network of our preset.

    .peers/bin/python scripts/peer_minatar.py MinAtar/Breakout-v1 0

Prints the mean return of 100 deterministic episodes and the seconds of training as one JSON line.
Needs `minatar` beside Stable-Baselines3. The figures stand in docs/results.md.
"""

import json
import sys
import time

import minatar.gym
import torch
from gymnasium import Space
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn


class MinAtarCNN(BaseFeaturesExtractor):
    """A convolution of 3 x 3 pixels and a dense layer, as `network=minatar_cnn`."""

    def __init__(self, space: Space) -> None:
        super().__init__(space, features_dim=128)
        height, width, channels = space.shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (height - 2) * (width - 2), 128),
            nn.ReLU(),
        )

    def forward(self, obs: Tensor) -> Tensor:
        """Return features `[B, 128]` of images `[B, H, W, C]`."""
        return self.layers(obs.permute(0, 3, 1, 2))


torch.set_num_threads(1)
minatar.gym.register_envs()
env_id, seed = sys.argv[1], int(sys.argv[2])
model = PPO(
    "MlpPolicy",
    make_vec_env(env_id, n_envs=64, seed=seed),
    n_steps=128,
    batch_size=1024,
    n_epochs=4,
    learning_rate=lambda left: 2.5e-3 * left,
    gamma=0.99,
    gae_lambda=0.95,
    ent_coef=0.01,
    policy_kwargs={"features_extractor_class": MinAtarCNN, "net_arch": []},
    seed=seed,
    device="cpu",
)
start = time.perf_counter()
model.learn(1_000_000)
seconds = time.perf_counter() - start
mean, _ = evaluate_policy(model, make_vec_env(env_id, n_envs=10, seed=seed + 1000), 100)
print(json.dumps({"env": env_id, "seed": seed, "mean_reward": mean, "seconds": round(seconds)}))
