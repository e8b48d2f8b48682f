import pytest
import torch
from torch import nn

from rlrun.nets.learner import Learner
from rlrun.nets.target import Target


def test_a_target_moves_its_share_of_the_way():
    net = nn.Linear(2, 1)
    learner = Learner(net.parameters())
    target = Target(net, learner.flat)
    start = [each.clone() for each in target.module.parameters()]
    learner.learning_rate = 0.5
    learner.minimize(lambda batch: (net(batch).sum(), {}), torch.ones(1, 2))
    for mine, first in zip(target.module.parameters(), start, strict=True):
        assert torch.equal(mine, first), "the target is a copy"
    target.follow(0.25)
    for mine, first, now in zip(target.module.parameters(), start, net.parameters(), strict=True):
        torch.testing.assert_close(mine, 0.75 * first + 0.25 * now)
        assert not torch.equal(mine, first)
    target.follow(1.0)
    torch.testing.assert_close(target.module.state_dict(), net.state_dict(), rtol=0, atol=0)


def test_a_target_is_never_learned_and_saves_itself_alone():
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    net[0].requires_grad_(False)
    target = Target(net, Learner(net.parameters()).flat)
    target.follow(0.5)
    assert not any(each.requires_grad for each in target.parameters())
    assert set(target.state_dict()) == {f"module.{name}" for name in net.state_dict()}


def test_a_loaded_target_still_follows():
    net = nn.Linear(1, 1, bias=False)
    target = Target(net, Learner(net.parameters()).flat)
    target.load_state_dict({"module.weight": torch.tensor([[3.0]])})
    with torch.no_grad():
        net.weight.fill_(1.0)
    target.follow(0.5)
    assert target.module.weight.item() == pytest.approx(2.0)
