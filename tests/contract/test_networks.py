"""What every network must keep: each YAML in `conf/network` is put through all of it."""

import math

import pytest

from rlrun.build import build_parts
from rlrun.conf_dir import choices, conf_dir
from rlrun.config import ConfigError, keys_of, parse
from rlrun.schema import check
from tests.recipes import changed, recipe, trained

NETWORKS = choices("network", [conf_dir()])
MEMORY = ("gru", "lstm", "transformer")
SHORT = {"total_timesteps": 64, "log_every": 16, "final_eval_episodes": 2, "eval_num_envs": 2}
SMALL = {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "learning_starts": 16, "buffer_size": 64}

every_network = pytest.mark.parametrize("network", NETWORKS)


def made(algo, network, *words):
    env = ("env=tests.envs.tiny:Spaces-v0", "device=cpu", "preset=none")
    return changed(recipe(f"algo={algo}", f"network={network}", *env, *words), SMALL, **SHORT)


def served(name):
    """Whether a network is for images as small as the environment's."""
    return name != "nature_cnn"


@every_network
@pytest.mark.parametrize(
    ("algo", "obs", "action"),
    [
        ("ppo", "picture", "discrete"),
        ("ppo", "'seen and felt'", "discrete"),
        ("dqn", "picture", "discrete"),
        ("sac", "'seen and felt'", "box"),
    ],
)
def test_learns_from_images(network, obs, algo, action, tmp_path):
    words = (f"env.kwargs.obs={obs}", f"env.kwargs.action={action}")
    if network in MEMORY and algo not in ("ppo", "dqn"):
        with pytest.raises(ConfigError, match=f"{network} has a memory, which {algo} cannot train"):
            made(algo, network, *words)
        return
    run = made(algo, network, *words)
    if not served(network):
        with pytest.raises(ConfigError, match=f"{network} needs images of at least"):
            build_parts(run)
        return
    before = build_parts(run).algorithm.policy.state_dict()
    algorithm, rows = trained(tmp_path / "run", run)
    assert math.isfinite(rows[-1]["eval/mean_reward"])
    after = algorithm.policy.state_dict()
    learned = [key for key, value in before.items() if "weight" in key and value.numel() > 4]
    assert learned
    for key in learned:
        assert not before[key].equal(after[key]), key


@every_network
def test_refuses_unknown_and_missing_keys(network):
    run = recipe("algo=ppo", f"network={network}")
    values = run.plain()
    options = values["network"]
    with pytest.raises(ConfigError, match=r"network\.no_such_key: unknown key"):
        check({**values, "network": {**options, "no_such_key": 1}})
    for key in options.keys() - {"name"}:
        problems = []
        fewer = {k: v for k, v in options.items() if k not in (key, "name")}
        assert parse(run.network.torso.Config, fewer, "network.", problems) is None
        assert [(each.key, each.message) for each in problems] == [(f"network.{key}", "is missing")]


@every_network
def test_has_a_section(network):
    text = (conf_dir().parent / "docs" / "networks.md").read_text(encoding="utf-8")
    section = text.partition(f"## `{network}`")[2].partition("\n## ")[0]
    run = recipe("algo=ppo", f"network={network}")
    yaml = (conf_dir() / "network" / f"{network}.yaml").read_text(encoding="utf-8")
    assert yaml.partition("\n")[2] in section, "the page shows other values than the YAML holds"
    for key in keys_of(run.network.torso.Config):
        name = key.rpartition(".")[2]
        assert f"`{name}`" in text, f"the page does not say what {key} does"
