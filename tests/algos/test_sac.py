import math

import pytest
import torch
from gymnasium import spaces

from rlrun.algos.sac import SAC, SACConfig
from rlrun.config import ConfigError
from rlrun.nets.temperature import EntropyCoefficient
from tests.algos.linear import fragment
from tests.algos.off_policy import (
    ACTION,
    MEMORY,
    actions_at,
    batch,
    learned_in,
    set_critics,
    set_linear,
    setting,
)

SOFT = {
    **{"tau": 0.25, "target_entropy": "auto", "ent_coef": EntropyCoefficient(False, 0.5)},
    **{"use_sde": False, "sde_sample_freq": 4, "log_std_init": -3.0},
}


def build(action=ACTION, **changes) -> SAC:
    return SAC(SACConfig(**{**MEMORY, **SOFT, **changes}), setting(action))


def by_hand(**changes) -> SAC:
    """Return an agent of mean tanh^-1(1/2) and deviation 1/4, whose values are linear."""
    algorithm = build(**changes)
    set_linear(algorithm.policy.head.linear, [[0.0], [0.0]], [math.atanh(0.5), math.log(0.25)])
    set_critics(algorithm.critics, [(2.0, 1.0, 1.0), (2.0, 1.0, 3.0)])
    set_critics(algorithm.target.module, [(4.0, 0.0, 0.0), (0.0, 1.0, -6.0)])
    return algorithm


HAND = batch([1.0, 0.0], [3.0, 1.0], [1.0, 2.0], [9.0, 5.0], [0.5, 0.0])
"""Unit actions 1 and 0; the second row is an end."""

LOG_PROB = math.log(4.0) - 0.5 * math.log(2 * math.pi) - math.log(1 - 0.25)
"""Of the mean: the normal's density there, over the slope of tanh."""


@pytest.fixture
def _at_the_mean(monkeypatch):
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)


@pytest.mark.usefixtures("_at_the_mean")
def test_the_critic_loss_by_hand():
    loss, metrics = by_hand().critic_loss(HAND)
    # the first target: 1 + (min(4 / 2, 9 - 6) - log_prob / 2) / 2; values 4 and 1, 6 and 3
    target = 1.0 + 0.5 * (2.0 - 0.5 * LOG_PROB)
    errors = (4.0 - target, 6.0 - target, 1.0 - 2.0, 3.0 - 2.0)
    assert loss.item() == pytest.approx(0.5 * sum(e * e for e in errors) / 2)
    assert metrics["train/critic_loss"].item() == loss.item()


@pytest.mark.usefixtures("_at_the_mean")
def test_the_actor_loss_by_hand_and_what_it_moves():
    algorithm = by_hand()
    before = algorithm.learners["critic_optimizer"].flat.clone()
    metrics = algorithm.learners["actor_optimizer"].minimize(algorithm.actor_loss, HAND)
    assert metrics["train/actor_loss"].item() == pytest.approx(0.5 * LOG_PROB - (1 + 0.5 + 1))
    assert metrics["log_prob"].tolist() == pytest.approx([LOG_PROB] * 2)
    assert torch.equal(algorithm.learners["critic_optimizer"].flat, before)
    # by the mean: 2 tanh(m) / 2 - 2 (1 - tanh(m)^2), with tanh(m) = 1/2; by log std: -1/2
    slope = [0.5 * 2 * 0.5 - 2 * 0.75, -0.5]
    mean_obs = 0.5
    norm = math.sqrt(sum(s * s * (1 + mean_obs**2) for s in slope))
    assert metrics["train/grad_norm"].item() == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(("aim", "sign"), [(-5.0, -1), (5.0, 1)])
def test_the_coefficient_is_learned_towards_its_target(aim, sign):
    algorithm = by_hand(ent_coef=EntropyCoefficient(True, 0.5), target_entropy=aim)
    log_prob = torch.tensor([1.0, -2.0])
    metrics = algorithm.learners["ent_coef_optimizer"].minimize(algorithm.ent_coef_loss, log_prob)
    assert metrics["train/ent_coef_loss"].item() == pytest.approx(-math.log(0.5) * (aim - 0.5))
    assert algorithm.temperature().item() == pytest.approx(0.5 * math.exp(0.01 * sign), rel=1e-5)


def test_an_update_learns_everything_and_says_so():
    algorithm = by_hand(ent_coef=EntropyCoefficient(True, 0.5))
    before = {name: learner.flat.clone() for name, learner in algorithm.learners.items()}
    part = fragment([1.0], [1], [1.0], [0.0], [0], [0])._replace(action=torch.ones(1, 1, 1))
    metrics = algorithm.update(part)
    for name, learner in algorithm.learners.items():
        assert not torch.equal(learner.flat, before[name]), name
    figures = {"actor_loss", "critic_loss", "ent_coef", "ent_coef_loss", "learning_rate"}
    assert {f"train/{figure}" for figure in figures} <= set(metrics)
    assert "log_prob" not in metrics
    assert float(metrics["train/ent_coef"]) == 0.5
    held = torch.cat([each.flatten() for each in algorithm.target.module.parameters()])
    start = torch.tensor([4.0, 0.0, 0.0, 1.0, 0.0, -6.0])
    expected = 0.75 * start + 0.25 * algorithm.learners["critic_optimizer"].flat
    torch.testing.assert_close(held, expected.detach())


def test_the_targets_of_entropy():
    assert build().target_entropy == -1.0
    assert build(spaces.Discrete(3)).target_entropy == pytest.approx(0.98 * math.log(3.0))
    assert build(target_entropy=-0.25).target_entropy == -0.25


def test_discrete_actions_by_hand():
    algorithm = build(spaces.Discrete(2))
    set_linear(algorithm.policy.linear, [[0.0], [0.0]], [math.log(0.25), math.log(0.75)])
    with torch.no_grad():
        for critics, bias in (
            (algorithm.target.module, [[4.0, 8.0], [9.0, 0.0]]),
            (algorithm.critics, [[1.0, 2.0], [3.0, 4.0]]),
        ):
            critics.head.weight.zero_()
            critics.head.bias.copy_(torch.tensor(bias).unsqueeze(1))
    rows = batch([0.0, 0.0], [0, 1], [1.0, 1.0], [0.0, 0.0], [0.5, 0.0])
    loss, _ = algorithm.critic_loss(rows)
    log_prob = 0.25 * math.log(0.25) + 0.75 * math.log(0.75)
    target = 1.0 + 0.5 * (0.25 * 4.0 + 0.75 * 0.0 - 0.5 * log_prob)
    errors = (1.0 - target, 3.0 - target, 2.0 - 1.0, 4.0 - 1.0)
    assert loss.item() == pytest.approx(0.5 * sum(e * e for e in errors) / 2)
    loss, _ = algorithm.actor_loss(rows)
    assert loss.item() == pytest.approx(0.5 * log_prob - (0.25 * 1.0 + 0.75 * 2.0))


def test_gsde_noise_is_carried():
    noise, age = build(use_sde=True).initial_carry(3)
    assert noise.shape == (3, 1)
    assert age.shape == (3,)
    assert build().initial_carry(3) == ()


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.MultiBinary(2), "sac needs Box or Discrete actions; hand has MultiBinary"),
        (spaces.Box(-math.inf, math.inf, (1,)), "not bounded.*algo=ppo"),
    ],
)
def test_what_it_cannot_act_in_is_named(space, words):
    with pytest.raises(ConfigError, match=words):
        build(space)


@pytest.mark.parametrize("use_sde", [False, True])
def test_it_learns_to_follow_what_it_sees(use_sde):
    coefficient = EntropyCoefficient(True, 0.1)
    options = {"ent_coef": coefficient, "use_sde": use_sde, "log_std_init": -1.0}
    algorithm = learned_in("RewardByNearness", "sac", 600, **options)
    assert actions_at(algorithm, -1.0, 1.0) == pytest.approx([-0.5, 0.5], abs=0.15)


def test_it_learns_to_choose_what_it_sees():
    options = {"ent_coef": EntropyCoefficient(False, 0.05)}
    algorithm = learned_in("RewardByBoth", "sac", 200, **options)
    assert actions_at(algorithm, 0.0, 1.0) == [0, 1]
    values = algorithm.critics.every(torch.tensor([[0.0], [1.0]])).mean(0).flatten().tolist()
    assert values == pytest.approx([1.0, -1.0, -1.0, 1.0], abs=0.1)


def test_a_time_limit_is_not_an_end():
    options = {"ent_coef": EntropyCoefficient(False, 0.0), "gamma": 0.8, "tau": 0.2}
    algorithm = learned_in("EndlessReward", "sac", 400, **options)
    # 1 / (1 - gamma); cut at the limit, the mean over its five steps would be 2.3
    values = algorithm.critics.every(torch.tensor([[0.0]])).flatten().tolist()
    assert values == pytest.approx([5.0] * 4, abs=0.1)
