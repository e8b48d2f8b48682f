import math

import pytest
import torch

from rlrun.algos.reinforce import Reinforce, ReinforceConfig
from tests.algos.linear import (
    fragment,
    policy_config,
    rate,
    setting,
    uniform_actions_and_identity_value,
)

FIRST = fragment(
    obs=[0.5, 1.0],
    action=[1, 0],
    reward=[1.0, 2.0],
    next_obs=[1.0, 9.0],
    terminated=[0, 0],
    truncated=[0, 0],
)
REST = fragment(
    obs=[2.0, 7.0],
    action=[1, 0],
    reward=[4.0, 100.0],
    next_obs=[9.0, 9.0],
    terminated=[0, 0],
    truncated=[1, 0],
)
"""Together an episode of three steps, cut by a limit, and the first step of another.

With gamma = 1/2 its returns are 1 + (2 + 4/2) / 2 = 3, 4 and 4, whatever the last state is worth.
"""

LOG_2 = math.log(2.0)


def build(num_envs=1, policy=None, **changes) -> Reinforce:
    options = {
        "n_steps": 2,
        "learning_rate": rate(0.01),
        "gamma": 0.5,
        "baseline": "none",
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": None,
        "normalize_advantage": False,
        "policy": policy or policy_config(),
    }
    algorithm = Reinforce(ReinforceConfig(**{**options, **changes}), setting(num_envs))
    uniform_actions_and_identity_value(algorithm.policy)
    return algorithm


def learned(algorithm):
    """Update with both fragments; return the metrics and each parameter's change."""
    before = {name: p.clone() for name, p in algorithm.policy.named_parameters()}
    assert algorithm.update(FIRST) == {}
    for name, parameter in algorithm.policy.named_parameters():
        assert torch.equal(parameter, before[name]), "no episode has ended yet"
    metrics = algorithm.update(REST)
    return metrics, {name: p - before[name] for name, p in algorithm.policy.named_parameters()}


def sign_of(change) -> list[float]:
    return [round(each / 0.01, 3) for each in change.flatten().tolist()]


def test_without_a_baseline_by_hand():
    metrics, change = learned(build(ent_coef=0.25))
    assert metrics["train/episodes"] == 1.0
    assert float(metrics["train/policy_gradient_loss"]) == pytest.approx(LOG_2 * 11 / 3)
    assert float(metrics["train/loss"]) == pytest.approx(LOG_2 * (11 / 3 - 0.25))
    # actions 1, 0, 1: the bias of 1 gains (3 - 4 + 4) / 2, a third of it each; 0 loses as much
    # and the weights (3 * 1/2 - 4 * 1 + 4 * 2) / 2 likewise
    norm = math.sqrt(2 * (3 / 6) ** 2 + 2 * (5.5 / 6) ** 2)
    assert float(metrics["train/grad_norm"]) == pytest.approx(norm)
    assert sign_of(change["action_head.linear.bias"]) == [-1, 1]
    assert sign_of(change["action_head.linear.weight"]) == [-1, 1]
    assert sign_of(change["value_head.weight"]) == [0]
    assert "train/value_loss" not in metrics


def test_the_value_baseline_by_hand():
    metrics, change = learned(build(baseline="value"))
    # returns 3, 4, 4 less values 1/2, 1, 2
    assert float(metrics["train/policy_gradient_loss"]) == pytest.approx(LOG_2 * 7.5 / 3)
    assert float(metrics["train/value_loss"]) == pytest.approx((2.5**2 + 3**2 + 2**2) / 3)
    assert float(metrics["train/loss"]) == pytest.approx(LOG_2 * 2.5 + 0.5 * 19.25 / 3)
    assert sign_of(change["value_head.bias"]) == [1]
    # returns have the variance 2/9, what is left of them 1/6
    assert float(metrics["train/explained_variance"]) == pytest.approx(1 - (1 / 6) / (2 / 9))
    # (2.5 - 3 + 2) / 2 for the bias of action 1
    bias, weight = 1.5 / 6, (2.5 * 0.5 - 3.0 + 2.0 * 2.0) / 6
    value = [7.5 / 3, (2.5 * 0.5 + 3.0 + 2.0 * 2.0) / 3]
    norm = math.sqrt(2 * bias**2 + 2 * weight**2 + sum(each**2 for each in value))
    assert float(metrics["train/grad_norm"]) == pytest.approx(norm)


@pytest.mark.parametrize("baseline", ["none", "value"])
def test_normalised_advantages_by_hand(baseline):
    metrics, _ = learned(build(baseline=baseline, normalize_advantage=True, vf_coef=0.0))
    advantage = torch.tensor([3.0, 4.0, 4.0] if baseline == "none" else [2.5, 3.0, 2.0])
    weight = (advantage - advantage.mean()) / advantage.std()
    bias = float(weight[0] - weight[1] + weight[2]) / 6
    slope = float(weight[0] * 0.5 - weight[1] + weight[2] * 2.0) / 6
    assert float(metrics["train/grad_norm"]) == pytest.approx(math.sqrt(2 * bias**2 + 2 * slope**2))
    if baseline == "value":
        assert float(metrics["train/value_loss"]) == pytest.approx(19.25 / 3)


def test_the_gradient_is_clipped_only_if_asked():
    whole = build(baseline="value")
    clipped = build(baseline="value", max_grad_norm=0.5)
    learned(whole)
    learned(clipped)
    # Adam's running mean after one step is a tenth of the gradient
    lengths = [each.learner.state_dict()["exp_avg"].norm().item() for each in (whole, clipped)]
    assert lengths[0] > 0.2
    assert lengths[1] == pytest.approx(0.05, rel=1e-4)


def test_the_unfinished_episode_is_learned_from_when_it_ends():
    algorithm = build()
    learned(algorithm)
    end = fragment([8.0], [1], [2.0], [9.0], [1], [0])
    metrics = algorithm.update(end)
    assert metrics["train/episodes"] == 1.0
    algorithm = build(learning_rate=rate(0.0))
    learned(algorithm)
    # returns 100 + 2/2 and 2
    loss = float(algorithm.update(end)["train/policy_gradient_loss"])
    assert loss == pytest.approx(LOG_2 * (101 + 2) / 2)


def test_reward_scale_and_observation_statistics_are_used():
    policy = policy_config(normalize_reward=True, normalize_observation=True)
    algorithm = build(policy=policy, learning_rate=rate(0.0))
    assert algorithm.update(FIRST) == {}
    # the mean of the observations 1/2 and 1 is taken in although nothing could be learned
    assert algorithm.policy.normalizer(torch.tensor([0.75])).item() == pytest.approx(0, abs=1e-6)
    metrics = algorithm.update(REST)
    # running returns 1, 2.5: deviation 0.75; then 1, 2.5, 5.25, 100: deviation 42.0417
    scaled = [1 / 0.75, 2 / 0.75, 4 / torch.tensor([1, 2.5, 5.25, 100]).std(correction=0).item()]
    returns = [
        scaled[0] + 0.5 * (scaled[1] + 0.5 * scaled[2]),
        scaled[1] + 0.5 * scaled[2],
        scaled[2],
    ]
    loss = float(metrics["train/policy_gradient_loss"])
    assert loss == pytest.approx(LOG_2 * sum(returns) / 3, rel=1e-5)
    assert algorithm.policy.normalizer(torch.tensor([2.625])).item() == pytest.approx(0, abs=1e-6)


def test_the_step_size_follows_its_schedule():
    algorithm = build(learning_rate=type(rate(0)).parse({"linear": 1e-2}))
    algorithm.anneal(0.75)
    algorithm.update(FIRST)
    assert algorithm.update(REST)["train/learning_rate"] == pytest.approx(2.5e-3)


@pytest.mark.parametrize("baseline", ["none", "value"])
def test_the_rewarded_action_becomes_likely(baseline):
    torch.manual_seed(0)
    algorithm = build(num_envs=4, learning_rate=rate(0.05), baseline=baseline)
    ones = torch.ones(8, 4)
    for _ in range(60):
        action = algorithm.act(ones.unsqueeze(-1), (), explore=True).action
        part = fragment(
            ones.tolist(),
            action.tolist(),
            action.tolist(),
            ones.tolist(),
            ones.tolist(),
            [[0] * 4] * 8,
        )
        algorithm.update(part)
    chance = algorithm.policy.distribution(torch.ones(1, 1)).logits.softmax(-1)[0, 1]
    assert chance > 0.9
    assert algorithm.act(torch.ones(2, 1), (), explore=False).action.tolist() == [1, 1]
