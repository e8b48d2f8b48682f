"""What `rlrun check` works out, where a whole command would be more than the question needs."""

from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from rlrun.accel.accelerator import WORTH_COMPILING
from rlrun.build import build_parts
from rlrun.inspection import plan, report, speed
from rlrun.inspection.advice import of_memory, of_observations
from rlrun.inspection.network import counts, doubts, in_words, layers, watched
from rlrun.inspection.plan import Memory, Plan, plan_of
from rlrun.inspection.speed import Speed, forecast, shortened
from rlrun.types import EnvSpec
from tests.recipes import changed, recipe

PPO = ("algo=ppo", "env=CartPole-v1", "preset=none", "num_envs=2")
IMAGES = ("algo=ppo", "env=tests.envs.tiny:Spaces-v0", "env.kwargs.obs=picture")
RATES = Speed({"environment": 1.0, "act": 2.0, "store": 3.0, "update": 10.0}, {}, 7, False, [])


def plan_with(learning: int) -> Plan:
    return Plan(4, 100, learning, 400, 1, 1)


def test_convolutions_are_listed_with_what_they_give():
    parts = build_parts(recipe(*IMAGES, "network=minatar_cnn", "network.shared=true"))
    with watched(parts.algorithm) as outputs:
        parts.algorithm.act(parts.env.reset(0), (), explore=True)
    rows = layers(parts.algorithm, outputs)

    convolution = next(row for row in rows if row.kind == "Conv2d")
    channels = convolution.shapes["weight"][0]
    assert convolution.shapes["weight"] == (channels, 1, 3, 3)
    assert convolution.parameters == 10 * channels  # 3 x 3 weights and a bias each
    assert convolution.output == (channels, 2, 1)  # of 4 x 3 pixels
    sizes = counts(parts.algorithm)
    assert list(sizes) == ["shared", "policy", "value"]
    assert sum(sizes.values()) == sum(row.parameters for row in rows)


def test_layers_that_were_not_called_have_no_output():
    parts = build_parts(recipe(*PPO))
    with watched(parts.algorithm) as outputs:
        pass
    parts.algorithm.act(parts.env.reset(0), (), explore=True)
    assert outputs == {}
    assert all(row.output == () for row in layers(parts.algorithm, outputs))


def test_counts_in_words():
    assert in_words({"policy": 1234, "target_critics": 5}) == (
        "policy 1,234, target critics 5 parameters"
    )
    assert in_words({}) == "no parameters"


def seeing(space, actions=None):
    actions = spaces.Discrete(2) if actions is None else actions
    return EnvSpec(name="hand", num_envs=1, obs_space=space, action_space=actions)


@pytest.mark.parametrize("key", ["", "camera"])
def test_an_image_on_a_network_for_vectors(key):
    image = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    space = spaces.Dict({key: image}) if key else image
    (doubt,) = doubts(recipe(*PPO), seeing(space))
    assert (doubt.key, "network=auto" in doubt.message) == ("network", True)
    assert list(doubts(recipe(*PPO), seeing(spaces.Box(0, 1, (84,))))) == []
    assert list(doubts(recipe(*PPO, "network=nature_cnn"), seeing(space))) == []


@pytest.mark.parametrize("kind", ["beta", "conditioned_gaussian", "squashed_gaussian", "gsde"])
def test_a_distribution_for_actions_that_are_none(kind):
    seen, words = spaces.Box(0, 1, (4,)), (*PPO, f"algo.policy.action_distribution={kind}")
    (doubt,) = doubts(recipe(*words), seeing(seen))
    assert doubt.key == "algo.policy.action_distribution"
    assert doubt.message == f"{kind} is for Box actions and does nothing for Discrete(2)"
    assert list(doubts(recipe(*words), seeing(seen, spaces.Box(-1, 1, (2,))))) == []
    assert list(doubts(recipe("algo=dqn", "env=CartPole-v1"), seeing(seen))) == []


def test_observations_are_judged_before_they_are_adapted():
    wide = spaces.Box(0, 1, (2,), np.float64)
    picture = spaces.Box(0, 1, (8, 8, 3), np.float32)
    nested = spaces.Tuple([spaces.Dict({"x": wide}), picture, spaces.Box(0, 1, (2,))])
    assert [each.message for each in of_observations(nested)] == [
        "observation '0.x' is float64; it is read as float32",
        "observation '1' is an image of floats; uint8 takes a quarter of the memory",
    ]
    assert [each.message for each in of_observations(wide)] == [
        "the observation is float64; it is read as float32"
    ]


def test_a_replay_and_checkpoints_that_hardly_fit():
    made = recipe("algo=dqn", "env=CartPole-v1", "algo.buffer_size=1000")
    roomy = Memory(replay=50, free=100, checkpoint=5, checkpoints=20, disk=20)
    assert list(of_memory(made, roomy)) == []
    tight = replace(roomy, replay=75, disk=19)
    assert [each.key for each in of_memory(made, tight)] == ["algo.buffer_size", "output_dir"]
    assert "75% of the free memory" in next(of_memory(made, tight)).message


@pytest.mark.parametrize(
    ("starts", "learning"), [(0, 25), (1, 25), (4, 25), (5, 24), (96, 2), (97, 1), (101, 0)]
)
def test_updates_learn_from_the_one_in_which_learning_starts(starts, learning):
    made = recipe("algo=dqn", "env=CartPole-v1", "preset=none", "num_envs=2")
    made = changed(made, {"learning_starts": starts, "train_freq": 4}, total_timesteps=100)
    counted = plan_of(made, build_parts(made).algorithm)
    assert (counted.updates, counted.learning_updates) == (25, learning)


def test_only_learning_updates_cost_what_an_update_costs():
    whole = {"environment": 100.0, "act": 200.0, "store": 300.0, "update": 400.0}
    assert forecast(recipe(*PPO), plan_with(40), RATES) == whole


def test_workers_share_the_time_as_far_as_there_are_cores(monkeypatch):
    monkeypatch.setattr(speed.os, "cpu_count", lambda: 2)
    made = recipe("algo=a3c", "env=CartPole-v1", "num_envs=4")
    assert forecast(made, plan_with(100), RATES)["update"] == 10.0 * 100 / 2
    assert forecast(changed(made, num_envs=1), plan_with(100), RATES)["update"] == 10.0 * 100


def test_an_algorithm_that_converges_is_done_then():
    done = replace(RATES, converged=True)
    assert forecast(recipe(*PPO), plan_with(100), done)["update"] == 10.0 * 8  # and the warm-up


def test_long_updates_are_judged_by_one_minibatch():
    made = changed(recipe(*PPO), {"n_steps": 120, "batch_size": 40})
    short, factor = shortened(made)
    assert (short.algorithm_config.n_steps, factor) == (20, 6.0)
    assert RATES.scaled(6.0).parts["update"] == 60.0
    whole, factor = shortened(changed(made, {"batch_size": 240}))
    assert (whole.algorithm_config.n_steps, factor) == (120, 1.0)


@pytest.mark.parametrize(
    ("mode", "steps", "compiler", "choice"),
    [
        ("auto", WORTH_COMPILING, True, "compile"),
        ("auto", WORTH_COMPILING - 1, True, "off"),
        ("auto", WORTH_COMPILING, False, "off"),
        ("auto", 0, True, "off"),
        ("compile", 1, True, "compile"),
        ("cuda_graph", 1, True, "cuda_graph"),
        ("off", WORTH_COMPILING, True, "off"),
    ],
)
def test_what_auto_will_choose(mode, steps, compiler, choice, monkeypatch):
    monkeypatch.setattr(report, "has_compiler", lambda: compiler)
    assert report.accel_of(changed(recipe(*PPO), accel=mode), steps)[0] == choice


def test_free_disk_is_asked_of_the_first_folder_that_exists(tmp_path, monkeypatch):
    asked = []
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda at: asked.append(at) or usage(5))
    made = changed(recipe(*PPO), output_dir=str(tmp_path / "not" / "there"))
    assert plan.memory_of(made, build_parts(made).algorithm).disk == 5
    assert asked == [tmp_path]
