import pytest
import torch

from rlrun.functional.critics import squared_errors, td_target


def test_nothing_is_hoped_for_after_the_end():
    reward, discount = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0])
    assert td_target(reward, discount, torch.tensor([4.0, 9.0])).tolist() == [3.0, 2.0]


def test_every_critic_learns_as_if_alone():
    q = torch.tensor([[1.0, 2.0], [3.5, 2.0]], requires_grad=True)
    losses = squared_errors(q, torch.tensor([2.0, 4.0]))
    assert losses.tolist() == [1.0 + 2.25, 4.0 + 4.0]
    assert torch.autograd.grad(losses.sum(), q)[0].tolist() == [[-2.0, -4.0], [3.0, -4.0]]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        squared_errors(torch.zeros(2, 4), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="shape"):
        td_target(torch.zeros(4), torch.zeros(4), torch.zeros(4, 1))
