import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.nets.critics import ActionCritics, ChoiceCritics
from rlrun.nets.torso import Network
from rlrun.types import EnvSpec, map_obs
from tests.nets.networks import mlp

BOX = spaces.Box(-np.inf, np.inf, (3,), np.float32)
DICT = spaces.Dict({"action": BOX, "bits": spaces.MultiBinary(2)})
ACTION = spaces.Box(-2.0, 2.0, (2,))


def network(*sizes: int) -> Network:
    return mlp(*sizes, activation="relu", init="uniform")


def drawn(space, rows: int):
    if isinstance(space, spaces.Dict):
        return {"action": torch.randn(rows, 3), "bits": torch.randint(2, (rows, 2))}
    return torch.randn(rows, 3)


@pytest.mark.parametrize("space", [BOX, DICT])
def test_critics_are_evaluated_together_and_are_their_own(space):
    spec = EnvSpec("hand", 1, space, ACTION)
    critics = ActionCritics(spec, network(8, 8), 2)
    obs, action = drawn(space, 5), torch.rand(5, 2)
    q = critics(obs, action)
    assert q.shape == (2, 5)
    torch.testing.assert_close(critics.first(obs, action), q[0])
    (gradient,) = torch.autograd.grad(q[0].sum(), critics.head.weight)
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0
    assert not torch.allclose(q[0], q[1])


@pytest.mark.parametrize("space", [BOX, DICT])
def test_critics_see_every_part_of_observation_and_action(space):
    critics = ActionCritics(EnvSpec("hand", 1, space, ACTION), network(8), 2)
    obs, action = drawn(space, 1), torch.rand(1, 2)
    floats = map_obs(lambda leaf: leaf.float().requires_grad_(), obs)
    action.requires_grad_()
    parts = [action, *(floats.values() if isinstance(floats, dict) else [floats])]
    for gradient in torch.autograd.grad(critics(floats, action).sum(), parts):
        assert bool((gradient != 0).all())


def test_linear_critics_by_hand():
    spec = EnvSpec("hand", 1, spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,)))
    critics = ActionCritics(spec, network(), 2)
    with torch.no_grad():  # the action comes first, as names are sorted
        critics.head.weight.copy_(torch.tensor([[[2.0], [3.0]], [[-1.0], [0.0]]]))
        critics.head.bias.copy_(torch.tensor([[[0.5]], [[0.0]]]))
    q = critics(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [-0.5]]))
    assert q.tolist() == [[4.5, 5.5], [-0.5, 0.5]]


def test_choices_pick_the_value_of_what_was_taken():
    critics = ChoiceCritics(EnvSpec("hand", 1, BOX, spaces.Discrete(3)), network(8), 2)
    obs, action = torch.randn(4, 3), torch.tensor([2, 0, 1, 1])
    every = critics.every(obs)
    assert every.shape == (2, 4, 3)
    torch.testing.assert_close(critics(obs, action), every[:, range(4), action])
