"""Runs saved before a key existed."""

import pytest

from rlrun.config import ConfigError
from rlrun.saved import ADDED, completed
from rlrun.schema import check_saved
from tests.recipes import recipe


def older(values):
    """Return a configuration as it was before any of the keys came."""
    old = {key: dict(each) if isinstance(each, dict) else each for key, each in values.items()}
    for group, key, _, name in ADDED:
        place = old[group] if group else old
        if name in ("", place.get("name"), "mlp"):
            place.pop(key, None)
    return old


@pytest.mark.parametrize(
    "words",
    [("algo=ppo",), ("algo=trpo",), ("algo=dqn",), ("algo=dqn", "network=gru"), ("algo=sac",)],
)
def test_an_older_run_is_what_it_was(words):
    made = recipe(*words, "env=CartPole-v1", "preset=none").plain()
    old = older(made)
    if "network=gru" in words:
        old["network"] = made["network"]  # never was without its keys
    assert "precision" not in old
    assert check_saved(old, None).plain() == made
    assert "precision" not in old  # which stays as it is


@pytest.mark.parametrize(
    ("name", "key"), [("trpo", "n_fragments"), ("dqn", "loss"), ("sac", "n_step")]
)
def test_a_key_that_came_later_is_given(name, key):
    world = "Pendulum-v1" if name == "sac" else "CartPole-v1"
    made = recipe(f"algo={name}", f"env={world}", "preset=none").plain()
    old = recipe(f"algo={name}", f"env={world}", "preset=none").plain()
    del old["algo"][key]
    assert check_saved(old, None).plain() == made


def test_what_was_saved_stands():
    made = recipe("algo=ppo", "env=CartPole-v1", "precision=bfloat16").plain()
    assert completed(made) == made


def test_other_missing_keys_are_missed():
    old = older(recipe("algo=ppo", "env=CartPole-v1").plain())
    del old["seed"]
    with pytest.raises(ConfigError, match="seed: is missing"):
        check_saved(old, None)
