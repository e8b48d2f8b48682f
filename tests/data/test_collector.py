import pytest
import torch

from rlrun.data.collector import Collector, reset_carry
from rlrun.data.statistics import EpisodeStatistics
from rlrun.types import Decision
from tests.data.scripted import ScriptedEnv, episodes_of

CPU = torch.device("cpu")
SCRIPT = [
    [(1, "terminated"), (1, "truncated"), (4, "truncated"), (2, "terminated")],
    [(3, "truncated"), (5, "terminated")],
    [(1, "truncated")],
    [(50, "terminated")],
]


def act(obs, carry):
    """Count the steps of the episode in the carry and hand the count out."""
    (count,) = carry
    action = (obs["place"] if isinstance(obs, dict) else obs)[:, 2].long() % 2
    return Decision(action, (count + 1,), {"count": count})


def collector_of(script=SCRIPT, **options):
    env = ScriptedEnv(script, **options)
    return Collector(env, lambda n: (torch.zeros(n),), CPU, seed=0), env


def place_of(script, n, steps):
    """Return (episode, step) of environment n after a number of steps, by counting."""
    episode = t = 0
    for _ in range(steps):
        t += 1
        if t == script[n][episode % len(script[n])][0]:
            episode, t = episode + 1, 0
    return episode, t


@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("named", [False, True])
def test_every_row_is_what_happened_and_successors_are_the_true_ones(horizon, named):
    collector, _ = collector_of(named=named)
    for start in range(0, 40, horizon):
        fragment = collector.collect(act, horizon)
        obs, next_obs = fragment.obs, fragment.next_obs
        if named:
            obs, next_obs = obs["place"], next_obs["place"]
        assert obs.shape == next_obs.shape == (horizon, 4, 3)
        for t in range(horizon):
            for n in range(4):
                episode, step = place_of(SCRIPT, n, start + t)
                length, kind = SCRIPT[n][episode % len(SCRIPT[n])]
                ended = step + 1 == length
                assert obs[t, n].tolist() == [n, episode, step]
                assert next_obs[t, n].tolist() == [n, episode, step + 1]
                assert fragment.reward[t, n] == 100 * episode + step + 1 + n / 4
                assert fragment.terminated[t, n] == (ended and kind == "terminated")
                assert fragment.truncated[t, n] == (ended and kind == "truncated")
                assert fragment.done[t, n] == ended
                assert fragment.action[t, n] == step % 2
                assert fragment.extra["count"][t, n] == step  # the carry began anew at each end
        before = [place_of(SCRIPT, n, start)[1] for n in range(4)]
        assert fragment.carry[0].tolist() == before


def test_a_fragment_has_the_types_of_what_it_stores():
    collector, _ = collector_of()
    fragment = collector.collect(act, 5)
    assert fragment.obs.dtype == fragment.reward.dtype == torch.float32
    assert fragment.terminated.dtype == fragment.truncated.dtype == torch.bool
    assert fragment.action.dtype == torch.int64
    assert fragment.action.shape == fragment.reward.shape == fragment.done.shape == (5, 4)


def test_the_carry_of_a_fragment_is_not_touched_by_what_follows():
    collector, _ = collector_of([[(50, "terminated")]])

    def in_place(obs, carry):
        carry[0].add_(1)
        return Decision(torch.zeros(1).long(), carry)

    first = collector.collect(in_place, 3)
    second = collector.collect(in_place, 3)
    assert first.carry[0].tolist() == [0.0]
    assert second.carry[0].tolist() == [3.0]


def test_horizon_zero_takes_no_step():
    collector, env = collector_of()
    for _ in range(2):
        fragment = collector.collect(act, 0)
        assert fragment.reward.shape == fragment.done.shape == (0, 4)
        assert fragment.carry[0].tolist() == [0.0] * 4
    assert env.steps == 0
    assert collector.episodes() == {}
    collector.collect(act, 6)
    assert collector.collect(act, 0).reward.shape == (0, 4)
    assert env.steps == 6
    assert collector.collect(act, 1).obs[0, 3].tolist() == [3.0, 0.0, 6.0]


def test_the_horizon_may_change_between_fragments():
    collector, _ = collector_of([[(50, "terminated")]])
    steps = []
    for horizon in (2, 5, 1, 5):
        fragment = collector.collect(act, horizon)
        steps += fragment.obs[:, 0, 2].tolist()
        assert (fragment.next_obs - fragment.obs)[:, 0].tolist() == [[0, 0, 1]] * horizon
    assert steps == list(range(13))


def test_no_gradient_is_kept():
    collector, _ = collector_of([[(50, "terminated")]])
    weight = torch.ones(1, requires_grad=True)

    def learned(obs, carry):
        assert not (obs * weight).requires_grad
        return Decision(torch.zeros(1).long(), carry)

    collector.collect(learned, 2)


@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 20])
def test_episode_statistics_do_not_care_where_fragments_end(horizon):
    collector, _ = collector_of()
    for end in range(horizon, 53, horizon):
        collector.collect(act, horizon)
        seen = episodes_of(SCRIPT, end)
        expected = {}
        if seen:
            expected = {
                "rollout/ep_rew_mean": pytest.approx(sum(e[1] for e in seen) / len(seen)),
                "rollout/ep_len_mean": pytest.approx(sum(e[2] for e in seen) / len(seen)),
            }
        assert len(seen) <= 100  # all of them are within the window
        assert collector.episodes() == expected


def test_statistics_are_of_the_last_hundred_episodes():
    collector, _ = collector_of([[(1, "terminated")]])
    collector.collect(act, 150)  # returns 1, 101, 201, ...; the last hundred begin with episode 50
    assert collector.episodes()["rollout/ep_rew_mean"] == 1 + 100 * (50 + 149) / 2
    assert collector.episodes()["rollout/ep_len_mean"] == 1.0


def test_statistics_survive_in_a_state_and_unfinished_episodes_do_not():
    script = [[(3, "terminated")]]
    collector, _ = collector_of(script)
    collector.collect(act, 5)
    restored, _ = collector_of(script)
    restored.load_state_dict(collector.state_dict())
    assert restored.episodes() == collector.episodes() != {}
    restored.collect(act, 3)
    assert restored.episodes()["rollout/ep_len_mean"] == 3.0


def test_long_episodes_lose_no_digits():
    statistics = EpisodeStatistics(1, "any")
    ends = torch.zeros(1000, 1, dtype=torch.bool)
    for _ in range(20):
        statistics.absorb(torch.full((1000, 1), 16_777.0), ends)
    ends[-1] = True
    statistics.absorb(torch.ones(1000, 1), ends)
    summary = statistics.summary()
    assert summary == {"rollout/ep_rew_mean": 20_000 * 16_777.0 + 1000, "rollout/ep_len_mean": 21e3}


def test_where_scores_are_told_whole_games_count():
    statistics = EpisodeStatistics(2, "any")
    nan = float("nan")
    lives = torch.tensor([[1, 0], [0, 0], [1, 1]]).bool()  # where episodes end, for training
    games = torch.tensor([[nan, nan], [nan, nan], [nan, 7.5]])
    statistics.absorb(torch.ones(3, 2), lives, games)
    assert statistics.summary() == {"rollout/ep_rew_mean": 7.5, "rollout/ep_len_mean": 3.0}
    ends = torch.tensor([[0, 0], [1, 0]]).bool()
    statistics.absorb(torch.ones(2, 2), ends, torch.tensor([[nan, nan], [70.5, nan]]))
    assert statistics.summary() == {"rollout/ep_rew_mean": 39.0, "rollout/ep_len_mean": 4.0}


def test_reset_carry_by_hand():
    done = torch.tensor([True, False])
    flat, deep = reset_carry((torch.tensor([3.0, 4.0]), torch.ones(2, 2, 2)), done)
    assert flat.tolist() == [0.0, 4.0]
    assert deep.flatten(1).sum(1).tolist() == [0.0, 4.0]
    assert reset_carry((), done) == ()
