import pytest
import torch

from rlrun.functional.exploration import epsilon_greedy, random_or_best
from rlrun.functional.q_values import (
    cross_entropy,
    double_value,
    huber_loss,
    project,
    quantile_huber_loss,
    squared_loss,
    taken,
    weighted_mean,
)

ATOMS = torch.tensor([0.0, 1.0, 2.0])


def test_taken_picks_a_value_or_a_distribution():
    q = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    action = torch.tensor([2, 0])
    assert taken(q, action).tolist() == [3.0, 4.0]
    assert taken(torch.stack([q, -q], 2), action).tolist() == [[3.0, -3.0], [4.0, -4.0]]


def test_double_value_against_a_table():
    target = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    online = torch.tensor([[0.0, 9.0, 1.0], [7.0, 0.0, 0.0]])
    assert double_value(target, online).tolist() == [2.0, 4.0]
    assert double_value(target, target).tolist() == [3.0, 6.0]
    both = double_value(torch.stack([target, -target], 2), online)
    assert both.tolist() == [[2.0, -2.0], [4.0, -4.0]]


def test_huber_is_square_near_and_straight_far():
    losses = huber_loss(torch.tensor([0.5, 3.0, -3.0]), torch.zeros(3))
    assert losses.tolist() == [0.125, 2.5, 2.5]


def test_a_squared_loss_is_square_everywhere():
    losses = squared_loss(torch.tensor([0.5, 3.0, -3.0]), torch.zeros(3))
    assert losses.tolist() == [0.125, 4.5, 4.5]


@pytest.mark.parametrize(
    ("reward", "discount", "wanted"),
    [
        (0.5, 0.5, [0.125, 0.75, 0.125]),  # 0.5, 1, 1.5: the outer two are halved between atoms
        (0.0, 1.0, [0.25, 0.5, 0.25]),
        (0.25, 0.0, [0.75, 0.25, 0.0]),  # the task ended: all mass on the reward
        (1.0, 0.0, [0.0, 1.0, 0.0]),
        (5.0, 1.0, [0.0, 0.0, 1.0]),
        (-3.0, 1.0, [1.0, 0.0, 0.0]),
        (1.0, 1.0, [0.0, 0.25, 0.75]),
    ],
)
def test_projection_by_hand(reward, discount, wanted):
    probability = torch.tensor([[0.25, 0.5, 0.25]])
    found = project(probability, torch.tensor([reward]), torch.tensor([discount]), ATOMS)
    assert found[0].tolist() == pytest.approx(wanted, abs=1e-7)


def test_projection_keeps_the_mass_and_inside_the_support_the_mean():
    torch.manual_seed(0)
    support = torch.linspace(-10, 10, 51)
    probability = torch.randn(64, 51).softmax(1)
    reward, discount = torch.randn(64), torch.full((64,), 0.5)
    found = project(probability, reward, discount, support)
    torch.testing.assert_close(found.sum(1), torch.ones(64), rtol=0, atol=1e-5)
    assert found.min() >= 0
    torch.testing.assert_close(
        found @ support, reward + discount * (probability @ support), rtol=0, atol=1e-4
    )
    far = project(probability, 30 * reward, discount, support)
    torch.testing.assert_close(far.sum(1), torch.ones(64), rtol=0, atol=1e-5)


def test_cross_entropy_by_hand():
    log_probability = torch.tensor([[0.5, 0.5], [0.25, 0.75]]).log()
    found = cross_entropy(log_probability, torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert found.tolist() == pytest.approx([0.6931472, 0.8369882])


def test_quantile_huber_by_hand():
    # errors 1, 4 at level 1/4: (0.5 + 3.5) / 8; errors -1, 2 at level 3/4: (0.125 + 1.125) / 2
    quantile = torch.tensor([[0.0, 2.0]], requires_grad=True)
    loss = quantile_huber_loss(quantile, torch.tensor([[1.0, 4.0]]))
    assert loss.tolist() == [0.5 + 0.625]
    # slopes: -0.25 twice over 2; 0.25 and -0.75 over 2
    assert torch.autograd.grad(loss.sum(), quantile)[0].tolist() == [[-0.25, -0.25]]


def test_quantiles_and_samples_may_differ_in_number():
    loss = quantile_huber_loss(torch.tensor([[0.0]]), torch.tensor([[1.0, -1.0, 3.0]]))
    assert loss.tolist() == pytest.approx([0.5 * (0.5 + 0.5 + 2.5) / 3])


def test_every_loss_is_reduced_with_its_weights():
    loss, weight = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 0.5, 0.0])
    assert weighted_mean(loss, weight) == pytest.approx(2.0 / 3.0)


def test_shapes_must_agree():
    row, column = torch.zeros(4), torch.zeros(4, 1)
    for call in (
        lambda: taken(torch.zeros(4, 2), column.long()),
        lambda: double_value(torch.zeros(4, 2), torch.zeros(4, 3)),
        lambda: huber_loss(row, column),
        lambda: squared_loss(row, column),
        lambda: weighted_mean(row, column),
        lambda: project(torch.zeros(4, 3), column, row, ATOMS),
        lambda: project(torch.zeros(4, 2), row, row, ATOMS),
        lambda: cross_entropy(column, row),
        lambda: quantile_huber_loss(row, row),
    ):
        with pytest.raises(ValueError, match=r"shape|actions|quantiles"):
            call()


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_random_or_best_draws_epsilon_greedily(epsilon):
    torch.manual_seed(0)
    q = torch.tensor([1.0, 3.0, 3.0, 2.0])
    action = random_or_best(q.expand(40_000, 4), torch.tensor(epsilon))
    share = torch.bincount(action, minlength=4) / 40_000
    exact = epsilon_greedy(q, epsilon, "first")
    torch.testing.assert_close(share, exact, rtol=0, atol=0.012)
