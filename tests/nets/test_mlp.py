import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from rlrun.config import ConfigError
from rlrun.nets.torso import Encoder, Network, encode, orthogonal
from rlrun.nets.torsos.mlp import MLP

BOX = spaces.Box(-1, 1, (3,), np.float32)


def config(**changes):
    values = {"sizes": (8, 5), "activation": "tanh", "layer_norm": False, "init": "orthogonal"}
    return MLP.Config(**{**values, "shared": False, **changes})


@pytest.mark.parametrize("leading", [(), (4,), (2, 4)])
def test_features_for_any_leading_shape(leading):
    torso = MLP(config(), BOX)
    assert torso.features == 5
    obs = torch.randn(*leading, 3)
    assert torso(obs).shape == (*leading, 5)
    expected = torch.tanh(torso.layers[2](torch.tanh(torso.layers[0](obs))))
    assert torch.equal(torso(obs), expected)


def test_without_layers_the_features_are_the_observation():
    torso = MLP(config(sizes=()), BOX)
    obs = torch.randn(4, 3)
    assert torso.features == 3
    assert torch.equal(torso(obs), obs)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tanh", nn.Tanh), ("relu", nn.ReLU), ("elu", nn.ELU), ("gelu", nn.GELU), ("silu", nn.SiLU)],
)
def test_activation_follows_every_layer(name, kind):
    layers = MLP(config(activation=name), BOX).layers
    assert [type(layer) for layer in layers] == [nn.Linear, kind, nn.Linear, kind]


def test_layer_norm_stands_before_the_activation():
    layers = MLP(config(layer_norm=True), BOX).layers
    assert [type(layer) for layer in layers][:3] == [nn.Linear, nn.LayerNorm, nn.Tanh]


def test_orthogonal_weights_have_gain_sqrt_two_and_no_bias():
    first = MLP(config(), BOX).layers[0]
    torch.testing.assert_close(first.weight.T @ first.weight, 2 * torch.eye(3))
    assert first.bias.abs().max() == 0
    uniform = MLP(config(init="uniform"), BOX).layers[0]
    assert uniform.bias.abs().max() > 0
    assert uniform.weight.abs().max() <= 3**-0.5


def test_orthogonal_returns_the_layer_it_was_given():
    layer = nn.Linear(4, 2)
    assert orthogonal(layer, 0.5) is layer
    torch.testing.assert_close(layer.weight @ layer.weight.T, 0.25 * torch.eye(2))


def test_a_network_builds_fresh_torsos():
    network = Network(MLP, config(shared=True))
    first, second = network.build(BOX), network.build(BOX)
    assert network.shared
    assert not torch.equal(first.layers[0].weight, second.layers[0].weight)


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


@pytest.mark.parametrize("leading", [(), (4,), (2, 4)])
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
