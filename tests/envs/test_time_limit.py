"""The time limit for training alone: where it cuts, what it leaves, and where it does not hold."""

import pytest
import torch

from rlrun.envs.adapter import GymnasiumEnv, make_single
from rlrun.envs.base import SCORE_KEY
from rlrun.envs.wrappers.games import UNTOLD
from tests.envs.test_wrappers import Counter, wrapped
from tests.recipes import recipe


def test_a_time_limit_cuts_episodes_and_terminates_none():
    env = wrapped({"name": "time_limit", "steps": 3})
    env.reset()
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset()
    assert env.step(0)[2:4] == (False, False)  # it counts anew


def test_a_time_limit_is_not_what_the_observed_time_is_a_share_of():
    env = wrapped({"name": "time_limit", "steps": 5}, "time_aware")
    env.reset()
    assert env.step(0)[0][-1] == pytest.approx(1 / 10)  # as in evaluation, where it is 10 steps


def test_a_time_limit_under_clipped_rewards_ends_a_game_whose_score_is_told():
    env = wrapped({"name": "time_limit", "steps": 3}, "clip_reward")
    for _ in range(2):
        env.reset()
        steps = [env.step(0) for _ in range(3)]
        assert [reward for _, reward, *_ in steps] == [1, 1, 1]
        assert steps[-1][-1][SCORE_KEY] == 1 + 2 + 3


def test_a_time_limit_alone_leaves_rewards_as_they_are_and_needs_no_score():
    assert not recipe("env.wrappers=[time_limit]").run.env.wrappers.scored
    assert recipe("env.wrappers=[time_limit, clip_reward]").run.env.wrappers.scored


def test_a_time_limit_does_not_hold_in_evaluation():
    words = ("env=CartPole-v1", "env.wrappers=[{name: time_limit, steps: 2}]")
    config = recipe(*words).run.env
    cut, whole = GymnasiumEnv(config, 1), GymnasiumEnv(config.for_evaluation(), 1)
    ends = []
    for env in (cut, whole):
        env.reset(0)
        ends.append([bool(env.step(torch.tensor([t % 2])).truncated[0]) for t in range(4)])
    assert ends == [[False, True, False, True], [False] * 4]


def test_a_time_limit_counts_the_frames_of_a_game_whose_actions_are_held():
    pytest.importorskip("ale_py")
    words = ("env=ALE/Pong-v5", "preset=none", "env.vectorization=sync")
    env = make_single(recipe(*words, "env.wrappers=[{name: time_limit, steps: 70}, atari]").run.env)
    env.reset(seed=0)  # up to 30 frames of no-ops and two of FIRE count as well
    taken = next(taken for taken in range(1, 40) if env.step(0)[3])
    assert 70 - 30 - 2 * 4 <= 4 * taken < 70 + 4
    env.close()


def test_a_game_that_ends_before_the_time_limit_ends_as_ever():
    env = wrapped({"name": "time_limit", "steps": 9}, env=Counter(end=4))
    env.reset()
    assert [env.step(0)[2:4] for _ in range(4)] == [(False, False)] * 3 + [(True, False)]


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_at_a_cut_the_true_last_observation_is_kept_and_nothing_terminated(vectorization):
    words = ("env=CartPole-v1", f"env.vectorization={vectorization}")
    cut = GymnasiumEnv(recipe(*words, "env.wrappers=[{name: time_limit, steps: 2}]").run.env, 1)
    whole = GymnasiumEnv(recipe(*words).run.env, 1)
    for env in (cut, whole):
        env.reset(0)
        env.step(torch.tensor([0]))
    there, goes_on = cut.step(torch.tensor([1])), whole.step(torch.tensor([1]))
    assert (there.truncated.tolist(), there.terminated.tolist()) == ([True], [False])
    assert there.next_obs.tolist() == goes_on.obs.tolist() != there.obs.tolist()
    cut.close()
    whole.close()


def test_games_that_no_episode_tells_do_not_pile_up():
    env = wrapped({"name": "time_limit", "steps": 1}, "clip_reward")
    for _ in range(50):
        env.reset()
        env.env.step(0)  # as a reset does that takes steps of its own
    assert len(env.get_wrapper_attr("_finished")) == UNTOLD
