import math

import pytest
import torch

from rlrun.evaluate import Evaluation, evaluate
from rlrun.types import Decision
from tests.data.scripted import ScriptedEnv

CPU = torch.device("cpu")
SHORT_AND_LONG = [[(1, "terminated")], [(10, "truncated")]]


def act(obs, carry):
    return Decision(torch.zeros(len(obs)).long(), carry)


def play(env, episodes, policy=act, *, seed=0, max_steps=1000, **options):
    return evaluate(
        policy,
        lambda _: (),
        env,
        episodes=episodes,
        seed=seed,
        device=CPU,
        max_steps=max_steps,
        **options,
    )


@pytest.mark.parametrize(
    ("episodes", "lengths"),
    [(1, [1]), (2, [1, 10]), (3, [1, 1, 10]), (4, [1, 1, 10, 10]), (5, [1, 1, 1, 10, 10])],
)
def test_exactly_the_asked_episodes_shared_out_evenly(episodes, lengths):
    outcome = play(ScriptedEnv(SHORT_AND_LONG), episodes)
    assert sorted(outcome.lengths) == lengths
    assert len(outcome.returns) == episodes
    assert outcome.cut == 0


def test_returns_and_figures_by_hand():
    # environment 0: 1, 101, 201; environment 1: 3 steps of episode 0, then 2 of episode 1
    env = ScriptedEnv([[(1, "terminated")], [(3, "truncated"), (2, "terminated")]])
    outcome = play(env, 5)
    assert sorted(outcome.returns) == [1.0, 6.75, 101.0, 201.0, 203.5]
    assert sorted(outcome.lengths) == [1, 1, 1, 2, 3]
    mean = (1 + 6.75 + 101 + 201 + 203.5) / 5
    std = math.sqrt(sum((value - mean) ** 2 for value in outcome.returns) / 5)
    assert outcome.metrics() == {
        "eval/mean_reward": pytest.approx(mean),
        "eval/std_reward": pytest.approx(std),
        "eval/standard_error": pytest.approx(std / math.sqrt(5)),
        "eval/mean_ep_length": 1.6,
        "eval/episodes": 5.0,
    }


def test_an_episode_that_never_ends_is_cut_and_said_so():
    env = ScriptedEnv([[(10**9, "terminated")], [(2, "terminated")]])
    outcome = play(env, 2, max_steps=5)
    assert sorted(outcome.lengths) == [2, 5]
    assert sorted(outcome.returns) == [1.25 + 2.25, 1 + 2 + 3 + 4 + 5]
    assert outcome.cut == 1
    assert env.steps == 5


def test_an_episode_that_ends_at_the_limit_is_not_cut():
    outcome = play(ScriptedEnv([[(5, "terminated")]]), 2, max_steps=5)
    assert (outcome.lengths, outcome.cut) == ([5, 5], 0)


def test_an_environment_that_has_done_its_part_is_not_counted_as_cut():
    env = ScriptedEnv([[(4, "terminated")], [(1, "terminated"), (10**9, "terminated")]])
    outcome = play(env, 3, max_steps=5)
    assert (sorted(outcome.lengths), outcome.cut) == ([1, 4, 4], 0)


def test_playing_stops_with_the_last_episode():
    env = ScriptedEnv([[(3, "terminated")], [(4, "terminated")]])
    play(env, 2)
    assert env.steps == 4


def noisy(obs, carry):
    """Act by torch's random numbers."""
    return Decision(torch.randint(2, (len(obs),)), carry)


class Lottery(ScriptedEnv):
    """Pays the action taken."""

    def step(self, action):
        return super().step(action)._replace(reward=action.float())


def test_training_around_it_draws_the_same_random_numbers():
    torch.manual_seed(5)
    untouched = torch.rand(3)
    torch.manual_seed(5)
    play(Lottery(SHORT_AND_LONG), 6, noisy)
    assert torch.equal(torch.rand(3), untouched)


def test_its_own_seed_alone_decides_the_outcome():
    env = Lottery([[(20, "terminated")]])
    torch.manual_seed(1)
    first = play(env, 5, noisy, seed=7)
    torch.manual_seed(2)
    assert play(env, 5, noisy, seed=7).returns == first.returns
    assert play(env, 5, noisy, seed=8).returns != first.returns


def test_the_environment_gets_the_seed():
    class Seeded(ScriptedEnv):
        def reset(self, seed):
            self.seed = seed
            return super().reset(seed)

    env = Seeded(SHORT_AND_LONG)
    play(env, 2, seed=99)
    assert env.seed == 99


def test_the_carry_begins_anew_with_each_episode():
    seen = []

    def counting(obs, carry):
        seen.append((carry[0] == obs[:, 2]).all().item())
        return Decision(torch.zeros(len(obs)).long(), (carry[0] + 1,))

    env = ScriptedEnv([[(1, "terminated"), (3, "truncated")], [(4, "truncated")]])
    evaluate(
        counting,
        lambda count: (torch.zeros(count),),
        env,
        episodes=6,
        seed=0,
        device=CPU,
        max_steps=100,
    )
    assert len(seen) == 12
    assert all(seen)


def test_no_gradient_is_kept_and_every_step_is_shown():
    weight, shown = torch.ones(1, requires_grad=True), []

    def learned(obs, carry):
        assert not (obs * weight).requires_grad
        return act(obs, carry)

    play(ScriptedEnv(SHORT_AND_LONG), 2, learned, on_step=lambda: shown.append(1))
    assert len(shown) == 10


class Successful(ScriptedEnv):
    """Environment 0 reaches its goal in every episode, the others in none."""

    def step(self, action):
        step = super().step(action)
        ended = (step.terminated | step.truncated).any()
        success = torch.arange(len(self.script)) == 0
        return step._replace(success=success if ended else None)


def test_the_success_rate_is_over_all_episodes():
    outcome = play(Successful([[(2, "terminated")], [(3, "terminated")]]), 4)
    assert outcome.metrics()["eval/success_rate"] == 0.5


def test_an_episode_that_was_cut_is_no_success():
    outcome = play(Successful([[(2, "terminated")], [(10**9, "terminated")]]), 4, max_steps=5)
    assert outcome.cut == 1
    assert outcome.metrics()["eval/success_rate"] == pytest.approx(2 / 3)


def test_an_environment_that_was_cut_plays_no_more():
    # it stands in the middle of an episode, which would be counted as a whole one
    outcome = play(ScriptedEnv([[(1, "terminated")], [(7, "terminated")]]), 6, max_steps=5)
    assert sorted(outcome.lengths) == [1, 1, 1, 5]
    assert outcome.cut == 1


def test_a_single_episode_has_no_spread():
    assert Evaluation(returns=[3.0], lengths=[1]).metrics()["eval/standard_error"] == 0.0
