import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.checkpoint import join_state, split_state
from rlrun.config import ConfigError
from rlrun.nets.normalizer import ObsNormalizer, RewardScaler, RunningMoments

BOX = spaces.Box(-np.inf, np.inf, (3,), np.float32)


def rows(seed: int, *sizes: int) -> list[torch.Tensor]:
    """Fragments `[T, N, 3]` of different lengths, far from zero and of unlike scales."""
    generator = torch.Generator().manual_seed(seed)
    scale, offset = torch.tensor([1.0, 1e-3, 50.0]), torch.tensor([1e4, 0.0, -3.0])
    return [torch.randn(size, 2, 3, generator=generator) * scale + offset for size in sizes]


def test_moments_are_those_of_all_rows_seen():
    moments = RunningMoments((3,))
    fragments = rows(0, 1, 40, 7)
    for fragment in fragments:
        moments.absorb(fragment.flatten(0, 1))
    every = torch.cat(fragments).flatten(0, 1).double().numpy()
    assert moments.count.item() == 96
    np.testing.assert_allclose(moments.mean.numpy(), every.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance.numpy(), every.var(0), rtol=1e-9)


def test_observations_get_mean_zero_and_variance_one():
    normalizer = ObsNormalizer(BOX)
    fragments = rows(0, 30, 20)
    for fragment in fragments:
        normalizer.absorb(fragment)
    every = torch.cat(fragments)
    flat = every.flatten(0, 1).double().numpy()
    expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-8)
    result = normalizer(every)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.flatten(0, 1).numpy(), expected, rtol=2e-3, atol=2e-3)


def test_before_the_first_rows_it_is_the_identity_and_looking_changes_nothing():
    normalizer = ObsNormalizer(BOX)
    obs = torch.tensor([[1.0, -2.0, 9.0]])
    assert torch.equal(normalizer(obs), obs)
    normalizer.absorb(rows(0, 20)[0])
    first = normalizer(obs)
    assert torch.equal(normalizer(obs), first)
    assert not torch.equal(first, obs)


def test_far_observations_are_clipped():
    normalizer = ObsNormalizer(BOX, clip=3.0)
    assert normalizer(torch.tensor([[-50.0, 2.0, 50.0]])).tolist() == [[-3.0, 2.0, 3.0]]


@pytest.mark.parametrize("names", [("a", "b"), ("arm.angle", "arm.speed"), ("items", "a/b")])
def test_a_dict_is_normalised_entry_by_entry_whatever_its_names(names):
    first, second = names
    space = spaces.Dict({first: BOX, second: spaces.Box(-1, 1, (2,), np.float64)})
    normalizer = ObsNormalizer(space)
    obs = {first: rows(0, 30)[0], second: torch.rand(30, 2, 2)}
    normalizer.absorb(obs)
    alone = ObsNormalizer(BOX)
    alone.absorb(obs[first])
    assert torch.equal(normalizer(obs)[first], alone(obs[first]))
    other = ObsNormalizer(space)
    other.load_state_dict(join_state(*split_state(normalizer.state_dict())))
    assert torch.equal(other(obs)[second], normalizer(obs)[second])
    assert normalizer(obs)[second].mean((0, 1)).abs().max() < 1e-5


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.Box(0, 255, (2, 2), np.uint8),
        spaces.Dict({"a": BOX, "b": spaces.Discrete(2)}),
    ],
)
def test_what_has_no_scale_is_refused(space):
    with pytest.raises(ConfigError, match=r"normalize_observation: needs float Boxes"):
        ObsNormalizer(space)


def test_statistics_travel_with_the_weights():
    normalizer, other = ObsNormalizer(BOX), ObsNormalizer(BOX)
    first, second, third = rows(0, 20, 20, 20)
    normalizer.absorb(first)
    other.load_state_dict(normalizer.state_dict())
    for each in (normalizer, other):
        each.absorb(second)
    assert torch.equal(normalizer(third), other(third))


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).unsqueeze(1)


def test_reward_scale_by_hand():
    scaler = RewardScaler(1, 0.5)
    # discounted returns 1 and 2 + 1/2: variance 9/16
    scaled = scaler(column(1.0, 2.0), column(False, True))
    assert scaled.flatten().tolist() == pytest.approx([1 / 0.75, 2 / 0.75])
    # the episode ended: the next return starts at 4; variance of 1, 2.5 and 4 is 1.5
    scaled = scaler(column(4.0), column(False))
    assert scaled.item() == pytest.approx(4 / 1.5**0.5)
    # and goes on over the fragment's border: 4 / 2 - 1 = 1; variance of 1, 2.5, 4, 1
    scaled = scaler(column(-1.0), column(False))
    assert scaled.item() == pytest.approx(-1 / np.std([1, 2.5, 4, 1]))
    assert scaled.dtype == torch.float32


def test_reward_scale_of_several_environments_pools_their_returns():
    scaler = RewardScaler(2, 0.0)
    reward = torch.tensor([[1.0, 5.0], [3.0, 7.0]])
    scaled = scaler(reward, torch.zeros(2, 2, dtype=torch.bool))
    np.testing.assert_allclose(scaled.numpy(), reward.numpy() / np.std([1, 5, 3, 7]), rtol=1e-6)


def test_an_outlier_is_clipped():
    reward = torch.zeros(400, 1)
    reward[200] = -1000.0  # 20 deviations
    scaled = RewardScaler(1, 0.0)(reward, torch.zeros(400, 1, dtype=torch.bool))
    assert scaled.min().item() == -10.0
