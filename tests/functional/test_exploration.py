import math

import pytest
import torch

from rlrun.functional.exploration import (
    best_actions,
    boltzmann,
    epsilon_greedy,
    sample_boltzmann,
    sample_epsilon_greedy,
)

TIED = torch.tensor([[1.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
ODDS = torch.tensor([0.0, math.log(3.0)], dtype=torch.float64)


@pytest.mark.parametrize(
    ("ties", "best"),
    [
        ("random", [[False, True, True, False], [True] * 4]),
        ("first", [[False, True, False, False], [True, False, False, False]]),
    ],
)
def test_best_actions(ties, best):
    assert best_actions(TIED, ties).tolist() == best


@pytest.mark.parametrize(
    ("ties", "probability"),
    [
        ("random", [[0.1, 0.4, 0.4, 0.1], [0.25, 0.25, 0.25, 0.25]]),
        ("first", [[0.1, 0.7, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]]),
    ],
)
def test_epsilon_greedy(ties, probability):
    torch.testing.assert_close(epsilon_greedy(TIED, 0.4, ties), torch.tensor(probability))


def test_boltzmann():
    even = torch.tensor([0.25, 0.75], dtype=torch.float64)
    torch.testing.assert_close(boltzmann(ODDS, 1.0, "random"), even)
    sharp = torch.tensor([0.1, 0.9], dtype=torch.float64)
    torch.testing.assert_close(boltzmann(ODDS, 0.5, "random"), sharp)


def test_boltzmann_at_zero_is_greedy():
    shared = torch.tensor([[0, 0.5, 0.5, 0], [0.25] * 4])
    torch.testing.assert_close(boltzmann(TIED, 0.0, "random"), shared)
    first = torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0]])
    torch.testing.assert_close(boltzmann(TIED, 0.0, "first"), first)


@pytest.mark.parametrize("ties", ["random", "first"])
@pytest.mark.parametrize(
    ("sample", "probability", "rate"),
    [
        (sample_epsilon_greedy, epsilon_greedy, 0.4),
        (sample_epsilon_greedy, epsilon_greedy, 0.0),
        (sample_boltzmann, boltzmann, 2.0),
        (sample_boltzmann, boltzmann, 0.0),
    ],
)
def test_samples_have_the_probabilities(sample, probability, rate, ties):
    torch.manual_seed(0)
    draws = 40_000  # the standard error of a frequency is at most 0.0025
    action = sample(TIED.expand(draws, 2, 4), rate, ties)
    assert action.shape == (draws, 2)
    frequency = torch.nn.functional.one_hot(action, 4).float().mean(0)
    expected = probability(TIED, rate, ties)
    torch.testing.assert_close(frequency, expected, rtol=0.0, atol=0.01)
    assert not frequency[expected == 0.0].any()
