"""Stacks of frames come back as they were added, and cost one frame a step."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.checkpoint import join_state, split_state
from rlrun.config import ConfigError
from rlrun.data import capacity as capacity_module
from rlrun.data.capacity import bytes_for
from rlrun.data.replay import Replay
from rlrun.types import EnvSpec, Fragment
from tests.data.histories import History, StackedHistory
from tests.data.test_replay import CPU, GAMMA, PRIORITIZED, allocated, compare

SIDE, STACK = 84, 4
ATARI = EnvSpec(
    "atari", 1, spaces.Box(0, 255, (STACK, SIDE, SIDE), np.uint8), spaces.Discrete(6), None, STACK
)


def built(history: History, capacity: int, n_step: int = 1, prioritized=None) -> Replay:
    return Replay(capacity, history.spec, CPU, n_step=n_step, gamma=GAMMA, prioritized=prioritized)


@pytest.mark.parametrize("prioritized", [None, PRIORITIZED])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(
    ("num_envs", "capacity", "ends", "padding", "cuts"),
    [
        (1, 7, 0.3, "reset", 0.0),
        (3, 20, 0.2, "zero", 0.0),
        (2, 64, 0.0, "reset", 0.0),
        (2, 40, 0.2, "whole", 0.1),
        (1, 60, 0.05, "whole", 1.0),
    ],
)
def test_it_returns_what_was_added(num_envs, capacity, ends, padding, cuts, n_step, prioritized):
    torch.manual_seed(num_envs)
    history = StackedHistory(num_envs, ends, padding, cuts=cuts, seed=capacity)
    replay = built(history, capacity, n_step, prioritized)
    fewest = capacity
    for length in (1, 1, 2, 5, 1, 3, 1, 1, 4, 1, 7, 1, 30, 1, 90, 1, 2, 1, 1, 1, 26, 1):
        replay.add(history.fragment(length))
        most = min(len(history.rows), capacity // num_envs) * num_envs
        assert num_envs <= len(replay) <= most
        if len(replay) < most:
            fewest = min(fewest, len(replay))
        compare(replay, history, len(replay), draws=200)
    # only where nothing is a history does the room for frames run out
    assert (fewest < capacity) == (cuts == 1.0)
    compare(replay, history, len(replay), draws=20 * len(replay))


@pytest.mark.parametrize(("steps", "n_step"), [(5, 3), (37, 1), (300, 1), (300, 3)])
@pytest.mark.parametrize("cuts", [0.0, 1.0])
@pytest.mark.parametrize("prioritized", [None, PRIORITIZED])
def test_a_loaded_memory_goes_on_with_new_episodes(steps, n_step, cuts, prioritized):
    torch.manual_seed(0)
    history = StackedHistory(2, 0.1, "reset", cuts=cuts)
    saved, loaded = (built(history, 80, n_step, prioritized) for _ in range(2))
    for _ in range(steps):
        saved.add(history.fragment(1))
    state = join_state(*split_state(saved.state_dict()))
    loaded.load_state_dict(state)
    again = join_state(*split_state(loaded.state_dict()))
    torch.testing.assert_close(again, state, rtol=0, atol=0)
    assert len(loaded) == len(saved)
    compare(loaded, history, len(loaded))
    history.restart()
    for length in (1, 2, 1, 9, 60):
        loaded.add(history.fragment(length))
        compare(loaded, history, len(loaded))


@pytest.mark.parametrize(("ends", "cuts"), [(0.0, 0.05), (0.3, 0.1), (1.0, 1.0)])
def test_one_long_fragment_comes_back(ends, cuts):
    for seed in range(12):
        history = StackedHistory(1, ends, "whole", cuts=cuts, seed=seed)
        replay = built(history, 60)
        replay.add(history.fragment(12 if cuts < 1 else 60))
        assert 0 < len(replay) <= 60
        compare(replay, history, len(replay))


@pytest.mark.parametrize(("n_step", "shared"), [(1, True), (3, False)])
def test_a_stack_and_its_successor_share_their_frames(n_step, shared):
    history = StackedHistory(2, 0.2, "zero")
    replay = built(history, 40, n_step)
    replay.add(history.fragment(50))
    batch = replay.sample(8)
    ours, theirs = batch.obs.data_ptr(), batch.next_obs.data_ptr()
    assert (theirs - ours == 4) == shared  # a picture of 2 x 2 bytes further on
    history.cuts = 1.0
    replay.add(history.fragment(1))
    batch = replay.sample(8)
    assert batch.obs.is_contiguous()


def test_a_still_picture_is_a_history():
    spec = EnvSpec("still", 1, spaces.Box(0, 255, (2, 1, 1), np.uint8), spaces.Discrete(5), None, 2)
    replay = Replay(40, spec, CPU)
    still = torch.full((1, 1, 2, 1, 1), 7, dtype=torch.uint8)
    flags, zeros = torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 1)
    for step in range(100):
        done = flags if step % 9 else ~flags
        replay.add(Fragment(still, zeros.long(), zeros, still, done, flags, (), {}))
    assert len(replay) == 40
    batch = replay.sample(50)
    assert batch.obs.unique().tolist() == batch.next_obs.unique().tolist() == [7]


def play(replay: Replay, rows: int) -> None:
    """Add Atari's pictures from episodes of 2 to 80 steps, about 30 on average."""
    random = np.random.default_rng(0)
    pictures = torch.from_numpy(random.integers(0, 256, (64, SIDE, SIDE), dtype=np.uint8))
    left = 0
    for row in range(rows):
        if not left:
            left = int(random.integers(2, 80 if row % 2 else 40))
            obs = pictures[row % 64].expand(1, 1, STACK, SIDE, SIDE).contiguous()
        following = torch.cat([obs[:, :, 1:], pictures[None, None, None, (row + 1) % 64]], 2)
        left -= 1
        done, never = torch.full((1, 1), left == 0), torch.zeros(1, 1, dtype=torch.bool)
        zeros = torch.zeros(1, 1)
        replay.add(Fragment(obs, zeros.long(), zeros, following, done, never, (), {}))
        obs = following


def test_a_million_observations_of_atari_take_less_than_seven_and_a_half_gigabytes():
    bytes_by_rows = {}
    for rows in (500, 1500):
        replay = Replay(rows, ATARI, CPU, prioritized=PRIORITIZED)
        play(replay, 2 * rows)
        assert len(replay) == rows
        bytes_by_rows[rows] = sum(allocated(replay).values())
        # besides: the numbers of 256 last stacks, and one observation to compare with
        assert 0 <= bytes_by_rows[rows] - bytes_for(rows, ATARI, True) <= 256 * 5 * 8 + 30_000
    each = (bytes_by_rows[1500] - bytes_by_rows[500]) / 1000
    assert 7056 < each < 7500
    assert bytes_for(1_000_000, ATARI, True) < 7.5e9


def test_the_room_for_frames_is_counted(monkeypatch):
    # 1050 frames and the least 4 x 14; 1001 rows of 5 numbers, action, reward, discount and end
    needed = (1050 + 56) * 7056 + 1001 * (5 * 8 + 8 + 16)
    assert bytes_for(1000, ATARI, prioritized=False) == needed
    monkeypatch.setattr(capacity_module, "free_memory", lambda device: needed - 1)
    with pytest.raises(ConfigError, match=r"algo\.buffer_size: 1000 transitions .* would fit"):
        Replay(1000, ATARI, CPU)
