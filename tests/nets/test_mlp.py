import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from rlrun.config import ConfigError
from rlrun.nets.layers import orthogonal
from rlrun.nets.learner import flatten
from rlrun.nets.torso import Encoder, TorsoStack, encode
from rlrun.nets.torsos.mlp import MLP, MLPStack
from tests.nets.networks import mlp

BOX = spaces.Box(-1, 1, (3,), np.float32)


def config(*sizes: int, **changes):
    return mlp(*sizes, **changes).config


LEADING = pytest.mark.parametrize("leading", [(), (4,), (2, 4)])


@LEADING
def test_features_for_any_leading_shape(leading):
    torso = MLP(config(8, 5), BOX)
    assert torso.features == 5
    obs = torch.randn(*leading, 3)
    assert torso(obs).shape == (*leading, 5)
    expected = torch.tanh(torso.linears[1](torch.tanh(torso.linears[0](obs))))
    assert torch.equal(torso(obs), expected)


def test_without_layers_the_features_are_the_observation():
    torso = MLP(config(), BOX)
    obs = torch.randn(4, 3)
    assert torso.features == 3
    assert torch.equal(torso(obs), obs)


@pytest.mark.parametrize("name", ["tanh", "relu", "elu", "gelu", "silu"])
def test_activation_follows_every_layer(name):
    torso, obs = MLP(config(8, 5, activation=name), BOX), torch.randn(4, 3)
    function = torch.tanh if name == "tanh" else getattr(functional, name)
    expected = function(torso.linears[1](function(torso.linears[0](obs))))
    assert torch.equal(torso(obs), expected)


def test_layer_norm_stands_before_the_activation():
    torso, obs = MLP(config(5, layer_norm=True), BOX), torch.randn(4, 3)
    raw = torso.linears[0](obs)
    spread = raw.var(-1, correction=0, keepdim=True)
    expected = torch.tanh((raw - raw.mean(-1, keepdim=True)) / (spread + 1e-5).sqrt())
    torch.testing.assert_close(torso(obs), expected)


def test_orthogonal_weights_have_gain_sqrt_two_and_no_bias():
    first = MLP(config(8, 5), BOX).linears[0]
    torch.testing.assert_close(first.weight.T @ first.weight, 2 * torch.eye(3))
    assert first.bias.abs().max() == 0
    uniform = MLP(config(8, 5, init="uniform"), BOX).linears[0]
    assert uniform.bias.abs().max() > 0
    assert uniform.weight.abs().max() <= 3**-0.5


def test_a_network_builds_fresh_torsos():
    network = mlp(8, 5, shared=True)
    first, second = network.build(BOX), network.build(BOX)
    assert network.shared
    assert not torch.equal(first.linears[0].weight, second.linears[0].weight)
    stacked = network.stack(BOX, 2)(torch.randn(4, 3))
    assert not torch.equal(stacked[0], stacked[1])


def stacks(*sizes: int, **changes):
    """Return the same three torsos stacked as one batched product, and one after the other."""
    torsos = [MLP(config(*sizes, init="uniform", **changes), BOX) for _ in range(3)]
    with torch.no_grad():
        for torso in torsos:
            for bias in (linear.bias for linear in torso.linears):
                bias.normal_()
    return MLPStack(torsos), TorsoStack(torsos)


@LEADING
@pytest.mark.parametrize(
    ("sizes", "changes"), [((8, 5), {}), ((8, 5), {"layer_norm": True}), ((), {}), ((6,), {})]
)
def test_a_stack_is_its_torsos_side_by_side(sizes, changes, leading):
    batched, plain = stacks(*sizes, **changes)
    obs = torch.randn(*leading, 3)
    expected = plain(obs)
    assert expected.shape == (3, *leading, plain.features)
    assert batched.features == plain.features
    torch.testing.assert_close(batched(obs), expected)
    for k in range(3):
        assert torch.equal(plain.only(k, obs), expected[k])
        torch.testing.assert_close(batched.only(k, obs), expected[k])
        with torch.no_grad():
            torch.testing.assert_close(batched.only(k, obs), expected[k])


@pytest.mark.parametrize("changes", [{}, {"layer_norm": True}])
def test_a_stack_learns_as_its_torsos_do(changes):
    batched, plain = stacks(8, 5, **changes)
    obs = torch.randn(4, 3)
    for stack in (batched, plain):
        stack(obs)[0].square().sum().backward()
    weights = batched.weights[0].grad
    torch.testing.assert_close(weights[0], plain.torsos[0].linears[0].weight.grad.T)
    assert weights[1:].abs().max() == 0
    alone = stacks(8, 5, **changes)[0]
    alone.load_state_dict(batched.state_dict())
    alone.only(0, obs).square().sum().backward()
    torch.testing.assert_close(alone.weights[0].grad, weights)


@torch.no_grad()
def test_acting_sees_new_weights_at_once():
    batched, _ = stacks(8, 5)
    obs = torch.randn(4, 3)
    before = batched.only(1, obs)
    batched.weights[1].mul_(2.0)
    torch.testing.assert_close(batched.only(1, obs), batched(obs)[1])
    assert not torch.allclose(batched.only(1, obs), before)
    flatten(list(batched.parameters()))  # the weights move to other memory
    batched.weights[0].mul_(2.0)
    torch.testing.assert_close(batched.only(1, obs), batched(obs)[1])
    other, _ = stacks(8, 5)
    batched.load_state_dict(other.state_dict())
    torch.testing.assert_close(batched.only(1, obs), other(obs)[1])
    torch.testing.assert_close(copy.deepcopy(batched).only(2, obs), other(obs)[2])


def test_orthogonal_returns_the_layer_it_was_given():
    layer = nn.Linear(4, 2)
    assert orthogonal(layer, 0.5) is layer
    torch.testing.assert_close(layer.weight @ layer.weight.T, 0.25 * torch.eye(2))


ENCODED = [
    (BOX, [0.5, -1.0, 0.25], [0.5, -1.0, 0.25]),
    (spaces.Box(-1, 1, (2, 2), np.float32), [[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0, 3.0, 4.0]),
    (spaces.Box(-1, 1, (), np.float32), 0.5, [0.5]),
    (spaces.Box(0, 10, (2,), np.int64), [3, 4], [3.0, 4.0]),
    (spaces.Discrete(4), 2, [0.0, 0.0, 1.0, 0.0]),
    (spaces.MultiDiscrete([2, 3]), [1, 2], [0.0, 1.0, 0.0, 0.0, 1.0]),
    (spaces.MultiBinary(3), [1, 0, 1], [1.0, 0.0, 1.0]),
    (spaces.MultiBinary([2, 2]), [[1, 0], [0, 1]], [1.0, 0.0, 0.0, 1.0]),
]


@LEADING
@pytest.mark.parametrize(("space", "value", "vector"), ENCODED)
def test_every_space_is_encoded_by_hand(space, value, vector, leading):
    obs = torch.tensor(value)
    encoder = Encoder(space)
    result = encoder(obs.broadcast_to(leading + obs.shape))
    assert encoder.size == len(vector)
    assert result.dtype == torch.float32
    assert torch.equal(result, torch.tensor(vector).expand(*leading, len(vector)))


def test_images_are_scaled_to_one():
    space = spaces.Box(0, 255, (2, 2), np.uint8)
    obs = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    torch.testing.assert_close(encode(space, obs), torch.tensor([[0.0, 1.0, 0.2, 0.4]]))


def test_a_dict_is_put_together_in_the_order_of_its_names():
    space = spaces.Dict({"b": spaces.Discrete(2), "a": BOX})
    encoder = Encoder(space)
    obs = {"b": torch.tensor([1]), "a": torch.tensor([[0.1, 0.2, 0.3]])}
    assert encoder.size == 5
    torch.testing.assert_close(encoder(obs), torch.tensor([[0.1, 0.2, 0.3, 0.0, 1.0]]))


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Sequence(BOX), spaces.Graph(BOX, None)])
def test_other_spaces_are_refused_by_name(space):
    with pytest.raises(ConfigError, match=f"observation space {type(space).__name__} is not"):
        Encoder(space)
