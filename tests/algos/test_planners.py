"""Planners against exact values."""

import pytest
import torch
from torch.nn.functional import one_hot

from rlrun.build import build_parts
from rlrun.config import ConfigError
from rlrun.functional.bellman import action_values, policy_value
from tests.recipes import recipe

START = {"FrozenLake-v1": 0, "FrozenLake8x8-v1": 0, "CliffWalking-v1": 36}
LIMIT = {"FrozenLake-v1": 100, "FrozenLake8x8-v1": 200}


def plan(*words):
    """Plan until nothing changes; return the algorithm, its model and the number of updates."""
    parts = build_parts(recipe(*words, "device=cpu"))
    parts.env.close()
    algorithm, updates = parts.algorithm, 0
    while not algorithm.converged:
        algorithm.update(None)
        updates += 1
    return algorithm, parts.env.spec.model, updates


def success_rate(algorithm, model, env_id):
    """Return the chance to earn the reward within the time limit, without drawing anything."""
    rows = torch.arange(len(model.reward))
    action = algorithm.act(rows, (), explore=False).action
    place = torch.zeros(len(rows), dtype=torch.float64)
    place[START[env_id]] = 1.0
    earned = 0.0
    for _ in range(LIMIT[env_id]):
        earned += float(place @ model.reward[rows, action])
        place = place @ model.continuation[rows, action]
    return earned


@pytest.mark.parametrize("name", ["value_iteration", "policy_iteration"])
@pytest.mark.parametrize(
    ("env_id", "gamma", "value", "success"),
    [
        ("FrozenLake-v1", 0.99, 0.542026, 0.7402),
        ("FrozenLake-v1", 0.9, 0.068891, None),
        ("FrozenLake-v1", 1.0, 14 / 17, 0.7402),
        ("FrozenLake8x8-v1", 0.99, 0.414640, 0.8630),
        ("FrozenLake8x8-v1", 0.95, None, 0.7386),
        ("FrozenLake8x8-v1", 1.0, 1.0, 0.8857),
        ("CliffWalking-v1", 1.0, -13.0, None),
    ],
)
def test_planners_find_the_exact_values(name, env_id, gamma, value, success):
    algorithm, model, _ = plan(f"algo={name}", f"env={env_id}", f"algo.gamma={gamma}")
    if value is not None:
        assert float(algorithm.policy.value[START[env_id]]) == pytest.approx(value, abs=1e-6)
    if success is not None:
        assert success_rate(algorithm, model, env_id) == pytest.approx(success, abs=2e-4)
    taken = one_hot(algorithm.policy.action, model.reward.shape[1]).double()
    own = policy_value(model, taken, gamma)
    torch.testing.assert_close(own, algorithm.policy.value.data, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("env_id", "sweeps"), [("FrozenLake-v1", 571), ("FrozenLake8x8-v1", 662)])
def test_value_iteration_takes_the_known_number_of_sweeps(env_id, sweeps):
    assert plan("algo=value_iteration", f"env={env_id}")[2] == sweeps


def test_policy_iteration_finds_the_policy_of_value_iteration():
    by_value, model, _ = plan("algo=value_iteration", "env=FrozenLake8x8-v1")
    by_policy, _, updates = plan("algo=policy_iteration", "env=FrozenLake8x8-v1")
    assert updates < 20
    q = action_values(model, by_policy.policy.value, 0.99)
    chosen = [q.gather(1, each.policy.action.unsqueeze(1)) for each in (by_value, by_policy)]
    torch.testing.assert_close(*chosen, rtol=0, atol=1e-8)


def test_planners_report_the_largest_change():
    parts = build_parts(recipe("algo=value_iteration", "env=FrozenLake-v1", "device=cpu"))
    parts.env.close()
    # one sweep: only state 14 can reach the goal, by a third
    assert float(parts.algorithm.update(None)["train/value_change"]) == pytest.approx(1 / 3)
    # the next: state 14 comes back to itself by a third
    change = parts.algorithm.update(None)["train/value_change"]
    assert float(change) == pytest.approx(0.99 / 9)


@pytest.mark.parametrize("name", ["value_iteration", "policy_iteration"])
def test_planners_need_a_model(name):
    problem = f"{name} needs an environment with a known model; CartPole-v1 has none"
    with pytest.raises(ConfigError, match=rf"{problem} \(try env=FrozenLake-v1\)"):
        build_parts(recipe(f"algo={name}", "env=CartPole-v1"))
