import math

import pytest
import torch

from rlrun.functional.noise import ornstein_uhlenbeck, perturbed, smoothed


def test_ornstein_uhlenbeck_by_hand():
    state, draw = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 1.0]])
    following = ornstein_uhlenbeck(state, draw, theta=0.5, sigma=2.0, step=0.25)
    # x - x / 2 / 4 + 2 * 1/2 * e
    assert following.tolist() == [[0.875 + 0.5, -1.75 + 1.0]]


@pytest.mark.parametrize("step", [1.0, 0.25])
def test_ornstein_uhlenbeck_has_the_moments_it_says(step):
    theta, sigma = 0.3, 0.2
    torch.manual_seed(0)
    state = torch.zeros(50_000, 2)
    for _ in range(100):
        before, state = (
            state,
            ornstein_uhlenbeck(state, torch.randn_like(state), theta, sigma, step),
        )
    keep = 1.0 - theta * step
    deviation = sigma * math.sqrt(step / (1.0 - keep * keep))
    error = deviation / math.sqrt(state.numel())
    assert state.mean().item() == pytest.approx(0.0, abs=5 * error)
    assert state.std().item() == pytest.approx(deviation, abs=5 * error)
    correlation = torch.corrcoef(torch.stack([before.flatten(), state.flatten()]))[0, 1].item()
    assert correlation == pytest.approx(keep, abs=0.01)


def test_noise_never_leaves_the_unit_box():
    action, noise = torch.tensor([0.9, -0.9, 0.25]), torch.tensor([0.7, -0.2, 0.5])
    assert perturbed(action, noise).tolist() == [1.0, -1.0, 0.75]
    assert action.tolist() == pytest.approx([0.9, -0.9, 0.25])


def test_smoothing_clips_the_noise_and_then_the_action():
    action = torch.tensor([[0.9, -0.75, 0.0]])
    noise = torch.tensor([[0.7, -0.125, -0.9]])
    assert smoothed(action, noise, 0.5).tolist() == [[1.0, -0.875, -0.5]]


@pytest.mark.parametrize("function", [perturbed, lambda a, b: ornstein_uhlenbeck(a, b, 1, 1, 1)])
def test_shapes_must_agree(function):
    with pytest.raises(ValueError, match="shape"):
        function(torch.zeros(4, 1), torch.zeros(4))
