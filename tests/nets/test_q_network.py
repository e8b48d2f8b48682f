import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.functional.schedules import Schedule
from rlrun.nets.q_heads import NoisyLinear, QHead
from rlrun.nets.q_network import QHeadConfig, QNetwork, ValueExplorationConfig
from rlrun.types import EnvSpec
from tests.nets.networks import mlp

SPEC = EnvSpec("hand", 4, spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.Discrete(3))
NETWORK = mlp(8, init="uniform")


def exploration(kind: str = "epsilon_greedy", first: float = 0.5) -> ValueExplorationConfig:
    return ValueExplorationConfig(
        exploration=kind,
        exploration_fraction=0.5,
        exploration_initial_eps=first,
        exploration_final_eps=0.1,
        temperature=Schedule.constant(2.0),
    )


def head(**changes) -> QHeadConfig:
    options = {"dueling": False, "noisy": False, "distributional": "none", "n_atoms": 3}
    return QHeadConfig(**{**options, "v_min": -1.0, "v_max": 1.0, **changes})


def test_dueling_by_hand():
    layer = QHead(1, 2, 0, dueling=True, noisy=False)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[10.0], [1.0], [5.0]]))
        layer.linear.bias.zero_()
    # value 10, advantages 1 and 5 less their mean 3
    assert layer(torch.ones(1, 1), False).tolist() == [[8.0, 12.0]]
    assert layer(torch.ones(4, 1), False).shape == (4, 2)
    assert QHead(1, 2, 5, dueling=True, noisy=True)(torch.ones(4, 1), True).shape == (4, 2, 5)


def test_noise_has_the_size_it_is_meant_to_have():
    torch.manual_seed(0)
    layer = NoisyLinear(4, 2)
    features = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    quiet = layer(features, noisy=False)
    assert torch.equal(quiet, layer(features, noisy=False))
    with torch.no_grad():
        drawn = torch.cat([layer(features, noisy=True) - quiet for _ in range(20_000)])
    # f(x) = sign(x) sqrt|x| has the second moment E|x| = sqrt(2 / pi)
    moment, sigma = math.sqrt(2 / math.pi), 0.5 / 2.0
    wanted = sigma**2 * (moment * features.square().sum() * moment + moment)
    assert drawn.mean(0).abs().max() < 0.03
    torch.testing.assert_close(drawn.var(0), wanted.expand(2), rtol=0.06, atol=0)
    grads = torch.autograd.grad(layer(features, True).sum(), list(layer.parameters()))
    assert all(grad.abs().sum() > 0 for grad in grads)


def test_what_is_learned_becomes_action_values():
    found = torch.tensor([[[0.0, 0.0, 0.0], [-40.0, 0.0, 0.0], [0.0, 0.0, 40.0]]])
    atoms = QNetwork(exploration(), SPEC, NETWORK, head(distributional="c51"))
    assert atoms.mean(found)[0].tolist() == pytest.approx([0.0, 0.5, 1.0])
    quantiles = QNetwork(exploration(), SPEC, NETWORK, head(distributional="qr"))
    assert quantiles.mean(found)[0].tolist() == pytest.approx([0.0, -40 / 3, 40 / 3])
    plain = QNetwork(exploration(), SPEC, NETWORK)
    assert plain.mean(found) is found
    for network in (atoms, quantiles, plain):
        obs = torch.randn(5, 2)
        q = network.mean(network(obs))
        assert q.shape == (5, 3)
        assert torch.equal(network.value(obs), q.amax(1))
        assert torch.equal(network.act(obs, (), explore=False).action, q.argmax(1))


@pytest.mark.parametrize(
    ("kind", "warming", "lowest", "highest"),
    [
        ("epsilon_greedy", False, 0.63, 0.70),  # 1/2 + 1/2 of a third
        ("epsilon_greedy", True, 0.30, 0.37),
        ("boltzmann", False, 0.55, 0.60),  # e^(1/2 ln 8) / (e^(1/2 ln 8) + 2) = 0.586
    ],
)
def test_exploring(kind, warming, lowest, highest):
    torch.manual_seed(0)
    network = QNetwork(exploration(kind), SPEC, NETWORK)
    network.warming = warming
    with torch.no_grad():
        network.head.linear.weight.zero_()
        network.head.linear.bias.copy_(torch.tensor([0.0, math.log(8.0), 0.0]))
        action = network.act(torch.zeros(10_000, 2), (), explore=True).action
        assert network.act(torch.zeros(3, 2), (), explore=False).action.tolist() == [1, 1, 1]
    assert lowest < (action == 1).float().mean() < highest


def test_the_rate_travels_with_the_weights():
    saved, loaded = (QNetwork(exploration(first=f), SPEC, NETWORK) for f in (0.5, 0.9))
    assert [saved.schedule(p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.5, 0.3, 0.1, 0.1])
    saved.rate, saved.warming = 0.25, True
    loaded.load_state_dict(saved.state_dict())
    assert (loaded.rate, loaded.warming) == (0.25, True)
