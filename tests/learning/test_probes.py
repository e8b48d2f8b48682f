"""Each probe isolates one thing that must be learned; its answer is known, so a bug has a name."""

import pytest
import torch

from rlrun.build import build_parts
from rlrun.data.collector import Collector
from rlrun.functional.schedules import Schedule
from tests.recipes import ALGORITHMS, changed, recipe

BOOTSTRAPPING = [name for name in ALGORITHMS if name in ("a2c", "ppo", "trpo")]
"""Algorithms with a learned value that stands for what comes after a cut."""

SMALL = {"n_steps": 8, "batch_size": 64, "n_epochs": 8, "gamma": 0.5}
RATES = {"a2c": 0.02}
UPDATES = {"a2c": 100}


def learned(name: str, probe: str, **options):
    """Return the algorithm after it has learned in a probe."""
    rate = Schedule("linear", RATES.get(name, 0.02), 0.0)
    made = recipe(f"algo={name}", f"env=tests.learning.probes:{probe}-v0", "preset=none")
    algo = {**SMALL, "learning_rate": rate, **options}
    parts = build_parts(changed(made, algo, {"sizes": (16,)}, num_envs=8))
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, seed=1)
    updates = UPDATES.get(name, 25)
    for update in range(updates):
        algorithm.anneal(update / updates)
        algorithm.update(
            collector.collect(
                lambda obs, carry: algorithm.act(obs, carry, explore=True), algorithm.horizon
            )
        )
    parts.env.close()
    return algorithm


@torch.no_grad()
def values(algorithm, *shown: float) -> list[float]:
    return algorithm.policy.value(torch.tensor(shown).unsqueeze(1)).tolist()


@torch.no_grad()
def probability_of_one(algorithm, *shown: float) -> list[float]:
    obs = torch.tensor(shown).unsqueeze(1)
    one = torch.ones(len(shown), dtype=torch.int64)
    return algorithm.policy.distribution(obs).log_prob(one).exp().tolist()


every = pytest.mark.parametrize("name", BOOTSTRAPPING)


@every
def test_a_constant_reward_is_the_value(name):
    assert values(learned(name, "ConstantReward"), 0.0) == pytest.approx([1.0], abs=0.03)


@every
def test_a_reward_by_observation_is_told_apart(name):
    algorithm = learned(name, "RewardByObservation")
    assert values(algorithm, -1.0, 1.0) == pytest.approx([-1.0, 1.0], abs=0.03)


@every
def test_a_delayed_reward_is_discounted(name):
    algorithm = learned(name, "DelayedReward")
    assert values(algorithm, 0.0, 1.0) == pytest.approx([0.5, 1.0], abs=0.03)


@every
def test_a_reward_by_action_changes_the_policy(name):
    algorithm = learned(name, "RewardByAction")
    assert probability_of_one(algorithm, 0.0)[0] > 0.95
    assert values(algorithm, 0.0) == pytest.approx([1.0], abs=0.03)


@every
def test_a_reward_by_both_makes_the_policy_look(name):
    probability = probability_of_one(learned(name, "RewardByBoth"), 0.0, 1.0)
    assert probability[0] < 0.1
    assert probability[1] > 0.9


@every
def test_a_continuous_action_follows_what_is_seen(name):
    algorithm = learned(name, "RewardByNearness")
    obs = torch.tensor([[-1.0], [1.0]])
    action = algorithm.act(obs, (), explore=False).action.flatten().tolist()
    assert action == pytest.approx([-0.5, 0.5], abs=0.1)


@every
@pytest.mark.parametrize("gae_lambda", [0.0, 0.95])
def test_a_time_limit_is_not_an_end(name, gae_lambda):
    algorithm = learned(name, "EndlessReward", gamma=0.8, gae_lambda=gae_lambda)
    # 1 / (1 - gamma); cut at the limit, the mean over its five steps would be 2.3
    assert values(algorithm, 0.0) == pytest.approx([5.0], abs=0.05)
