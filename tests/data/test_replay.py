"""Replay returns only what was added, with the true successor, and never across episodes."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.checkpoint import join_state, split_state
from rlrun.config import ConfigError
from rlrun.data import capacity as capacity_module
from rlrun.data.capacity import bytes_for
from rlrun.data.priorities import PrioritizedConfig
from rlrun.data.replay import Replay
from rlrun.functional.schedules import Schedule
from rlrun.types import EnvSpec
from tests.data.histories import History

CPU = torch.device("cpu")
PRIORITIZED = PrioritizedConfig(alpha=0.6, beta=Schedule.constant(0.4), epsilon=1e-6)
GAMMA = 0.5


def compare(replay: Replay, history: History, capacity: int, draws: int = 400) -> None:
    """Hold draws against the history, and see that everything kept is drawn."""
    batch = replay.sample(draws)
    numbers = history.read(batch.obs)
    action, reward, next_obs, discount = history.expected(numbers, capacity, replay.n_step, GAMMA)
    assert batch.action.tolist() == action
    assert batch.reward.tolist() == pytest.approx(reward, abs=1e-5)
    assert batch.discount.tolist() == discount
    torch.testing.assert_close(batch.obs, history.shown(numbers), rtol=0, atol=0)
    torch.testing.assert_close(batch.next_obs, history.shown(next_obs), rtol=0, atol=0)
    assert set(numbers) <= history.kept(capacity)
    if draws >= 20 * len(replay):
        assert set(numbers) == history.kept(capacity)


def allocated(part: object) -> dict[int, int]:
    """Return the bytes of all tensors and arrays that an object holds, by where they are."""
    if isinstance(part, torch.Tensor):
        return {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes()}
    if isinstance(part, np.ndarray):
        return {part.__array_interface__["data"][0]: part.nbytes}
    if isinstance(part, list):
        inner = part
    else:
        module = type(part).__module__
        inner = list(vars(part).values()) if module.startswith("rlrun.data") else []
    found: dict[int, int] = {}
    for each in inner:
        found |= allocated(each)
    return found


@pytest.mark.parametrize("prioritized", [None, PRIORITIZED])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("num_envs", "capacity", "ends"), [(1, 7, 0.3), (3, 20, 0.2), (2, 64, 0)])
def test_it_returns_what_was_added(num_envs, capacity, ends, n_step, prioritized):
    torch.manual_seed(num_envs)
    history = History(num_envs, ends, seed=capacity)
    replay = Replay(
        capacity, history.spec, CPU, n_step=n_step, gamma=GAMMA, prioritized=prioritized
    )
    for length in (1, 1, 2, 5, 1, 3, 1, 1, 4, 1, 7, 1, 30, 1, 1, 2):
        replay.add(history.fragment(length))
        assert len(replay) == min(len(history.rows), capacity // num_envs) * num_envs
        compare(replay, history, capacity)
    assert replay.added == len(history.rows) * num_envs


def test_dict_observations_stay_together():
    torch.manual_seed(0)
    history = History(2, 0.3, named=True)
    replay = Replay(16, history.spec, CPU, n_step=2, gamma=GAMMA)
    for _ in range(12):
        replay.add(history.fragment(3))
        compare(replay, history, 16)
    assert len(replay) == 16


def test_room_for_ends_grows_and_is_used_again():
    torch.manual_seed(0)
    history = History(4, 0.1)
    replay = Replay(800, history.spec, CPU, gamma=GAMMA)
    for _ in range(40):
        replay.add(history.fragment(25))
    assert replay.state_dict()["store"]["oldest_end"] > 0  # some were forgotten already
    history.ends = 0.9
    for _ in range(40):
        replay.add(history.fragment(25))
        if replay.state_dict()["store"]["oldest_end"] < 1000:
            compare(replay, history, 800, draws=100)
    compare(replay, history, 800, draws=1000)
    store = replay.state_dict()["store"]
    assert store["next_end"] > 3000
    assert store["room"] == 2048


@pytest.mark.parametrize("prioritized", [None, PRIORITIZED])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("steps", [5, 37])
def test_a_loaded_replay_goes_on_with_new_episodes(steps, named, prioritized):
    torch.manual_seed(0)
    history = History(2, 0.2, named=named)

    def fresh():
        return Replay(24, history.spec, CPU, n_step=3, gamma=GAMMA, prioritized=prioritized)

    saved, loaded = fresh(), fresh()
    saved.add(history.fragment(steps))
    if prioritized is not None:
        batch = saved.sample(8)
        saved.update_priorities(batch.index, torch.randn(8))
    state = join_state(*split_state(saved.state_dict()))
    loaded.load_state_dict(state)
    again = join_state(*split_state(loaded.state_dict()))
    torch.testing.assert_close(again, state, rtol=0, atol=0)
    compare(loaded, history, 24)
    history.restart()
    for length in (1, 2, 1, 9):
        loaded.add(history.fragment(length))
        compare(loaded, history, 24)
    fresh().load_state_dict(fresh().state_dict())


def test_a_batch_belongs_to_its_reader():
    history = History(2, 0.2)
    replay = Replay(8, history.spec, CPU)
    fragment = history.fragment(4)
    replay.add(fragment)
    batch = replay.sample(6)
    kept = [column.clone() for column in (batch.obs, batch.reward, batch.next_obs)]
    for leaf in (fragment.obs, fragment.reward, fragment.next_obs):
        leaf.zero_()
    replay.add(history.fragment(6))
    for column, before in zip((batch.obs, batch.reward, batch.next_obs), kept, strict=True):
        assert torch.equal(column, before)
        assert before.abs().sum() > 0


def test_observations_keep_their_type():
    image = spaces.Box(0, 255, (2, 4, 4), "uint8")
    history = History(2, 0.5)
    fragment = history.fragment(3)
    picture = torch.randint(0, 256, (3, 2, 2, 4, 4), dtype=torch.uint8)
    spec = EnvSpec("images", 2, image, spaces.Discrete(5))
    replay = Replay(10, spec, CPU)
    replay.add(fragment._replace(obs=picture, next_obs=picture))
    batch = replay.sample(4)
    assert batch.obs.dtype == batch.next_obs.dtype == torch.uint8
    assert batch.obs.shape == (4, 2, 4, 4)
    # besides: room for 256 ends, and the constant vectors
    besides = sum(allocated(replay).values()) - bytes_for(10, spec, prioritized=False)
    assert 256 * 32 <= besides <= 256 * 32 + 100


def test_refuses_what_cannot_be(monkeypatch):
    spec = History(8, 0.0).spec
    with pytest.raises(ConfigError, match=r"algo\.batch_size: 64 is more than .* = 32 holds"):
        Replay(32, spec, CPU, batch_size=64)
    with pytest.raises(ConfigError, match=r"algo\.buffer_size: 4 is less than .* = 8"):
        Replay(4, spec, CPU)
    needed = bytes_for(1000, spec, prioritized=False)
    assert needed == 1008 * (8 + 8 + 16)
    monkeypatch.setattr(capacity_module, "free_memory", lambda device: needed)
    assert len(Replay(1000, spec, CPU)) == 0
    monkeypatch.setattr(capacity_module, "free_memory", lambda device: needed - 1)
    message = r"algo\.buffer_size: 1000 transitions of history need 0\.0 GB, .* 799 would fit"
    with pytest.raises(ConfigError, match=message):
        Replay(1000, spec, CPU)
