"""The table of packages: which id belongs where, and what is said of one that is not installed."""

import sys
import warnings

import gymnasium as gym
import pytest
from gymnasium import error

from rlrun.cli import main
from rlrun.config import ConfigError
from rlrun.env_source import GymnasiumSource
from rlrun.envs import registry
from rlrun.envs.families import FAMILIES, family_of

IDS = {
    "ALE/Pong-v5": "atari",
    "MinAtar/Breakout-v1": "minatar",
    "MiniGrid-Empty-8x8-v0": "minigrid",
    "BabyAI-GoToLocal-v0": "minigrid",
    "highway-fast-v0": "highway",
    "racetrack-v0": "highway",
    "stocks-v0": "trading",
    "forex-v0": "trading",
}


@pytest.fixture
def absent(monkeypatch):
    """Return a function that makes a family look as if its package were not installed."""

    def remove(family):
        monkeypatch.setitem(sys.modules, family.module, None)
        for name in [name for name in gym.registry if name.startswith(family.prefixes)]:
            monkeypatch.delitem(gym.registry, name)

    return remove


@pytest.mark.parametrize("env_id", IDS)
def test_a_missing_package_names_its_extra(env_id, absent):
    absent(family_of(env_id))
    with pytest.raises(ConfigError) as caught:
        registry.check_id(env_id)
    assert f"pip install 'rlrun[{IDS[env_id]}]'" in str(caught.value)
    assert env_id in str(caught.value)


@pytest.mark.parametrize(
    ("env_id", "text", "extra"),
    [
        ("Hopper-v5", "MuJoCo is not installed, run `pip install`", "mujoco"),
        ("LunarLander-v3", "Box2D is not installed, you can install it by ...", "box2d"),
        ("LunarLander-v3", "No module named 'swig'", "box2d"),
        ("highway-fast-v0", "No module named 'pygame'", "highway"),
        ("CartPole-v1", "pygame is not installed", "classic-control"),
    ],
)
@pytest.mark.parametrize("kind", [error.DependencyNotInstalled, ModuleNotFoundError])
def test_a_package_missed_while_making_names_its_extra(env_id, text, extra, kind, monkeypatch):
    def make(*_, **__):
        raise kind(text)

    if extra == "highway":
        pytest.importorskip("highway_env")
    monkeypatch.setattr(gym, "make", make)
    with pytest.raises(ConfigError, match=rf"pip install 'rlrun\[{extra}\]'"):
        registry.make_env(env_id, {})


@pytest.mark.parametrize(
    ("family", "wrong", "right"),
    [
        ("minatar", "minatar/breakout-v1", "MinAtar/Breakout-v1"),
        ("minatar", "MinAtar/Breakot-v1", "MinAtar/Breakout-v1"),
        ("minigrid", "Minigrid-Empty-8x8-v0", "MiniGrid-Empty-8x8-v0"),
        ("minigrid", "MiniGrid-Empty-8x8-v9", "MiniGrid-Empty-8x8-v0"),
        ("highway_env", "higway-fast-v0", "highway-fast-v0"),
        ("gym_anytrading", "stock-v0", "stocks-v0"),
    ],
)
def test_near_misses_are_found_in_packages_not_yet_imported(family, wrong, right):
    pytest.importorskip(family)
    with pytest.raises(ConfigError, match=rf"did you mean {right}\?"):
        registry.check_id(wrong)


def test_an_id_far_from_all_is_refused_and_a_bare_one_has_no_family(monkeypatch):
    monkeypatch.setattr(registry.importlib, "import_module", pytest.fail)  # imports nothing
    with pytest.raises(ConfigError, match="no environment 'CartPol-v1'"):
        registry.check_id("CartPol-v1")
    assert family_of("CartPole-v1") is None
    assert family_of("my_package:MyEnv-v0") is None
    assert family_of("minigrid:MiniGrid-Empty-8x8-v0") is family_of("BabyAI-GoToLocal-v0")


def test_a_family_is_registered_once():
    pytest.importorskip("minatar")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            registry.check_id("MinAtar/Breakout-v1")
            assert "MinAtar/SpaceInvaders-v1" in registry.installed()


def test_list_shows_what_is_installed_and_how_to_get_what_is_not(absent, capsys):
    pytest.importorskip("gym_anytrading")
    absent(family_of("MiniGrid-Empty-8x8-v0"))
    assert main(["list", "envs"]) == 0
    rows = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "stocks-v0" in rows
    assert "MiniGrid-Empty-8x8-v0" not in rows
    (row,) = [row for row in rows if row.startswith("MiniGrid-")]
    assert row == "MiniGrid-... BabyAI-...: pip install 'rlrun[minigrid]'"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.extra)
def test_every_extra_exists_and_every_base_is_a_file(family):
    from rlrun.conf_dir import conf_dir

    root = conf_dir().parent
    assert f"\n{family.extra} = [" in (root / "pyproject.toml").read_text(encoding="utf-8")
    assert (conf_dir() / "env" / f"{family.base}.yaml").is_file()
    assert f"`{family.extra}`" in (root / "docs" / "environments.md").read_text(encoding="utf-8")


def test_an_environment_starts_from_its_family():
    source = GymnasiumSource("test", "gymnasium://")
    bases = {
        env_id: source.load_config(f"env/{env_id}").config["defaults"][0]
        for env_id in ("BabyAI-GoToLocal-v0", "MinAtar/Breakout-v1", "CartPole-v1")
    }
    assert list(bases.values()) == ["_minigrid", "_base", "_base"]
