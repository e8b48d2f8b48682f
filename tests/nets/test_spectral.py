import math

import pytest
import torch
from torch import nn

from rlrun.build import build_parts
from rlrun.nets.spectral import SpectralScale, spectral
from tests.recipes import changed, recipe, trained


def test_the_largest_singular_value_becomes_one():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 0.5]]))
    spectral(layer)
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1 / 6]])
    torch.testing.assert_close(layer.weight, expected, atol=1e-4, rtol=1e-4)


def test_convolutions_count_as_matrices_of_their_filters():
    torch.manual_seed(0)
    layer = spectral(nn.Conv2d(2, 4, 3))
    for _ in range(50):
        layer.weight  # noqa: B018 - each look with a gradient is a step
    largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
    assert float(largest) == pytest.approx(1.0, abs=1e-3)


def test_looking_without_a_gradient_changes_nothing():
    scale = SpectralScale(torch.randn(4, 3))
    before = scale.left.clone()
    with torch.no_grad():
        scale(torch.randn(4, 3))
    assert torch.equal(scale.left, before)
    scale(torch.randn(4, 3))
    assert not torch.equal(scale.left, before)


def test_the_gradient_is_that_of_the_quotient():
    torch.manual_seed(0)
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    scale = SpectralScale(weight.detach())
    with torch.no_grad():
        for _ in range(300):
            scale._iterate(weight)
    direction = torch.randn(3, 4, dtype=torch.float64)
    (scale(weight) * direction).sum().backward()

    def quotient(at):
        return float((at / torch.linalg.svdvals(at)[0] * direction).sum())

    step = 1e-6
    for row, column in ((0, 0), (2, 3), (1, 2)):
        shift = torch.zeros_like(weight)
        shift[row, column] = step
        slope = (quotient(weight.detach() + shift) - quotient(weight.detach() - shift)) / (2 * step)
        assert float(weight.grad[row, column]) == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize(("algo", "network"), [("ppo", "mlp"), ("sac", "mlp_relu")])
def test_it_trains(algo, network, tmp_path):
    env = "Pendulum-v1" if algo == "sac" else "CartPole-v1"
    words = ("preset=none", "device=cpu", "network.spectral_norm=true", "network.sizes=[8]")
    made = recipe(f"algo={algo}", f"env={env}", f"network={network}", *words)
    small = {"n_steps": 16, "batch_size": 16, "learning_starts": 16, "buffer_size": 256}
    made = changed(made, small, total_timesteps=256, final_eval_episodes=2)
    before = build_parts(made).algorithm.policy.state_dict()
    algorithm, rows = trained(tmp_path / "run", made)
    assert math.isfinite(rows[-1]["eval/mean_reward"])
    after = algorithm.policy.state_dict()
    learned = [key for key in before if key.endswith("weight.original")]
    assert learned
    assert all(not before[key].equal(after[key]) for key in learned)
