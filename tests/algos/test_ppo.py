import math

import pytest
import torch

from rlrun.algos.ppo import LOG_RATIO, PPO, PPOConfig
from rlrun.config import ConfigError
from rlrun.functional.schedules import Schedule
from tests.algos.linear import (
    fragment,
    policy_config,
    rate,
    setting,
    uniform_actions_and_identity_value,
)

HAND = fragment(
    obs=[0.5, 1.0, 0.25],
    action=[1, 0, 1],
    reward=[1.0, 0.0, 2.0],
    next_obs=[1.0, 4.0, 0.25],
    terminated=[0, 0, 1],
    truncated=[0, 1, 0],
)
"""Values equal observations; with gamma = lambda = 1/2 the advantages are 1.25, 1 and 1.75."""

LOG_2 = math.log(2.0)


def build(num_envs=1, policy=None, **changes) -> PPO:
    options = {
        "n_steps": 3,
        "batch_size": 3,
        "n_epochs": 1,
        "learning_rate": rate(0.01),
        "gamma": 0.5,
        "gae_lambda": 0.5,
        "clip_range": rate(0.2),
        "clip_range_vf": None,
        "ent_coef": 0.1,
        "vf_coef": 0.5,
        "max_grad_norm": 1e9,
        "target_kl": None,
        "normalize_advantage": False,
        "recompute_advantage": False,
        "policy": policy or policy_config(),
    }
    algorithm = PPO(PPOConfig(**{**options, **changes}), setting(num_envs))
    uniform_actions_and_identity_value(algorithm.policy)
    return algorithm


def steps_of(algorithm) -> int:
    """Return how many gradient steps were taken."""
    return int(algorithm.learner.state_dict()["step"])


def test_the_first_step_by_hand():
    algorithm = build()
    metrics = {key: float(value) for key, value in algorithm.update(HAND).items()}
    # the ratio is still 1: minus the mean advantage; the value's errors are the advantages
    assert metrics["train/policy_gradient_loss"] == pytest.approx(-4 / 3)
    assert metrics["train/value_loss"] == pytest.approx((1.25**2 + 1 + 1.75**2) / 3)
    assert metrics["train/entropy_loss"] == pytest.approx(-LOG_2)
    assert metrics["train/loss"] == pytest.approx(-4 / 3 + 0.5 * 1.875 - 0.1 * LOG_2)
    # targets 1.75, 2, 2 have the variance 1/72; the advantages, what is unexplained, 7/72
    assert metrics["train/explained_variance"] == pytest.approx(-6.0)
    assert metrics["train/approx_kl"] == pytest.approx(0.0, abs=1e-7)
    assert metrics["train/clip_fraction"] == 0.0
    assert metrics["train/learning_rate"] == 0.01
    assert metrics["train/clip_range"] == pytest.approx(0.2)
    assert LOG_RATIO not in metrics


def row(value=1.0, ratio=1.0, advantage=1.0, target=1.0, old_value=1.0):
    """Return a batch of rows whose policy is uniform and whose value is given."""
    values = torch.tensor(value).reshape(-1)
    return {
        "obs": values.unsqueeze(-1),
        "action": torch.ones(len(values)).long(),
        "old_log_prob": torch.full((len(values),), -LOG_2 - math.log(ratio)),
        "advantage": torch.tensor(advantage).reshape(-1),
        "target": torch.tensor(target).reshape(-1),
        "old_value": torch.tensor(old_value).reshape(-1),
    }


def test_the_ratio_is_clipped():
    loss, metrics = build(ent_coef=0.0).loss(row(ratio=1.5))
    assert loss.item() == pytest.approx(-1.2)
    assert metrics[LOG_RATIO].tolist() == pytest.approx([math.log(1.5)])


def test_the_value_is_clipped_only_where_asked():
    batch = row(value=3.0, old_value=1.0, target=4.0)
    assert build().loss(batch)[1]["train/value_loss"].item() == 1.0
    assert build(clip_range_vf=0.5).loss(batch)[1]["train/value_loss"].item() == 6.25


def test_advantages_are_normalised_within_the_batch():
    batch = row(value=[1.0] * 3, advantage=[1.0, 2.0, 3.0], target=[1.0] * 3, old_value=[1.0] * 3)
    plain, scaled = build(), build(normalize_advantage=True)
    assert plain.loss(batch)[1]["train/policy_gradient_loss"].item() == pytest.approx(-2.0)
    assert scaled.loss(batch)[1]["train/policy_gradient_loss"].item() == pytest.approx(0.0)


@pytest.mark.parametrize("ent_coef", [0.0, 0.3])
def test_the_loss_is_the_weighted_sum_of_its_parts(ent_coef):
    loss, metrics = build(ent_coef=ent_coef, vf_coef=0.25).loss(row(target=3.0, advantage=2.0))
    assert loss.item() == pytest.approx(-2.0 + 0.25 * 4.0 - ent_coef * LOG_2)
    assert metrics["train/entropy_loss"].item() == pytest.approx(-LOG_2)


def test_the_policy_moves_towards_what_paid():
    algorithm = build(learning_rate=rate(0.1))
    part = fragment([1.0] * 3, [1, 0, 1], [3.0, -3.0, 3.0], [1.0] * 3, [1] * 3, [0] * 3)
    algorithm.update(part)
    logits = algorithm.policy.distribution(torch.ones(1, 1)).logits[0]
    assert logits[1] - logits[0] > 0.1


@pytest.mark.parametrize(("n_epochs", "batch_size", "steps"), [(1, 3, 1), (4, 3, 4), (2, 1, 6)])
def test_every_epoch_passes_over_every_minibatch(n_epochs, batch_size, steps):
    algorithm = build(n_epochs=n_epochs, batch_size=batch_size)
    algorithm.update(HAND)
    assert steps_of(algorithm) == steps


def test_a_policy_that_moved_too_far_ends_the_update():
    far = {"n_epochs": 20, "learning_rate": rate(0.3)}
    free, bound = build(**far), build(**far, target_kl=0.01)
    figures = [{k: float(v) for k, v in each.update(HAND).items()} for each in (free, bound)]
    assert steps_of(free) == 20
    assert 1 < steps_of(bound) < 20
    assert figures[1]["train/approx_kl"] > 0
    assert figures[0]["train/clip_fraction"] > 0


@pytest.mark.parametrize(("recompute", "passes"), [(False, 1), (True, 4)])
def test_advantages_are_computed_anew_where_asked(recompute, passes):
    algorithm, calls = build(n_epochs=4, recompute_advantage=recompute), []
    value = algorithm.policy.value
    algorithm.policy.value = lambda obs: calls.append(1) or value(obs)
    algorithm.update(HAND)
    assert len(calls) == 2 * passes  # of the observations and of their successors


def test_schedules_follow_the_progress():
    halving = Schedule("linear", 0.4, 0.0)
    algorithm = build(learning_rate=halving, clip_range=halving)
    algorithm.anneal(0.75)
    assert algorithm.learner.learning_rate == pytest.approx(0.1)
    assert algorithm.clip_range == pytest.approx(0.1)
    loss, _ = algorithm.loss(row(ratio=1.5, advantage=1.0))
    assert loss.item() == pytest.approx(-1.1 - 0.1 * LOG_2)


def test_the_normaliser_learns_after_the_update_and_not_before():
    algorithm = build(policy=policy_config(normalize_observation=True))
    metrics = algorithm.update(HAND)
    assert float(metrics["train/value_loss"]) == pytest.approx(1.875)
    mean = algorithm.policy.normalizer.moments[0].mean
    assert mean.item() == pytest.approx((0.5 + 1.0 + 0.25) / 3)


def test_rewards_are_scaled_before_they_become_advantages():
    algorithm = build(policy=policy_config(normalize_reward=True))
    part = fragment([0.0] * 3, [1, 0, 1], [1.0, 3.0, 5.0], [0.0] * 3, [1] * 3, [0] * 3)
    # values are 0 and episodes one step long, so the errors are the rewards over their deviation
    expected = (1 + 9 + 25) / 3 / (8 / 3)
    assert float(algorithm.update(part)["train/value_loss"]) == pytest.approx(expected)


def test_minibatches_must_fill_the_fragment():
    reason = r"algo.batch_size: 4 does not divide num_envs \* n_steps = 2 \* 3 = 6; 3 does"
    with pytest.raises(ConfigError, match=reason):
        build(num_envs=2, batch_size=4)
