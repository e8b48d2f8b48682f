import pytest
import torch

from rlrun.functional.bellman import (
    action_values,
    discounting_model,
    expected_value,
    improved_action,
    joint_step_size,
    policy_value,
    td_target,
    way_to_the_end,
)
from rlrun.types import Diverged, TabularModel


def table(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def model(continuation, reward):
    """A model whose episodes go on as given and end otherwise, in state 0."""
    continuation = torch.tensor(continuation, dtype=torch.float64)
    probability = continuation.clone()
    probability[..., 0] += 1.0 - continuation.sum(-1)
    return TabularModel(probability, torch.tensor(reward, dtype=torch.float64), continuation)


# state 0: stay for 1, or end for 3; state 1: go to 0 or end for 2, or stay for nothing
TWO = model([[[1, 0], [0, 0]], [[0.5, 0], [0, 1]]], [[1, 3], [2, 0]])


def test_action_values():
    q = action_values(TWO, table(4, 8), 0.5)
    torch.testing.assert_close(q, table((3, 3), (3, 4)))


def test_action_values_refuse_a_wrong_number_of_values():
    with pytest.raises(ValueError, match="for 2 states"):
        action_values(TWO, torch.zeros(3, dtype=torch.float64), 0.5)


def test_policy_value():
    even = table((0.5, 0.5), (0.5, 0.5))
    # v0 = 2 + v0 / 4 and v1 = 1 + v0 / 8 + v1 / 4
    torch.testing.assert_close(policy_value(TWO, even, 0.5), table(8 / 3, 16 / 9))
    # v0 = 2 + v0 / 2 and v1 = 1 + v0 / 4 + v1 / 2
    torch.testing.assert_close(policy_value(TWO, even, 1.0), table(4, 4))


def test_policy_value_is_zero_where_nothing_is_ever_earned():
    # state 1 stays for nothing, and state 0 goes there or ends: v0 = 2
    endless = model([[[0, 0.5], [0, 0]], [[0, 1], [0, 1]]], [[2, 3], [0, 0]])
    first = table((1, 0), (1, 0))
    torch.testing.assert_close(policy_value(endless, first, 1.0), table(2, 0))


def test_policy_value_refuses_an_endless_sum():
    with pytest.raises(Diverged, match="gamma is 1"):
        policy_value(TWO, table((1, 0), (1, 0)), 1.0)


def test_policy_value_refuses_another_shape():
    with pytest.raises(ValueError, match="shapes differ"):
        policy_value(TWO, table((1, 0)), 0.5)


def test_way_to_the_end():
    stay = torch.eye(4, dtype=torch.float64)
    # action 1 goes from 0 to 1, from 1 to 2 and ends in 2; nothing leads out of 3
    ahead = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1.0]])
    action, ends = way_to_the_end(torch.stack([stay, ahead.double()], 1))
    assert action.tolist() == [1, 1, 1, 0]
    assert ends.tolist() == [True, True, True, False]


def test_way_to_the_end_takes_the_nearest():
    # in 0, action 0 goes to 1 and action 1 to 2; 1 leads to 2, which ends
    far = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0.0]]).double()
    near = torch.tensor([[0, 0, 1], [0, 0, 1], [0, 0, 0.0]]).double()
    action, _ = way_to_the_end(torch.stack([far, near], 1))
    assert action[0] == 1


def test_improved_action():
    q = table((1, 1, 1), (1, 2, 2), (2, 1, 2.5), (0, 1, 0.95))
    held = torch.tensor([2, 0, 0, 2])
    assert improved_action(q, held, 0.1).tolist() == [2, 1, 2, 2]
    assert improved_action(q, held, 0.0).tolist() == [2, 1, 2, 1]
    with pytest.raises(ValueError, match="actions for values"):
        improved_action(q, held[:3], 0.0)


def test_discounting_model():
    # in 0: end for 1 after another step (v = gamma), or at once (v = 1); in 1: end for 1
    chain = model([[[0, 1], [0, 0]], [[0, 0], [0, 0]]], [[0, 1], [1, 1]])
    later = discounting_model(chain, table(1, 1))
    torch.testing.assert_close(later.reward, table((-1, 0), (0, 0)))
    value = policy_value(later, table((1, 0), (1, 0)), 1.0)
    torch.testing.assert_close(value, table(-1, 0))


def test_expected_value():
    value = expected_value(table((1, 3), (2, 8)), table((0.25, 0.75), (1, 0)))
    torch.testing.assert_close(value, table(2.5, 2))
    with pytest.raises(ValueError, match="shapes differ"):
        expected_value(table((1, 3)), table((0.25,), (0.75,)))


def test_td_target():
    reward, value = torch.tensor([1.0, 1.0]), table(4, 4)
    target = td_target(reward, value, torch.tensor([False, True]), 0.5)
    torch.testing.assert_close(target, table(3, 1))
    with pytest.raises(ValueError, match="one shape"):
        td_target(reward, value.unsqueeze(1), torch.tensor([False, True]), 0.5)


@pytest.mark.parametrize(
    ("learning_rate", "steps"),
    [(0.5, [0.375, 0.5, 0.375]), (1.0, [0.5, 1.0, 0.5]), (0.0, [0.0, 0.0, 0.0])],
)
def test_joint_step_size(learning_rate, steps):
    found = joint_step_size(torch.tensor([3, 5, 3]), learning_rate)
    torch.testing.assert_close(found, torch.tensor(steps))


def test_joint_step_size_is_that_of_updates_in_sequence():
    in_sequence = 1.0
    for _ in range(3):
        in_sequence += 0.2 * (5.0 - in_sequence)
    together = 1.0 + (joint_step_size(torch.tensor([7, 7, 7]), 0.2) * (5.0 - 1.0)).sum()
    torch.testing.assert_close(together, torch.tensor(in_sequence))


def test_joint_step_size_refuses_another_shape():
    with pytest.raises(ValueError, match=r"not \[B\]"):
        joint_step_size(torch.tensor([[1, 2]]), 0.5)
