"""Each family with its real package: a tiny command from the preset, and what is special to it."""

import json
import math

import pytest
import torch

from rlrun.build import build_parts
from rlrun.cli import main
from rlrun.types import map_obs
from tests.recipes import recipe

TINY = [
    *("num_envs=2", "algo.n_steps=8", "algo.batch_size=16", "algo.n_epochs=1"),
    *("total_timesteps=32", "log_every=16", "final_eval_episodes=2", "eval_num_envs=2"),
    *("eval_max_steps=20", "accel=off", "device=cpu", "env.vectorization=sync"),
]
WORLDS = {
    "Hopper-v5": ("mujoco", []),
    "MinAtar/Breakout-v1": ("minatar", []),
    "MiniGrid-Empty-8x8-v0": ("minigrid", ["env.kwargs.max_steps=15"]),
    "highway-fast-v0": (
        "highway_env",
        ["env.kwargs.config={duration: 3, vehicles_count: 2, lanes_count: 2}"],
    ),
    "stocks-v0": ("gym_anytrading", ["env.kwargs.frame_bound=[30, 45]"]),
    "Blackjack-v1": ("gymnasium", []),
}
"""From id to the package it needs and what makes it short."""


@pytest.mark.parametrize("env_id", WORLDS)
def test_trains_from_its_preset(env_id, tmp_path, monkeypatch):
    package, words = WORLDS[env_id]
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "algo=ppo", f"env={env_id}", *TINY, *words]) == 0
    (path,) = tmp_path.glob("runs/ppo/*/*/manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["config"]["preset"] == f"ppo/{env_id}"
    assert manifest["status"] == "finished"
    assert manifest["result"]["eval/episodes"] == 2
    assert math.isfinite(manifest["result"]["eval/mean_reward"])
    assert ("eval/success_rate" in manifest["result"]) == env_id.startswith("MiniGrid")


def torso_and_obs(env_id):
    made = recipe("algo=ppo", f"env={env_id}", "preset=auto", *TINY)
    parts = build_parts(made)
    obs = parts.env.reset(0)
    return made.network.build(parts.env.spec.obs_space), obs, parts.env


def test_image_and_direction_of_minigrid_both_reach_the_network():
    pytest.importorskip("minigrid")
    torso, obs, env = torso_and_obs("MiniGrid-Empty-8x8-v0")
    assert {key: tuple(leaf.shape) for key, leaf in obs.items()} == {
        "direction": (2,),
        "image": (2, 7, 7, 3),
    }
    seen = torso(obs)
    turned = torso({**obs, "direction": (obs["direction"] + 1) % 4})
    moved = torso({**obs, "image": obs["image"].flip(1)})
    assert not torch.allclose(seen, turned)
    assert not torch.allclose(seen, moved)
    env.close()


def test_reaching_the_goal_of_minigrid_is_a_success_and_running_out_of_steps_is_none():
    pytest.importorskip("minigrid")
    _, _, env = torso_and_obs("MiniGrid-Empty-8x8-v0")
    # from the upper left corner, facing right: 5 steps, a turn to the right, 5 steps; and turning
    ahead, right = 2, 1
    for action in [ahead] * 5 + [right] + [ahead] * 5:
        step = env.step(torch.tensor([action, right]))
    assert step.terminated.tolist() == [True, False]
    assert step.success.tolist() == [True, False]
    assert step.reward[0].item() == pytest.approx(1 - 0.9 * 11 / 256)
    while not step.truncated[1]:
        step = env.step(torch.tensor([right, right]))
    assert step.success.tolist() == [False, False]
    env.close()


def test_channels_of_minatar_are_on_the_last_axis():
    pytest.importorskip("minatar")
    torso, obs, env = torso_and_obs("MinAtar/Breakout-v1")
    assert (tuple(obs.shape), obs.dtype) == ((2, 10, 10, 4), torch.bool)
    (image,) = torso.images.values()
    assert (image.channels, image.height, image.channels_first) == (4, 10, False)
    assert torso(obs).shape == (2, 128)
    env.close()


def test_a_hand_of_blackjack_is_one_vector_of_all_its_parts():
    torso, obs, env = torso_and_obs("Blackjack-v1")
    assert sorted(obs) == ["0", "1", "2"]
    rows = {"0": torch.tensor([20, 4]), "1": torch.tensor([10, 1]), "2": torch.tensor([0, 1])}
    hot = torso.encoder(map_obs(lambda leaf: leaf, rows))
    assert hot.shape == (2, 32 + 11 + 2)
    # 20 of 0 to 31, then the dealer's 10 of 0 to 10, then no ace
    assert hot[0].nonzero().flatten().tolist() == [20, 32 + 10, 43 + 0]
    assert hot[1].nonzero().flatten().tolist() == [4, 32 + 1, 43 + 1]
    env.close()
