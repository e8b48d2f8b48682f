"""Wrappers by name: what they show, how they are written, and what they refuse."""

import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec as Registered

from rlrun.config import ConfigError
from rlrun.envs.adapter import GymnasiumEnv, make_single
from rlrun.envs.make import make_vec_env
from rlrun.envs.wrappers.chain import WRAPPERS, Wrappers
from rlrun.schema import check
from tests.recipes import recipe


class Counter(gym.Env):
    """Shows the number of its steps, which is the reward as well; remembers its actions."""

    def __init__(self, space=None, action_space=None, end=100):
        self.observation_space = space or spaces.Box(-9.0, 99.0, (2,), np.float32)
        self.action_space = action_space or spaces.Discrete(4)
        self.spec = Registered("Counter-v0", max_episode_steps=10)
        self.end, self.count, self.taken = end, 0, []

    def see(self):
        if isinstance(self.observation_space, spaces.Discrete):
            return self.count
        return np.full(self.observation_space.shape, self.count, self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.see(), {}

    def step(self, action):
        self.taken.append(action)
        self.count += 1
        return self.see(), float(self.count), self.count >= self.end, False, {}


def wrapped(*entries, env=None):
    """Complete entries from YAML as a command does, and put them around."""
    complete = {each["name"]: each for each in everything().plain()}
    named = [{"name": each} if isinstance(each, str) else each for each in entries]
    return Wrappers.parse([{**complete[each["name"]], **each} for each in named]).around(
        env or Counter()
    )


def everything():
    return recipe(f"env.wrappers=[{','.join(WRAPPERS)}]").run.env.wrappers


def test_actions_are_held_and_their_rewards_added():
    env = wrapped({"name": "action_repeat", "times": 3})
    env.reset()
    obs, reward, *_ = env.step(2)
    assert (obs[0], reward) == (3, 1 + 2 + 3)
    assert env.unwrapped.taken == [2, 2, 2]


def test_the_brighter_of_the_last_two_frames_is_shown():
    env = wrapped({"name": "max_and_skip", "skip": 4})
    env.reset()
    obs, reward, *_ = env.step(1)
    assert (obs[0], reward) == (4, 10)


def test_rewards_are_clipped_to_their_interval():
    env = wrapped("clip_reward")
    env.reset()
    assert [env.step(0)[1] for _ in range(3)] == [1.0, 1.0, 1.0]
    env = wrapped({"name": "clip_reward", "low": -2, "high": 2.5})
    env.reset()
    assert [env.step(0)[1] for _ in range(3)] == [1.0, 2.0, 2.5]


def test_a_number_becomes_a_vector_with_a_one():
    env = wrapped("one_hot", env=Counter(spaces.Discrete(4)))
    env.reset()
    obs = env.step(0)[0]
    assert obs.tolist() == [0, 1, 0, 0]
    assert obs.dtype == env.observation_space.dtype == np.float32


def test_everything_is_one_vector():
    env = wrapped("flatten", env=Counter(spaces.Box(0, 9, (2, 3), np.float32)))
    assert env.observation_space.shape == env.reset()[0].shape == (6,)


def test_the_time_that_is_gone_stands_behind_the_observation():
    env = wrapped("time_aware")  # the limit is 10 steps
    env.reset()
    env.step(0)
    assert env.step(0)[0].tolist() == pytest.approx([2, 2, 0.2])
    parts = wrapped({"name": "time_aware", "flatten": False, "normalize": False})
    parts.reset()
    assert parts.step(0)[0]["time"].tolist() == [1]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_the_time_behind_a_box_is_where_gymnasium_puts_it(normalize, dtype):
    made = Counter(spaces.Box(0, 99, (2, 3), dtype))
    ours = wrapped({"name": "time_aware", "flatten": True, "normalize": normalize}, env=made)
    theirs = gym.wrappers.TimeAwareObservation(made, flatten=True, normalize_time=normalize)
    assert ours.observation_space == theirs.observation_space
    for env in (ours, theirs):
        env.reset()
        env.step(0)
    made.count = 7
    timed, expected = ours.observation(made.see()), theirs.observation(made.see())
    np.testing.assert_allclose(timed, expected, rtol=1e-7)  # theirs is rounded to float32
    assert timed.dtype == expected.dtype


def test_the_action_before_sticks_as_often_as_asked():
    env = wrapped({"name": "sticky_action", "probability": 0.5}, env=Counter(end=10_000))
    env.reset(seed=0)
    asked = [step % 4 for step in range(2000)]
    for action in asked:
        env.step(action)
    stuck = np.mean([a != b for a, b in zip(asked, env.unwrapped.taken, strict=True)])
    assert stuck == pytest.approx(0.5, abs=0.05)


def test_actions_are_stretched_to_the_bounds_of_the_environment():
    bounds = spaces.Box(np.float32([0.0, -4.0]), np.float32([10.0, 4.0]))
    env = wrapped("rescale_action", env=Counter(action_space=bounds))
    env.reset()
    env.step(np.float32([0.0, 0.5]))
    assert env.unwrapped.taken[0].tolist() == pytest.approx([5.0, 2.0])
    assert env.action_space.low.tolist() == [-1, -1]


def test_colours_become_gray_by_their_brightness():
    env = wrapped("grayscale", env=Counter(spaces.Box(0, 255, (5, 6, 3), np.uint8)))
    env.reset()
    env.unwrapped.count = 99
    assert env.step(0)[0].shape == (5, 6)
    assert env.step(0)[0][0, 0] in (100, 101)  # 101 of each colour, rounded down


def test_an_image_is_made_smaller():
    pytest.importorskip("cv2")
    image = Counter(spaces.Box(0, 255, (20, 30, 3), np.uint8))
    env = wrapped({"name": "resize", "shape": [10, 12]}, env=image)
    env.reset()
    assert env.step(0)[0].shape == env.observation_space.shape == (10, 12, 3)


def test_the_first_entry_is_the_innermost():
    env = wrapped("clip_reward", {"name": "action_repeat", "times": 3})
    env.reset()
    assert env.step(0)[1] == 3.0  # 1 + 1 + 1; the other way round it would be 1
    env = wrapped({"name": "action_repeat", "times": 3}, "clip_reward")
    env.reset()
    assert env.step(0)[1] == 1.0


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["grayscale"], "grayscale on Counter-v0 needs colour images [height, width, 3] of uint8"),
        (["resize"], "resize on Counter-v0 needs images [height, width]"),
        (["one_hot"], "one_hot on Counter-v0 needs Discrete or MultiDiscrete observations"),
        (["rescale_action"], "needs actions in a bounded Box, not Discrete(4)"),
        (["noop_start"], "needs an environment whose action 0 is NOOP"),
        (["fire_reset"], "needs an environment whose action 1 is FIRE"),
        (["episodic_life"], "needs a game of Atari"),
        (["atari"], "needs a game of Atari, such as env=ALE/Pong-v5"),
        ([{"name": "clip_reward", "low": 1, "high": 1}], "needs low below high"),
        (["flatten", "frame_stack", "grayscale"], "not Box(4, 2) of float32; else take it out"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(entries, message):
    with pytest.raises(ConfigError) as caught:
        wrapped(*entries)
    assert message in str(caught.value)
    assert str(caught.value).startswith("env.wrappers: ")


def test_time_needs_a_limit():
    endless = Counter()
    endless.spec = None
    with pytest.raises(ConfigError, match="needs a time limit"):
        wrapped("time_aware", env=endless)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("flatten", "'flatten' is not a list"),
        ([3], "3 is neither a name nor"),
        ([{"size": 3}], "is neither a name nor"),
        (["framestack"], "did you mean frame_stack?"),
        (["zzz"], "there are time_limit, frame_stack"),
        ([{"name": "frame_stack"}], "frame_stack.size: is missing"),
        ([{"name": "frame_stack", "size": 2, "sise": 3}], "did you mean frame_stack.size?"),
        ([{"name": "frame_stack", "size": 65}], "65 is not in [1, 64]"),
        ([{"name": "resize", "shape": [84, 100_000]}], "100000 is not in [1, 4096]"),
        (["flatten"] * 21, "21 wrappers are more than 20"),
        (
            ["flatten", {"name": "time_limit", "steps": 9}],
            "time_limit cuts whole games; write it",
        ),
        ([{"name": "time_limit", "steps": 9}] * 2, "time_limit cuts whole games; write it"),
        ([{"name": "time_limit", "steps": 0}], "0 is not in [1, inf)"),
    ],
)
def test_what_is_no_list_of_wrappers_is_said(value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Wrappers.parse(value)


def test_every_wrapper_is_complete_by_its_name_alone_and_survives_being_saved():
    made = everything()
    assert [entry.name for entry in made.entries] == list(WRAPPERS)
    assert Wrappers.parse(made.plain()) == made


def test_a_saved_configuration_holds_every_option():
    made = recipe("env.wrappers=[flatten,{name: frame_stack, size: 2}]")
    saved = made.plain()
    assert saved["env"]["wrappers"] == [{"name": "flatten"}, {"name": "frame_stack", "size": 2}]
    assert check(saved).run.env == made.run.env


def test_select_shows_the_numbers_asked_for_in_their_order():
    plain, chosen = (
        make_single(recipe(*words).run.env)
        for words in (
            ("env=CartPole-v1",),
            ("env=CartPole-v1", "env.wrappers=[{name: select, indices: [2, 0]}]"),
        )
    )
    whole, part = plain.reset(seed=1)[0], chosen.reset(seed=1)[0]
    assert part.tolist() == [whole[2], whole[0]]
    assert chosen.observation_space.high.tolist() == plain.observation_space.high[[2, 0]].tolist()
    assert part in chosen.observation_space
    with pytest.raises(ConfigError, match=r"indices from 0 to 3, not \[4\]"):
        make_single(
            recipe("env=CartPole-v1", "env.wrappers=[{name: select, indices: [4]}]").run.env
        )


def test_only_lives_limits_and_clipping_are_left_out_of_evaluation():
    made = recipe(f"env.wrappers=[{','.join(WRAPPERS)}]").run.env
    left = made.for_evaluation().wrappers
    assert {entry.name for entry in made.wrappers.entries} - {
        entry.name for entry in left.entries
    } == {"episodic_life", "clip_reward", "time_limit"}
    (atari,) = [each for each in left.plain() if each["name"] == "atari"]
    assert (atari["episodic_life"], atari["clip_reward"], atari["fire_reset"]) == (
        False,
        False,
        True,
    )


def test_batched_arithmetic_gives_way_to_wrappers():
    words = ("env=CartPole-v1", "env.wrappers=[flatten]")
    env = make_vec_env(recipe(*words).run.env, 64, torch.device("cpu"))
    assert isinstance(env, GymnasiumEnv)
    with pytest.raises(ConfigError, match="torch versions take no wrappers"):
        make_vec_env(recipe(*words, "env.vectorization=torch").run.env, 64, torch.device("cpu"))


def test_a_wrapped_environment_has_no_known_model():
    words = ("env=FrozenLake-v1", "env.vectorization=sync")
    assert GymnasiumEnv(recipe(*words).run.env, 1).spec.model is not None
    sticky = recipe(*words, "env.wrappers=[sticky_action]").run.env
    assert GymnasiumEnv(sticky, 1).spec.model is None
