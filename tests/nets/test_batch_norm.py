import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.nets.batch_norm import EPSILON, BatchNorm, NormalisedCritics
from rlrun.types import EnvSpec

ROWS = torch.tensor([[0.0, 10.0], [2.0, 10.0], [4.0, 40.0], [2.0, 20.0]])
MEAN, VARIANCE = torch.tensor([[2.0, 20.0]]), torch.tensor([[2.0, 150.0]])
SPEC = EnvSpec("hand", 1, spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (2,)))


def test_a_batch_is_normalised_by_its_own_moments():
    norm = BatchNorm((1, 2), None)
    expected = (ROWS - MEAN) / (VARIANCE + EPSILON).sqrt()
    torch.testing.assert_close(norm.absorb(ROWS), expected)
    torch.testing.assert_close(norm.mean, 0.01 * MEAN)
    torch.testing.assert_close(norm.variance, 0.99 + 0.01 * VARIANCE)
    before = norm.state_dict()
    scaled = (ROWS - norm.mean) / (norm.variance + EPSILON).sqrt()
    torch.testing.assert_close(norm(ROWS), scaled)
    torch.testing.assert_close(norm.state_dict(), before, rtol=0, atol=0)


def test_gradients_pass_through_the_moments():
    rows = ROWS.clone().requires_grad_()
    weights = torch.randn(4, 2)
    (gradient,) = torch.autograd.grad((BatchNorm((1, 2), None).absorb(rows) * weights).sum(), rows)
    # moving all rows of a feature changes nothing
    torch.testing.assert_close(gradient.sum(0), torch.zeros(2), atol=1e-5, rtol=0)
    assert gradient.abs().sum() > 0


def test_renormalisation_gives_the_running_normalisation_within_its_limits():
    norm = BatchNorm((1, 2), 1)
    torch.testing.assert_close(norm.absorb(ROWS), BatchNorm((1, 2), None).absorb(ROWS))
    norm.mean.copy_(torch.tensor([[1.0, 20.0]]))
    norm.variance.copy_(torch.tensor([[4.0, 1.0]]))
    normed = norm.absorb(ROWS)
    # the first feature is within the limits, the second has 12 times the deviation, cut to 3
    near = (ROWS[:, 0] - 1.0) / (4.0 + EPSILON) ** 0.5
    torch.testing.assert_close(normed[:, 0], near)
    far = 3.0 * (ROWS[:, 1] - 20.0) / (150.0 + EPSILON) ** 0.5
    torch.testing.assert_close(normed[:, 1], far)
    norm.mean.copy_(torch.tensor([[-100.0, 20.0]]))
    norm.variance.copy_(torch.tensor([[2.0, 150.0]]))
    shifted = norm.absorb(ROWS)[:, 0] - (ROWS[:, 0] - 2.0) / (2.0 + EPSILON) ** 0.5
    assert shifted.tolist() == pytest.approx([5.0] * 4)


def test_the_count_of_batches_is_saved():
    norm, fresh = BatchNorm((1, 2), 1), BatchNorm((1, 2), 1)
    norm.absorb(ROWS)
    fresh.load_state_dict(norm.state_dict())
    torch.testing.assert_close(fresh.absorb(ROWS), norm.absorb(ROWS))


def test_two_batches_are_normalised_as_one():
    critics = NormalisedCritics(SPEC, (8,), 2, None)
    obs, action = torch.randn(12, 3), torch.rand(12, 2)
    q, next_q = critics.joint((obs[:6], action[:6]), (obs[6:] + 9, action[6:]))
    assert q.shape == next_q.shape == (2, 6)
    for index in range(2):  # each critic alone, layer by layer
        rows = torch.cat([action, torch.cat([obs[:6], obs[6:] + 9])], -1)
        for layer in [*critics.linears, critics.head]:
            deviation = (rows.var(0, correction=0) + EPSILON).sqrt()
            rows = (rows - rows.mean(0)) / deviation @ layer.weight[index] + layer.bias[index]
            rows = rows if layer is critics.head else rows.relu()
        values = torch.cat([q[index], next_q[index]])
        torch.testing.assert_close(values, rows.squeeze(-1), rtol=1e-4, atol=1e-5)


def test_values_by_running_moments_do_not_depend_on_the_batch():
    critics = NormalisedCritics(SPEC, (8, 8), 2, None)
    obs, action = torch.randn(6, 3), torch.rand(6, 2)
    critics.joint((obs, action), (obs, action))
    torch.testing.assert_close(critics(obs, action)[:, :2], critics(obs[:2], action[:2]))
