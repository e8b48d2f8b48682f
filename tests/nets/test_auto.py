import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.nets.critics import ActionCritics
from rlrun.nets.images import Image, ImageConfig
from rlrun.nets.torso import Network, TorsoStack
from rlrun.nets.torsos.auto import Auto
from rlrun.nets.torsos.minatar_cnn import MinAtarCNN
from rlrun.nets.torsos.mlp import MLP, MLPStack
from rlrun.nets.torsos.nature_cnn import NatureCNN
from rlrun.types import EnvSpec
from tests.recipes import recipe

ARM = spaces.Box(-1.0, 1.0, (3,), np.float32)
EYE = spaces.Box(0, 255, (4, 5, 3), np.uint8)
BOTH = spaces.Dict({"a.arm": ARM, "b.eye": EYE, "c.side": spaces.Discrete(2)})


def config(**changes):
    made = recipe("algo=ppo", "network=auto").network.config
    sizes = dataclasses.replace(made.mlp, sizes=(8, 6))
    small = dataclasses.replace(made.minatar_cnn, channels=(2,), dense=7)
    return dataclasses.replace(made, mlp=sizes, minatar_cnn=small, joint=(9,), **changes)


@pytest.mark.parametrize(
    ("space", "kind"),
    [
        (ARM, MLP),
        (spaces.Discrete(4), MLP),
        (spaces.MultiBinary([3, 9, 9]), MLP),
        (spaces.Box(0, 1, (84, 84)), MLP),
        (spaces.Box(0, 1, (9, 2, 1)), MLP),
        (spaces.Box(0, 1, (9, 3, 1)), MinAtarCNN),
        (spaces.Box(0, 1, (10, 10, 4), np.bool_), MinAtarCNN),
        (spaces.Box(0, 1, (3, 90, 35)), MinAtarCNN),
        (spaces.Box(0, 1, (3, 90, 36)), NatureCNN),
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), NatureCNN),
        (spaces.Dict({"b": ARM, "a": spaces.Discrete(2)}), MLP),
    ],
)
def test_the_observation_decides(space, kind):
    torso = Auto(config(), space)
    (chosen,) = torso.torsos
    assert type(chosen) is kind
    assert torso.joint is None
    assert torso.features == chosen.features == {MLP: 6, MinAtarCNN: 7, NatureCNN: 512}[kind]


def test_the_layout_decides_too():
    space = spaces.Box(0, 1, (2, 9, 9))
    assert type(Auto(config(), space).torsos[0]) is MinAtarCNN
    assert type(Auto(config(layout="channels_last"), space).torsos[0]) is MLP
    (chosen,) = Auto(config(layout="channels_first"), spaces.Box(0, 1, (9, 8, 7))).torsos
    assert chosen.images[""] == Image(9, 8, 7, channels_first=True)


def test_each_choice_has_its_own_options():
    made = config()
    torso = Auto(made, EYE)
    plain = MinAtarCNN(ImageConfig(**vars(made.minatar_cnn), layout="auto", shared=False), EYE)
    plain.load_state_dict(torso.torsos[0].state_dict())
    obs = torch.randint(256, (2, 3, 4, 5, 3), dtype=torch.uint8)
    assert torch.equal(torso(obs), plain(obs))


def both(*leading):
    eye = torch.randint(256, (*leading, 4, 5, 3), dtype=torch.uint8)
    return {"a.arm": torch.rand(*leading, 3), "b.eye": eye, "c.side": torch.ones(leading).long()}


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_a_dict_with_an_image_has_a_torso_for_each_key_and_joins_them(leading):
    torso, obs = Auto(config(), BOTH), both(*leading)
    arm, eye, side = torso.torsos
    assert [type(each) for each in torso.torsos] == [MLP, MinAtarCNN, MLP]
    features = torch.cat([arm(obs["a.arm"]), eye(obs["b.eye"]), side(obs["c.side"])], -1)
    assert features.shape == (*leading, 6 + 7 + 6)
    linear = torso.joint.linears[0]
    torch.testing.assert_close(torso(obs), torch.tanh(linear(features)))
    assert torso.features == 9


def test_without_joint_layers_the_features_stand_side_by_side():
    torso, obs = Auto(dataclasses.replace(config(), joint=()), BOTH), both(2)
    parts = [each(obs[key]) for each, key in zip(torso.torsos, BOTH, strict=True)]
    assert torso.features == 19
    assert torch.equal(torso(obs), torch.cat(parts, -1))


def test_one_image_in_a_dict_needs_no_joint_layers():
    torso = Auto(config(), spaces.Dict({"eye": EYE}))
    assert torso.joint is None
    assert torso({"eye": both(2)["b.eye"]}).shape == (2, 7)


def test_the_gradient_reaches_every_parameter():
    torso = Auto(config(), BOTH)
    (torso(both(8)) * torch.randn(9)).sum().backward()
    for name, parameter in torso.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_vectors_are_as_fast_as_by_mlp_itself():
    network = Network(Auto, config())
    assert isinstance(network.stack(ARM, 2), MLPStack)
    assert isinstance(network.stack(spaces.Dict({"arm": ARM}), 2), MLPStack)
    for space in (EYE, BOTH):
        assert type(network.stack(space, 2)) is TorsoStack
        assert len(network.stack(space, 2).torsos) == 2


def test_critics_value_an_action_by_the_state():
    critics = ActionCritics(EnvSpec("hand", 4, BOTH, ARM), Network(Auto, config()), 2)
    obs, actions = both(2), torch.tensor([[1.0] * 3, [-1.0] * 3])
    q = torch.stack([critics(obs, action.expand(2, 3)) for action in actions])
    worth = q[0] - q[1]
    assert (worth[:, 0] - worth[:, 1]).abs().min() > 1e-4
