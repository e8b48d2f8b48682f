import dataclasses
import math

import pytest
import torch

from rlrun.algos.a3c import A3C, A3CConfig
from rlrun.config import ConfigError
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


def build(place=None, policy=None, **changes) -> A3C:
    options = {
        **{"n_steps": 3, "learning_rate": rate(0.01), "gamma": 0.5, "gae_lambda": 0.5},
        **{"ent_coef": 0.1, "vf_coef": 0.5, "max_grad_norm": 1e9},
        **{"normalize_advantage": False, "rms_prop_eps": 0.1},
        "policy": policy or policy_config(),
    }
    return A3C(A3CConfig(**{**options, **changes}), place or setting())


def by_hand(**changes) -> A3C:
    algorithm = build(**changes)
    uniform_actions_and_identity_value(algorithm.policy)
    algorithm.learner.load_state_dict({})  # what is shared starts from there too
    return algorithm


def test_losses_by_hand():
    metrics = by_hand().update(HAND)
    log_2 = math.log(2.0)
    assert float(metrics["train/policy_gradient_loss"]) == pytest.approx(log_2 * 4 / 3)
    assert float(metrics["train/value_loss"]) == pytest.approx((1.25**2 + 1 + 1.75**2) / 3)
    assert float(metrics["train/entropy_loss"]) == pytest.approx(-log_2)
    assert float(metrics["train/loss"]) == pytest.approx(log_2 * (4 / 3 - 0.1) + 0.5 * 1.875)
    # targets 1.75, 2, 2 have the variance 1/72; the advantages, what is unexplained, 7/72
    assert float(metrics["train/explained_variance"]) == pytest.approx(-6.0, rel=1e-4)


def stepped(gradient):
    """Return how far RMSprop's first step goes."""
    return -0.01 * gradient / (math.sqrt(0.01 * gradient * gradient) + 0.1)


@pytest.mark.parametrize("clip", [1e9, 0.5])
def test_an_update_moves_the_shared_parameters_and_then_the_copy(clip):
    algorithm = by_hand(max_grad_norm=clip)
    metrics = algorithm.update(HAND)
    scale = min(1.0, clip / float(metrics["train/grad_norm"]))
    bias = algorithm.policy.value_head.bias  # half the mean of -2 advantage
    assert bias.item() == pytest.approx(stepped(scale * -4 / 3), rel=1e-3)
    mine = torch.cat([each.detach().reshape(-1) for each in algorithm.learner.parameters])
    assert torch.equal(mine, algorithm.learner.memory.parameters)


def test_a_worker_applies_its_gradient_to_what_another_learned():
    first, second = by_hand(), by_hand()
    second.learner.attach(first.learner.memory)
    first.update(HAND)
    learned = first.policy.value_head.bias.item()
    assert second.policy.value_head.bias.item() == 0.0
    second.update(HAND)
    again = (4 / 3) / (math.sqrt(0.0199 * 16 / 9) + 0.1)
    assert second.policy.value_head.bias.item() == pytest.approx(learned + 0.01 * again, rel=1e-4)


def test_normalised_advantages_leave_the_value_target_alone():
    metrics = by_hand(normalize_advantage=True).update(HAND)
    assert float(metrics["train/policy_gradient_loss"]) == pytest.approx(0.0, abs=1e-6)
    assert float(metrics["train/value_loss"]) == pytest.approx(1.875)


def test_the_step_size_follows_its_schedule():
    algorithm = build(learning_rate=type(rate(0)).parse({"linear": 1e-2}))
    algorithm.anneal(0.75)
    assert algorithm.update(HAND)["train/learning_rate"] == pytest.approx(2.5e-3)


def test_what_workers_cannot_share_is_refused():
    with pytest.raises(ConfigError, match=r"device\.name: .*set device=cpu"):
        build(dataclasses.replace(setting(), device=torch.device("meta")))
    for key in ("normalize_observation", "normalize_reward"):
        with pytest.raises(ConfigError, match=rf"algo\.policy\.{key}: .*set it to false"):
            build(policy=policy_config(**{key: True}))
