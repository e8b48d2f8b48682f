"""`--config-dir`: a folder of one's own YAML files, searched before everything else."""

import json
from pathlib import Path

import pytest

from rlrun.cli import main

BRIEF = ["total_timesteps=32", "final_eval_episodes=1", "accel=off", "device=cpu"]
SMALL = ["algo.n_steps=8", "algo.batch_size=16", "algo.n_epochs=1", *BRIEF]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, text):
    path = Path("mine", f"{name}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_ones_own_file_wins_over_one_of_the_same_name(capsys):
    write("preset/ppo/CartPole-v1", "# @package _global_\nnum_envs: 2\n")
    write("network/mlp", "defaults: [mlp_relu, _self_]\nsizes: [7]\n")
    words = ["train", "algo=ppo", "env=CartPole-v1", "--cfg"]
    assert main([*words, "--config-dir", "mine"]) == 0
    mine = capsys.readouterr().out
    assert "num_envs: 2\n" in mine
    assert "activation: relu\n" in mine
    assert "  sizes:\n  - 7\n" in mine
    assert main(words) == 0
    assert "num_envs: 2\n" not in capsys.readouterr().out


def test_the_first_folder_wins_over_the_second(tmp_path, capsys):
    for place, seed in (("one", 1), ("two", 2)):
        folder = tmp_path / place / "experiment"
        folder.mkdir(parents=True)
        (folder / "tiny.yaml").write_text(f"# @package _global_\nseed: {seed}\n")
    words = ["train", "experiment=tiny", "--cfg", "--config-dir", "one", "--config-dir=two"]
    assert main(words) == 0
    assert "\nseed: 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["train", "check", "list"])
@pytest.mark.parametrize(
    ("made", "folder", "reason"),
    [
        ((), "nowhere", "nowhere is not a folder"),
        (("empty/",), "empty", "empty holds none of the folders algo, env, network"),
        (("near/networks/",), "near", "(it holds networks; did you mean network?)"),
        (("mine/algo/",), "mine/algo", "is a group itself; name the folder that it lies in"),
        (("root/algo/", "root/train.yaml"), "root", "holds train.yaml, a name that is rlrun's own"),
        (("file",), "file", "file is not a folder"),
    ],
)
def test_a_wrong_folder_is_one_message(verb, made, folder, reason, tmp_path, capsys):
    for name in made:
        path = tmp_path / name
        path.mkdir(parents=True) if name.endswith("/") else path.touch()
    assert main([verb, "--config-dir", folder]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rlrun: --config-dir: ")
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("seed: [1, 2\n", "a YAML file cannot be read"),
        ("defaults: [nothing]\n", "nothing"),
        ("# @package _global_\nsed: 3\n", "sed: unknown key; did you mean seed?"),
        ("# @package _global_\nseed: ${nowhere}\n", "nowhere"),
    ],
)
def test_a_wrong_file_is_one_message(text, reason, tmp_path, capsys):
    write("experiment/wrong", text)
    assert main(["train", "experiment=wrong", "--config-dir", "mine"]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_run_and_a_sweep_from_a_folder_resume_without_it(tmp_path, capsys):
    write("env/Short", "defaults: [_base, _self_]\nname: Short\nid: CartPole-v1\n")
    words = ["train", "algo=ppo", "env=Short", "num_envs=2", *SMALL, "seed=0,1", "-m"]
    assert main([*words, "--config-dir", "mine"]) == 0
    first, second = sorted(tmp_path.glob("runs/ppo/Short/*_sweep_*/*_seed=*"))
    manifest = json.loads((second / "manifest.json").read_text())
    assert manifest["config"]["env"]["id"] == "CartPole-v1"
    assert manifest["command"] == ["rlrun", *words, "--config-dir=mine"]
    manifest["config"]["total_timesteps"] = 64
    manifest["status"] = "interrupted"
    (second / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "mine").rename(tmp_path / "away")
    assert main(["resume", str(second)]) == 0
    assert json.loads((second / "manifest.json").read_text())["result"]["steps"] == 64
    assert main(["eval", str(first), "episodes=1"]) == 0
