"""Sequences out of memory: in their order, with the carry of then, learned from where they may."""

import pytest
import torch
from gymnasium import spaces

from rlrun.config import ConfigError
from rlrun.data.sequences import SequenceConfig, SequenceReplay
from rlrun.types import EnvSpec, Fragment

HORIZON, ENVS = 4, 2
SPEC = EnvSpec("x", ENVS, spaces.Box(-1e6, 1e6, (1,)), spaces.Discrete(9))
CPU = torch.device("cpu")


def fragment(first, terminated=(), truncated=()):
    """Steps from `first` on: observation 10 * t + n, reward 100 + t, carry the step before."""
    t = torch.arange(first, first + HORIZON).unsqueeze(1).expand(HORIZON, ENVS)
    n = torch.arange(ENVS).expand(HORIZON, ENVS)
    flags = torch.zeros(2, HORIZON, ENVS).bool()
    for kind, places in enumerate((terminated, truncated)):
        for at, env in places:
            flags[kind, at - first, env] = True
    obs = (10.0 * t + n).unsqueeze(-1)
    carry = (torch.full((ENVS, 3), float(first)),)
    return Fragment(obs, t % 9, 100.0 + t, obs, flags[0], flags[1], carry, {})


def replay(capacity=48, burn_in=2, length=3, **options):
    config = SequenceConfig(burn_in=burn_in, length=length)
    return SequenceReplay(config, capacity, SPEC, CPU, horizon=HORIZON, gamma=0.5, **options)


def test_a_sequence_by_hand():
    memory = replay()
    memory.add(fragment(0, terminated=[(3, 0)]))
    assert not memory.ready  # five steps and a successor do not fit into four
    memory.add(fragment(4))
    assert memory.ready
    assert (len(memory), memory.added) == (16, 16)
    torch.manual_seed(0)
    batch = memory.sample(300)
    now = batch.obs
    assert now.obs.shape == (6, 100, 1)
    assert set(now.obs[0, :, 0].tolist()) == {0.0, 1.0}  # only the first fragment is long enough
    assert (now.obs.diff(dim=0) == 10).all()
    assert set(now.carry[0].flatten().tolist()) == {0.0}
    assert now.chosen.sum(0).tolist() == [3] * 100
    assert not now.chosen[:2].any()
    first = now.obs[0, :, 0] == 0
    assert now.start[4].equal(first)
    assert now.start.sum() == first.sum()
    at = now.obs[now.chosen].squeeze(-1).div(10).floor()
    assert batch.reward.equal(100.0 + at)
    assert batch.action.equal(at.long() % 9)
    assert batch.next_obs.obs[batch.next_obs.chosen].equal(now.obs[now.chosen] + 10)
    ended = (at == 3) & (now.obs[now.chosen].squeeze(-1) % 10 == 0)
    assert batch.discount.equal(torch.where(ended, 0.0, 0.5))
    assert batch.weight.equal(torch.ones(300))


def test_a_cut_step_is_not_learned_from_and_ends_the_episode():
    memory = replay()
    memory.add(fragment(0, truncated=[(3, 0), (3, 1)]))
    memory.add(fragment(4))
    batch = memory.sample(30)
    assert batch.obs.chosen.sum(0).tolist() == [2] * 10
    assert set(batch.reward.tolist()) == {102.0, 104.0}
    assert batch.obs.start[4].all()


def test_the_newest_are_kept_and_none_joins_old_and_new():
    memory = replay(capacity=24)  # three fragments of two environments
    for first in range(0, 80, HORIZON):
        memory.add(fragment(first))
    assert (len(memory), memory.added) == (24, 160)
    batch = memory.sample(300)
    assert set(batch.obs.carry[0].flatten().tolist()) == {68.0, 72.0}
    assert (batch.obs.obs.diff(dim=0) == 10).all()


def test_what_is_restored_does_not_run_on():
    memory = replay()
    memory.add(fragment(0))
    memory.add(fragment(4))
    other = replay()
    other.load_state_dict(memory.state_dict())
    memory.add(fragment(8))
    other.add(fragment(8))
    for each, cut in ((memory, False), (other, True)):
        torch.manual_seed(0)
        batch = each.sample(600)
        late = batch.obs.carry[0][:, 0] == 4.0
        assert late.any()
        assert bool(batch.obs.start[4, late].all()) is cut  # step 8 follows step 7, or it does not
    assert other.added == memory.added == 24


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"capacity": 16, "burn_in": 3, "length": 3}, "less than a sequence"),
        ({"capacity": 48, "batch_size": 64}, "is more than algo.buffer_size = 48 holds"),
    ],
)
def test_refuses_what_cannot_hold_a_batch(options, reason):
    with pytest.raises(ConfigError, match=reason):
        replay(**options)
