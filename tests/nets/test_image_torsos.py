import dataclasses
import re

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.config import ConfigError
from rlrun.nets.actor_critic import ActorCritic, PolicyConfig
from rlrun.nets.critics import ActionCritics
from rlrun.nets.images import image_of, pixels
from rlrun.nets.q_network import QNetwork
from rlrun.nets.torso import Network
from rlrun.nets.torsos.impala_cnn import ImpalaCNN, Residual
from rlrun.nets.torsos.minatar_cnn import MinAtarCNN
from rlrun.nets.torsos.nature_cnn import NatureCNN
from rlrun.types import EnvSpec
from tests.nets.test_q_network import exploration, head

NETWORKS = pytest.mark.parametrize("kind", [NatureCNN, MinAtarCNN, ImpalaCNN])
NORMS = pytest.mark.parametrize("layer_norm", [False, True])
SHOWN = spaces.Box(0, 255, (2, 36, 37), np.uint8)
ARM = spaces.Box(-1.0, 1.0, (3,), np.float32)
BOTH = spaces.Dict({"a.arm": ARM, "b.eye": SHOWN, "c.eye": spaces.Box(0, 1, (40, 36, 3))})
CHANNELS = {NatureCNN: (3, 4, 5), MinAtarCNN: (3,), ImpalaCNN: (3, 4)}
PAPER = {NatureCNN: ((32, 64, 64), 512), MinAtarCNN: ((16,), 128), ImpalaCNN: ((16, 32, 32), 256)}


def config(kind, **changes):
    values = {"channels": CHANNELS[kind], "dense": 6, "activation": "relu", "layer_norm": False}
    values |= {"init": "orthogonal", "layout": "auto", "shared": False, "spectral_norm": False}
    if kind is ImpalaCNN:
        values["blocks"] = 2
    return kind.Config(**{**values, **changes})


def build(kind, space=SHOWN, **changes):
    return kind(config(kind, **changes), space)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def sample(space, *leading):
    if isinstance(space, spaces.Dict):
        return {key: sample(part, *leading) for key, part in space.spaces.items()}
    if space.dtype == np.uint8:
        return torch.randint(256, (*leading, *space.shape), dtype=torch.uint8)
    return torch.rand(*leading, *space.shape)


@pytest.mark.parametrize(
    ("kind", "shape", "plain", "norms"),
    [
        # 84 -> 20 -> 9 -> 7; 32(4*64+1) + 64(32*16+1) + 64(64*9+1) + 512(64*49+1)
        (NatureCNN, (4, 84, 84), 8224 + 32832 + 36928 + 1606144, 2 * (32 + 64 + 64 + 512)),
        # 10 -> 8; 16(4*9+1) + 128(16*64+1)
        (MinAtarCNN, (10, 10, 4), 592 + 131200, 2 * (16 + 128)),
        # 84 -> 42 -> 21 -> 11; 16(4*9+1) + 4*16(16*9+1) + 32(16*9+1) + 4*32(32*9+1) + 5*32(32*9+1)
        # + 256(32*121+1); five convolutions for each halving
        (
            *(ImpalaCNN, (4, 84, 84)),
            *(592 + 9280 + 4640 + 36992 + 46240 + 991488, 2 * (5 * (16 + 32 + 32) + 256)),
        ),
    ],
)
def test_the_papers_networks_have_so_many_parameters(kind, shape, plain, norms):
    channels, dense = PAPER[kind]
    space = spaces.Box(0, 255, shape, np.uint8)
    torso = build(kind, space, channels=channels, dense=dense, init="uniform")
    assert count(torso) == plain
    assert torso.features == dense
    normed = build(kind, space, channels=channels, dense=dense, init="uniform", layer_norm=True)
    assert count(normed) == plain + norms


def parameters(torso):
    """Yield weight and bias of each layer in turn."""
    found = list(torso.parameters())
    return zip(found[::2], found[1::2], strict=True)


def test_nature_is_three_strided_convolutions_and_a_dense_layer():
    torso, obs = build(NatureCNN, init="uniform", activation="elu"), sample(SHOWN, 2)
    *convolutions, dense = parameters(torso)
    features = obs / 255
    for (weight, bias), kernel, stride in zip(convolutions, (8, 4, 3), (4, 2, 1), strict=True):
        assert weight.shape[2:] == (kernel, kernel)
        features = F.elu(F.conv2d(features, weight, bias, stride=stride))
    torch.testing.assert_close(torso(obs), F.elu(F.linear(features.flatten(1), *dense)))


def test_minatar_by_hand():
    torso = build(MinAtarCNN, spaces.Box(0, 255, (3, 3, 1), np.uint8), channels=(2,), dense=2)
    (weight, _), (mix, shift) = parameters(torso)
    with torch.no_grad():
        weight[0], weight[1] = 1.0, -1.0
        mix.copy_(torch.tensor([[1.0, 9.0], [-1.0, 9.0]]))
        shift.copy_(torch.tensor([0.5, 0.5]))
    # nine pixels of 0.2 are 1.8 and -1.8, activated 1.8 and 0
    obs = torch.full((1, 3, 3, 1), 51, dtype=torch.uint8)
    torch.testing.assert_close(torso(obs), torch.tensor([[2.3, 0.0]]))


def test_impala_halves_and_adds():
    torso, obs = build(ImpalaCNN, init="uniform", blocks=1), sample(SHOWN, 2)
    *layers, dense = parameters(torso)
    features, layers = obs / 255, iter(layers)
    for _ in range(2):
        features = F.conv2d(features, *next(layers), padding=1)
        features = F.max_pool2d(features, 3, stride=2, padding=1)
        inner = F.conv2d(features.relu(), *next(layers), padding=1)
        features = features + F.conv2d(inner.relu(), *next(layers), padding=1)
    assert features.shape == (2, 4, 9, 10)
    expected = F.linear(features.relu().flatten(1), *dense).relu()
    torch.testing.assert_close(torso(obs), expected)


def test_a_residual_block_that_finds_nothing_changes_nothing():
    block, features = Residual(config(ImpalaCNN), 3), torch.randn(2, 3, 4, 5)
    nn.init.zeros_(block.second.weight)
    assert torch.equal(block(features), features)


def first_normed(torso):
    """Return the first convolution and what normalises its output."""
    pairs = (tuple(each) for each in torso.modules() if isinstance(each, nn.Sequential))
    return next(pair for pair in pairs if isinstance(pair[-1], nn.GroupNorm))


@NETWORKS
def test_a_whole_image_is_normalised_at_once(kind):
    torso = build(kind, layer_norm=True, spectral_norm=False, init="uniform", activation="tanh")
    layer, norm = first_normed(torso)
    raw = layer(sample(SHOWN, 2) / 255)
    moments = {"dim": (1, 2, 3), "keepdim": True}
    expected = (raw - raw.mean(**moments)) / (raw.var(correction=0, **moments) + 1e-5).sqrt()
    torch.testing.assert_close(norm(raw), expected)
    obs = sample(SHOWN, 2)
    spread = torso(obs).atanh()  # the dense layer is normalised before its activation
    torch.testing.assert_close(spread.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(spread.var(1, correction=0), torch.ones(2), atol=1e-2, rtol=0)


@NETWORKS
def test_orthogonal_weights_have_gain_sqrt_two_and_no_bias(kind):
    for weight, bias in parameters(build(kind)):
        rows = weight.flatten(1)
        small = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        torch.testing.assert_close(small, 2 * torch.eye(len(small)), atol=1e-5, rtol=0)
        assert bias.abs().max() == 0
    assert all(bias.abs().max() > 0 for _, bias in parameters(build(kind, init="uniform")))


@NETWORKS
@NORMS
def test_channels_last_is_channels_first_turned_round(kind, layer_norm):
    first = build(kind, spaces.Box(0, 1, (2, 36, 37)), layer_norm=layer_norm)
    last = build(kind, spaces.Box(0, 1, (36, 37, 2)), layer_norm=layer_norm)
    last.load_state_dict(first.state_dict())
    obs = torch.rand(3, 2, 36, 37)
    torch.testing.assert_close(last(obs.movedim(1, -1)), first(obs))


@NETWORKS
@pytest.mark.parametrize("space", [SHOWN, BOTH])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_features_for_any_leading_shape(kind, space, leading):
    torso, rows = build(kind, space, init="uniform"), torch.Size(leading).numel()
    obs = sample(space, *leading)
    found = torso(obs)
    assert found.shape == (*leading, 6)
    flat = (
        {k: v.reshape(rows, *space[k].shape) for k, v in obs.items()}
        if space == BOTH
        else (obs.reshape(rows, *space.shape))
    )
    torch.testing.assert_close(torso(flat).view(*leading, 6), found)


@NETWORKS
def test_what_is_no_image_joins_before_the_dense_layer(kind):
    torso, obs = build(kind, BOTH, init="uniform"), sample(BOTH, 2)
    assert len(torso.trunks) == 2
    weight, bias = torso.dense.weight, torso.dense.bias
    eyes = (obs["b.eye"] / 255, obs["c.eye"].movedim(-1, 1))
    flat = [trunk(eye).flatten(1) for trunk, eye in zip(torso.trunks, eyes, strict=True)]
    expected = F.linear(torch.cat([*flat, obs["a.arm"]], 1), weight, bias).relu()
    torch.testing.assert_close(torso(obs), expected)


@NETWORKS
@NORMS
@pytest.mark.parametrize("space", [SHOWN, BOTH])
def test_the_gradient_reaches_every_parameter(kind, layer_norm, space):
    torso = build(kind, space, layer_norm=layer_norm, init="uniform", activation="elu")
    (torso(sample(space, 3)) * torch.randn(6)).sum().backward()
    for name, parameter in torso.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@NETWORKS
def test_without_an_image_it_is_refused(kind):
    for space in (ARM, spaces.Discrete(3), spaces.Dict({"arm": ARM}), spaces.Box(0, 1, (40, 40))):
        refusal = rf"{kind.name} serves images.*use network=mlp"
        with pytest.raises(ConfigError, match=refusal) as said:
            build(kind, space)
        assert ("frame_stack" in str(said.value)) is (space.shape == (40, 40))


def test_a_small_image_is_refused_with_what_serves_it():
    text = (
        "network: nature_cnn needs images of at least 36 x 36 pixels, and the one is read as "
        "35 x 90 pixels with 3 channels; use network=minatar_cnn (from 3 x 3) or "
        "network=impala_cnn (any size), or network.layout if the channels are on another axis"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        build(NatureCNN, spaces.Box(0, 255, (35, 90, 3), np.uint8))
    with pytest.raises(ConfigError, match="at least 3 x 3 pixels, and the one in 'eye' is read as"):
        build(MinAtarCNN, spaces.Dict({"arm": ARM, "eye": spaces.Box(0, 1, (2, 9, 1))}))


def test_the_smallest_images_are_served():
    assert build(NatureCNN, spaces.Box(0, 1, (1, 36, 36))).dense.in_features == 5
    assert build(MinAtarCNN, spaces.Box(0, 1, (3, 3, 1))).dense.in_features == 3
    assert build(ImpalaCNN, spaces.Box(0, 1, (1, 1, 1))).dense.in_features == 4


def test_convolutions_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"network\.channels: nature_cnn has 3 convolutions"):
        build(NatureCNN, channels=(32, 64))
    small = spaces.Box(0, 1, (6, 5, 1))
    assert build(MinAtarCNN, small, channels=(2, 3)).dense.in_features == 6
    with pytest.raises(ConfigError, match=r"network\.channels: 3 convolutions.*name 2 or fewer"):
        build(MinAtarCNN, small, channels=(2, 3, 4))


@NETWORKS
@pytest.mark.parametrize("shared", [False, True])
def test_policy_and_value_stand_on_it(kind, shared):
    spec = EnvSpec("hand", 4, SHOWN, spaces.Discrete(3))
    options = {"normalize_observation": False, "normalize_reward": False, "log_std_init": 0.0}
    policy = PolicyConfig(**options, action_distribution="gaussian", sde_sample_freq=4)
    bundle = ActorCritic(policy, spec, Network(kind, config(kind, shared=shared)), gamma=0.5)
    assert count(bundle.torsos) == count(build(kind)) * (1 if shared else 2)
    obs = sample(SHOWN, 2, 3)
    distribution, value = bundle(obs)
    assert value.shape == (2, 3)
    torch.testing.assert_close(bundle.value(obs), value)
    action = bundle.act(obs[0], (), True).action
    assert action.shape == (3,)
    again = bundle.distribution(obs[0]).log_prob(action)
    torch.testing.assert_close(distribution.log_prob(action.expand(2, 3))[0], again)


@NETWORKS
def test_action_values_stand_on_it(kind):
    spec = EnvSpec("hand", 4, SHOWN, spaces.Discrete(3))
    q = QNetwork(exploration(), spec, Network(kind, config(kind)), head(dueling=True))
    assert q(sample(SHOWN, 5)).shape == (5, 3)


@NETWORKS
@pytest.mark.parametrize("space", [SHOWN, BOTH])
def test_critics_value_an_action_by_the_state(kind, space):
    spec, options = EnvSpec("hand", 4, space, ARM), config(kind, init="uniform", activation="elu")
    critics = ActionCritics(spec, Network(kind, dataclasses.replace(options, dense=64)), 2)
    obs, actions = sample(space, 2), torch.tensor([[1.0] * 3, [-1.0] * 3])
    q = torch.stack([critics(obs, action.expand(2, 3)) for action in actions])
    assert q.shape == (2, 2, 2)
    torch.testing.assert_close(critics.first(obs, actions[:1].expand(2, 3)), q[0, 0])
    worth = q[0] - q[1]
    assert (worth[:, 0] - worth[:, 1]).abs().min() > 1e-5


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_channels_lie_side_by_side_in_memory_on_a_processor(layout):
    obs = torch.randint(0, 255, (2, 3, 5, 6, 4), dtype=torch.uint8)
    image = image_of(spaces.Box(0, 255, (5, 6, 4), np.uint8), layout)
    found = pixels(obs, image)
    rows = obs.flatten(0, 1) if layout == "channels_first" else obs.flatten(0, 1).movedim(-1, 1)
    torch.testing.assert_close(found, rows / 255.0)
    assert found.is_contiguous(memory_format=torch.channels_last)
