"""Wrappers of Atari: on a game whose every frame is known, and on the real one."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.cli import main
from rlrun.config import ConfigError
from rlrun.data.collector import Collector
from rlrun.data.frames import Frames
from rlrun.envs.adapter import GymnasiumEnv, _score, make_single
from rlrun.envs.base import SCORE_KEY
from rlrun.envs.wrappers.chain import Wrappers
from rlrun.envs.wrappers.games import EpisodicLife, FireReset, NoopStart
from rlrun.types import Decision, Fragment
from tests.recipes import recipe

PONG = ("env=ALE/Pong-v5", "preset=none", "env.vectorization=sync")


class Game(gym.Env):
    """Three lives of four frames each; a frame is shown as its number since the game began."""

    observation_space = spaces.Box(0, 255, (), np.uint8)
    action_space = spaces.Discrete(3)

    def __init__(self):
        self.ale, self.frame, self.games, self.taken = self, 0, 0, []

    def lives(self):
        return max(3 - self.frame // 4, 0)

    def get_action_meanings(self):
        return ["NOOP", "FIRE", "UP"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame, self.games = 0, self.games + 1
        return np.uint8(0), {}

    def step(self, action):
        self.taken.append(action)
        self.frame += 1
        return np.uint8(self.frame), 5.0, self.frame == 12, False, {}


def test_a_lost_life_ends_an_episode_and_the_game_goes_on():
    env = EpisodicLife().wrap(Game())
    env.reset()
    assert [env.step(2)[2] for _ in range(4)] == [False, False, False, True]
    assert (env.reset()[0], env.unwrapped.games) == (5, 1)  # one frame on, in the same game
    assert env.unwrapped.taken[-1] == 0
    ends = [env.step(2)[2] for _ in range(3)]
    assert ends == [False, False, True]
    env.reset()
    assert [env.step(2)[2] for _ in range(3)] == [False, False, True]
    assert (env.reset()[0], env.unwrapped.games) == (0, 2)


gym.register("ThreeLives-v0", Game)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_metrics_are_those_of_whole_games_and_their_own_rewards(mode):
    words = ("env=ThreeLives-v0", "preset=none", f"env.vectorization={mode}")
    config = recipe(*words, "env.wrappers=[episodic_life,clip_reward]").run.env
    env = GymnasiumEnv(config, 2)
    assert env.spec.scored
    assert not GymnasiumEnv(config.for_evaluation(), 1).spec.scored

    def act(obs, carry):
        return Decision(torch.full((2,), 2), (), {})

    collector = Collector(env, lambda count: (), torch.device("cpu"), seed=0)
    fragments = [collector.collect(act, 8) for _ in range(2)]
    # each life behind the first begins with a step of the wrapper's own, so a game is 10 of ours
    assert [int(fragment.terminated.sum()) for fragment in fragments] == [4, 4]
    assert all((fragment.reward == 1).all() for fragment in fragments)
    assert collector.episodes() == {"rollout/ep_rew_mean": 60.0, "rollout/ep_len_mean": 10.0}
    env.close()


class Ended(Game):
    """Every second game ends in the step that goes on after a life."""

    def step(self, action):
        obs, reward, _, _, info = super().step(action)
        return obs, reward, self.frame == (5 if self.games % 2 else 12), False, info


def test_a_game_that_ends_while_an_episode_begins_is_told_at_the_next_end():
    everything = Wrappers.parse([{"name": "episodic_life"}])
    env = everything.around(Ended())
    env.reset()
    told = []
    for _ in range(60):
        _, _, terminated, truncated, info = env.step(2)
        if terminated or truncated:
            told += [info[SCORE_KEY]] if SCORE_KEY in info else []
            env.reset()
    games = env.unwrapped.games
    assert games >= 8
    assert told == [25.0 if number % 2 == 0 else 60.0 for number in range(len(told))]
    assert games - len(told) <= 2


def test_scores_are_read_of_those_that_told_one():
    final = {SCORE_KEY: np.array([0.0, 5.0]), f"_{SCORE_KEY}": np.array([False, True])}
    score = _score({"final_info": final})
    assert score.isnan().tolist() == [True, False]
    assert score[1] == 5.0


def test_a_score_of_the_environments_own_is_nobodys_business():
    class Own(Game):
        def step(self, action):
            obs, reward, terminated, truncated, info = super().step(action)
            return obs, reward, terminated, truncated, {**info, "score": np.ones(self.frame % 5)}

    gym.register("OwnScore-v0", Own)
    env = GymnasiumEnv(recipe("env=OwnScore-v0", "preset=none").run.env, 2)
    env.reset(0)
    assert all(env.step(torch.zeros(2)).score is None for _ in range(30))


def test_a_seed_starts_a_game_whatever_lives_are_left():
    env = EpisodicLife().wrap(Game())
    env.reset()
    for _ in range(4):
        env.step(2)
    assert (env.reset(seed=1)[0], env.unwrapped.games) == (0, 2)


def test_fire_is_pressed_at_a_start():
    env = FireReset().wrap(Game())
    assert env.reset()[0] == 2
    assert env.unwrapped.taken == [1, 2]


def test_a_start_is_put_off_by_one_to_so_many_steps():
    env = NoopStart(noop_max=5).wrap(Game())
    env.reset(seed=0)
    starts = [int(env.reset()[0]) for _ in range(200)]
    assert set(starts) == {1, 2, 3, 4, 5}
    assert set(env.unwrapped.taken) == {0}


def test_a_start_beyond_the_end_is_a_game_of_its_own():
    env = NoopStart(noop_max=30).wrap(Game())
    env.reset(seed=0)
    assert all(0 <= int(env.reset()[0]) < 12 for _ in range(50))


@pytest.fixture
def atari():
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")


def layers(env):
    names = []
    while isinstance(env, gym.Wrapper):
        names.append(type(env).__name__)
        env = env.env
    return names


@pytest.mark.usefixtures("atari")
def test_every_game_gets_the_usual_list_by_itself():
    config = recipe(*PONG).run.env
    assert config.kwargs["frameskip"] == 1
    assert config.kwargs["repeat_action_probability"] == 0
    training, scored = layers(make_single(config)), layers(make_single(config.for_evaluation()))
    for name in ("NoopStartEnv", "ScreensEnv", "FireResetEnv", "BoxStackEnv"):
        assert name in training
        assert name in scored
    assert [name for name in training if name not in scored] == [
        "TellScoreEnv",
        "TransformReward",
        "EpisodicLifeEnv",
        "ScoreEnv",
    ]


@pytest.mark.usefixtures("atari")
def test_a_game_without_fire_is_not_fired():
    assert "FireResetEnv" not in layers(make_single(recipe("env=ALE/MsPacman-v5").run.env))


@pytest.mark.usefixtures("atari")
def test_frames_are_skipped_once():
    with pytest.raises(ConfigError, match=r"needs env\.kwargs\.frameskip=1"):
        make_single(recipe(*PONG, "env.kwargs.frameskip=4").run.env)


@pytest.mark.usefixtures("atari")
def test_colours_are_served_too():
    env = make_single(recipe(*PONG, "env.kwargs.obs_type=rgb").run.env)
    assert env.observation_space.shape == (4, 84, 84)


@pytest.mark.usefixtures("atari")
def test_pong_comes_as_stacks_of_which_each_picture_is_kept_once():
    env = GymnasiumEnv(recipe(*PONG).run.env, 1)
    obs = env.reset(0)
    assert (obs.shape, obs.dtype) == ((1, 4, 84, 84), torch.uint8)
    assert env.spec.frame_stack == 4
    frames = Frames(obs[0, 0], env.spec, 100)
    steps = []
    for _ in range(20):
        step = env.step(torch.tensor([2]))
        assert torch.equal(step.next_obs[:, :3], obs[:, 1:])
        steps.append((obs, step.next_obs))
        obs = step.obs
    columns = [torch.stack(column) for column in zip(*steps, strict=True)]
    nothing = torch.zeros(20, 1)
    ends = torch.zeros(20, 1, dtype=torch.bool)
    frames.encode(Fragment(columns[0], nothing, nothing, columns[1], ends, ends, (), {}))
    assert frames.regular
    assert frames._next == 1 + 20  # the first stack is one picture four times


@pytest.mark.usefixtures("atari")
def test_pong_trains_and_is_played_from_what_was_saved(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["num_envs=2", "algo.n_steps=4", "algo.batch_size=8", "algo.n_epochs=1"]
    brief = ["total_timesteps=16", "final_eval_episodes=1", "eval_max_steps=3"]
    assert main(["train", "algo=ppo", "env=ALE/Pong-v5", *small, *brief]) == 0
    assert "nature_cnn" in capsys.readouterr().out
    (run,) = tmp_path.glob("runs/ppo/ALE-Pong-v5/*")
    policy = json.loads((run / "checkpoints/step-000000016/policy.json").read_text())
    assert '"name": "atari", "noop_max": 30' in json.dumps(policy)
    assert main(["eval", str(run), "episodes=1", "max_steps=3"]) == 0
    assert (run / "eval.json").is_file()
