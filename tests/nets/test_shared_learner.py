import math

import pytest
import torch
from torch import nn

from rlrun.nets.shared_learner import SharedLearner
from rlrun.types import Diverged

RATE, EPSILON = 0.1, 0.5


def build(start=1.0):
    """Return a learner of one parameter that minimises its square."""
    parameter = nn.Parameter(torch.tensor([start]))
    learner = SharedLearner([parameter], epsilon=EPSILON, max_grad_norm=None)
    learner.learning_rate = RATE
    return learner, parameter


def square(parameter):
    return lambda _: (parameter.square().sum(), {})


def moved(at, mean_square):
    """Return where a gradient of 2 moves a parameter."""
    return at - RATE * 2 / (math.sqrt(mean_square) + EPSILON)


def test_two_learners_share_parameters_and_statistics_by_hand():
    (first, mine), (second, yours) = build(1.0), build(5.0)
    second.attach(first.memory)
    second.pull()
    assert yours.item() == 1.0

    first.minimize(square(mine), None)
    after_one = moved(1.0, 0.01 * 4)
    assert mine.item() == pytest.approx(after_one)
    assert second.flat.item() == pytest.approx(after_one)
    assert yours.item() == 1.0  # a worker's copy changes between its own updates only

    second.minimize(square(yours), None)  # the gradient at 1, applied where the first has gone
    after_two = moved(after_one, 0.99 * 0.04 + 0.01 * 4)
    assert yours.item() == pytest.approx(after_two)
    assert mine.item() == pytest.approx(after_one)
    first.pull()
    assert mine.item() == pytest.approx(after_two)


def test_the_memory_is_shared_between_processes():
    learner, _ = build()
    assert all(tensor.is_shared() for tensor in learner.memory)


def test_a_state_is_taken_back_into_the_same_memory():
    (learner, parameter), (fresh, other) = build(), build(7.0)
    learner.minimize(square(parameter), None)
    memory = fresh.memory
    with torch.no_grad():
        other.copy_(parameter)
    fresh.load_state_dict(learner.state_dict())
    assert memory.parameters.item() == parameter.item()
    assert memory.mean_square.item() == pytest.approx(0.04)
    assert [a.data_ptr() for a in fresh.memory] == [b.data_ptr() for b in memory]
    fresh.load_state_dict({})
    assert memory.mean_square.item() == 0.0


def test_a_gradient_that_is_not_finite_changes_nothing():
    learner, parameter = build()
    with pytest.raises(Diverged):
        learner.minimize(lambda _: ((parameter * torch.nan).sum(), {}), None)
    assert learner.flat.item() == parameter.item() == 1.0
    assert learner.memory.mean_square.item() == 0.0
