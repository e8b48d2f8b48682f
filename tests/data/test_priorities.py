"""Draws in proportion to priorities, held against the exact probabilities."""

import numpy as np
import pytest
import torch

from rlrun.data import priorities as module
from rlrun.data.priorities import Priorities, PrioritizedConfig, bytes_for
from rlrun.functional.schedules import Schedule


def made(size: int, alpha: float = 0.6, beta: float = 0.4) -> Priorities:
    config = PrioritizedConfig(alpha=alpha, beta=Schedule.constant(beta), epsilon=1e-6)
    return Priorities(config, size)


def test_probabilities_and_weights_of_four_entries():
    priorities = made(4, alpha=0.5, beta=1.0)
    priorities.begin(0, 3)
    priorities.update(np.array([0, 1, 2]), np.array([1.0, -4.0, 16.0]))
    # square roots 1, 2, 4; the fourth was never there
    found = priorities.probability()
    assert found[:4].tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7, 0], abs=1e-6)
    assert found[4:].sum() == 0
    # 1 / (3 P) over its largest, 7 / 3: 1, 1/2, 1/4
    index, weight = priorities.draw(64, 3)
    assert set(index.tolist()) == {0, 1, 2}
    wanted = np.array([1.0, 0.5, 0.25])[index]
    np.testing.assert_allclose(weight, wanted, rtol=1e-5)


@pytest.mark.parametrize("top", [module.TOP, 4])
def test_draws_follow_the_exact_probabilities(top, monkeypatch):
    monkeypatch.setattr(module, "TOP", top)  # 4 makes three levels of what else is one
    torch.manual_seed(0)
    size, rounds, batch = 300, 1000, 100
    priorities = made(size)
    priorities.begin(0, size)
    priorities.update(np.arange(200), torch.randn(200).numpy() * 3)
    priorities.clear(40, 60)
    exact = priorities.probability()[:size]
    assert (exact[:40] > 0).all()
    counts = np.zeros(size)
    for _ in range(rounds):
        index, weight = priorities.draw(batch, size - 20)
        counts += np.bincount(index, minlength=size)
        raw = ((size - 20) * exact[index]) ** -0.4
        np.testing.assert_allclose(weight, raw / raw.max(), rtol=1e-5)
    assert counts[40:60].sum() == 0
    drawn = exact > 0
    expected = exact[drawn] * rounds * batch
    statistic = ((counts[drawn] - expected) ** 2 / expected).sum()
    # 279 degrees of freedom: the 99.9 % point is 359
    assert statistic < 359


def test_each_draw_has_a_share_of_the_total_of_its_own():
    priorities = made(8, alpha=1.0)
    priorities.begin(0, 8)
    for _ in range(20):
        index, weight = priorities.draw(8, 8)
        assert index.tolist() == list(range(8))
        assert weight.tolist() == [1.0] * 8


def test_new_entries_get_the_largest_priority_ever_seen():
    priorities = made(10, alpha=1.0)
    priorities.begin(0, 2)
    priorities.update(np.array([0, 1]), np.array([3.0, 0.5]))
    priorities.update(np.array([0]), np.array([0.5]))
    priorities.begin(5, 6)
    assert priorities.probability()[[0, 1, 5]].tolist() == pytest.approx(
        [0.125, 0.125, 0.75], rel=1e-5
    )


def test_a_state_goes_round():
    torch.manual_seed(0)
    saved, loaded = made(5000), made(5000)
    saved.begin(0, 5000)
    saved.update(np.arange(100), torch.randn(100).numpy())
    loaded.load_state_dict(saved.state_dict())
    for priorities in (saved, loaded):
        torch.manual_seed(1)
        priorities.draws = priorities.draw(50, 5000)
    assert np.array_equal(saved.draws[0], loaded.draws[0])
    assert np.array_equal(saved.draws[1], loaded.draws[1])
    assert bytes_for(5000) == 8 * (5056 + 79)
