import pytest
import torch

from rlrun.data.collector import Collector
from rlrun.data.episodes import Episodes
from rlrun.types import Decision, Fragment
from tests.data.scripted import ScriptedEnv, episodes_of


def fragment(reward, terminated=(), truncated=(), first=0) -> Fragment:
    """Return a fragment whose observation is [time, environment] and action 10 * time + n."""
    reward = torch.tensor(reward)
    steps, envs = reward.shape
    time = torch.arange(first, first + steps).unsqueeze(1).expand(steps, envs)
    n = torch.arange(envs).expand(steps, envs)
    flags = torch.zeros(2, steps, envs, dtype=torch.bool)
    for kind, places in enumerate((terminated, truncated)):
        for place in places:
            flags[(kind, *place)] = True
    obs = torch.stack([time, n], -1).float()
    return Fragment(obs, 10 * time + n, reward, obs, flags[0], flags[1], (), {})


def test_episodes_over_three_fragments_by_hand():
    episodes = Episodes(gamma=0.5)
    assert episodes.add(fragment([[1.0, 10.0], [2.0, 20.0]])) is None

    second = episodes.add(fragment([[3.0, 30.0], [4.0, 40.0]], terminated=[(0, 0)], first=2))
    assert second.episodes == 1
    assert second.returns.tolist() == [2.75, 3.5, 3.0]  # 1 + (2 + 3/2) / 2, 2 + 3/2, 3
    assert second.obs.tolist() == [[0, 0], [1, 0], [2, 0]]
    assert second.action.tolist() == [0, 10, 20]

    ends = {"truncated": [(0, 0)], "terminated": [(1, 1)]}
    third = episodes.add(fragment([[5.0, 50.0], [6.0, 60.0]], **ends, first=4))
    assert third.episodes == 2
    rows = zip(third.action.tolist(), third.returns.tolist(), strict=True)
    assert sorted(rows) == [
        (1, 37.5),  # 10 + 55/2, of the environment whose first episode ends only now
        (11, 55.0),
        (21, 70.0),
        (30, 6.5),  # 4 + 5/2: the time limit ends the episode, nothing stands for what follows
        (31, 80.0),
        (40, 5.0),
        (41, 80.0),
        (51, 60.0),
    ]
    times = torch.stack([third.action // 10, third.action % 10], 1)
    assert torch.equal(third.obs, times.float())


def test_two_episodes_of_one_environment_in_one_fragment():
    finished = Episodes(1.0).add(
        fragment([[1.0], [2.0], [4.0], [8.0]], terminated=[(1, 0), (2, 0)])
    )
    assert finished.returns.tolist() == [3.0, 2.0, 4.0]
    assert finished.episodes == 2


def test_the_fragment_may_be_overwritten():
    episodes = Episodes(1.0)
    for first, ends in ((0, []), (1, [])):
        part = fragment([[1.0, 1.0]], terminated=ends, first=first)
        episodes.add(part)
        for column in (part.obs, part.action, part.reward):
            column.fill_(-7)
        part.terminated.fill_(True)
    finished = episodes.add(fragment([[1.0, 1.0]], terminated=[(0, 1)], first=2))
    assert finished.returns.tolist() == [3.0, 2.0, 1.0]
    assert finished.action.tolist() == [1, 11, 21]
    assert finished.obs.tolist() == [[0, 1], [1, 1], [2, 1]]


def test_only_the_steps_of_unfinished_episodes_are_kept():
    episodes = Episodes(1.0)
    for number in range(50):
        episodes.add(fragment([[1.0, 1.0]] * 2, terminated=[(1, 0), (0, 1)], first=2 * number))
    assert len(episodes.add(fragment([[1.0, 1.0]], terminated=[(0, 0), (0, 1)])).returns) == 3
    assert episodes._held.reward.shape == (0, 2)


SCRIPT = [
    [(1, "terminated"), (4, "truncated")],
    [(9, "truncated")],
    [(2, "terminated"), (2, "terminated"), (17, "terminated")],
]


@pytest.mark.parametrize("horizon", [1, 3, 7, 60])
@pytest.mark.parametrize("named", [False, True])
def test_every_step_of_a_finished_episode_comes_once(horizon, named):
    env = ScriptedEnv(SCRIPT, named=named)
    collector = Collector(env, lambda _: (), torch.device("cpu"), seed=0)
    episodes, steps, count = Episodes(1.0), 0, 0
    places, firsts = [], []

    def act(obs, carry):
        place = obs["place"] if named else obs
        return Decision(place[:, 2].long())

    while steps < 126:
        finished = episodes.add(collector.collect(act, horizon))
        steps += horizon
        if finished is None:
            continue
        obs = finished.obs["place"] if named else finished.obs
        assert torch.equal(obs[:, 2].long(), finished.action)
        places += [tuple(row) for row in obs.tolist()]
        firsts += finished.returns[finished.action == 0].tolist()
        count += finished.episodes
    known = episodes_of(SCRIPT, steps)
    assert count == len(known)
    assert sorted(firsts) == pytest.approx(sorted(earned for _, earned, _ in known))
    assert len(places) == sum(length for _, _, length in known)
    assert len(set(places)) == len(places)


def test_histories_of_episodes_begin_with_an_empty_memory():
    episodes = Episodes(1.0, lambda count: (torch.zeros(count, 1),))
    assert episodes.add(fragment([[1.0, 10.0], [2.0, 20.0]])) is None
    ended = episodes.add(fragment([[3.0, 30.0], [4.0, 40.0]], terminated=[(0, 0)], first=2))
    seen = ended.obs
    assert seen.chosen.tolist() == [[True, False], [True, False], [True, False], [False, False]]
    assert seen.start.tolist() == [[False, False]] * 3 + [[True, False]]
    assert seen.carry[0].tolist() == [[0.0], [0.0]]
    assert seen.obs[seen.chosen].tolist() == [[0, 0], [1, 0], [2, 0]]
    assert ended.returns.tolist() == [6.0, 5.0, 3.0]
    last = episodes.add(fragment([[5.0, 50.0]], terminated=[(0, 1)], first=4))
    assert last.obs.obs[last.obs.chosen].tolist() == [[t, 1] for t in range(5)]
