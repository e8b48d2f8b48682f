"""Tabular learners against updates worked out by hand."""

from functools import partial

import pytest
import torch
from gymnasium import spaces

from rlrun.algos.base import Setting
from rlrun.build import build_parts
from rlrun.config import ConfigError
from rlrun.data.collector import Collector
from rlrun.functional.bellman import policy_value
from rlrun.functional.exploration import epsilon_greedy
from rlrun.functional.schedules import Schedule
from rlrun.nets.table import ExplorationConfig, QTable
from rlrun.types import EnvSpec, Fragment
from tests.recipes import recipe

START = {"FrozenLake-v1": 0, "FrozenLake8x8-v1": 0, "CliffWalking-v1": 36}
LIMIT = {"FrozenLake-v1": 100, "FrozenLake8x8-v1": 200}


@pytest.mark.parametrize("name", ["q_learning", "sarsa", "expected_sarsa"])
def test_learners_need_discrete_spaces(name):
    with pytest.raises(ConfigError, match=f"{name} needs Discrete observations"):
        build_parts(recipe(f"algo={name}", "env=Pendulum-v1"))


def learner(name, q, *, gamma=0.5, learning_rate=0.5, epsilon=0.0, num_envs=1):
    """A learner over three states and two actions that holds the values `q`."""
    exploration = ExplorationConfig(
        kind="epsilon_greedy",
        epsilon=Schedule.constant(epsilon),
        temperature=Schedule.constant(1.0),
        ties="first",
    )
    kind = recipe(f"algo={name}").algorithm
    config = kind.Config(
        learning_rate=Schedule.constant(learning_rate),
        gamma=gamma,
        initial_value=0.0,
        exploration=exploration,
    )
    spec = EnvSpec("three", num_envs, spaces.Discrete(3), spaces.Discrete(2))
    algorithm = kind(config, Setting(spec, None, torch.device("cpu")))
    algorithm.policy.q.copy_(torch.tensor(q, dtype=torch.float64))
    return algorithm


def step(obs, action, reward, next_obs, end=""):
    """One step of as many environments as there are columns; `end` has a letter each."""
    row = torch.tensor([obs, action, next_obs]).view(3, 1, -1)
    letters = end.ljust(row.shape[-1])
    flags = [torch.tensor([[letter == kind for letter in letters]]) for kind in "TL"]
    gain = torch.tensor([reward], dtype=torch.float32).view(1, -1)
    return Fragment(row[0], row[1], gain, row[2], *flags, (), {})


def assert_table(algorithm, *rows):
    expected = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(algorithm.policy.q.data, expected)


def test_q_learning_bootstraps_with_the_best_action():
    algorithm = learner("q_learning", [[0, 0], [2, 6], [0, 0]])
    metrics = algorithm.update(step(0, 1, 1, 1))  # 1 + 6 / 2 = 4
    assert_table(algorithm, (0, 2), (2, 6), (0, 0))
    assert float(metrics["train/td_error"]) == 4.0
    algorithm.update(step(0, 0, 1, 1, "L"))  # a time limit is no end
    assert_table(algorithm, (2, 2), (2, 6), (0, 0))
    algorithm.update(step(2, 0, 1, 1, "T"))
    assert_table(algorithm, (2, 2), (2, 6), (0.5, 0))


def test_expected_sarsa_bootstraps_with_the_mean_of_its_policy():
    algorithm = learner("expected_sarsa", [[0, 0], [2, 6], [0, 0]], epsilon=0.5)
    algorithm.update(step(0, 1, 1, 1))  # 1 + (2 / 4 + 6 * 3 / 4) / 2 = 3.5
    assert_table(algorithm, (0, 1.75), (2, 6), (0, 0))
    algorithm.update(step(0, 0, 1, 1, "L"))
    assert_table(algorithm, (1.75, 1.75), (2, 6), (0, 0))
    algorithm.update(step(2, 0, 1, 1, "T"))
    assert_table(algorithm, (1.75, 1.75), (2, 6), (0.5, 0))


def test_parallel_updates_of_one_pair_do_not_overshoot():
    algorithm = learner("q_learning", [[0, 0], [0, 0], [0, 0]], num_envs=3)
    algorithm.update(step((0, 0, 2), (1, 1, 1), (4, 8, 8), (1, 1, 1), "TTT"))
    # two moves by a half towards a mean of 6 leave a quarter of the way
    assert_table(algorithm, (0, 4.5), (0, 0), (0, 4))


def test_sarsa_waits_for_the_action_it_takes():
    algorithm = learner("sarsa", [[0, 0], [2, 6], [0, 0]])
    metrics = algorithm.update(step(0, 1, 1, 1))
    assert "train/td_error" not in metrics
    assert_table(algorithm, (0, 0), (2, 6), (0, 0))
    metrics = algorithm.update(step(1, 0, 9, 2))  # 1 + 2 / 2 = 2, by the worse action
    assert float(metrics["train/td_error"]) == 2.0
    assert_table(algorithm, (0, 1), (2, 6), (0, 0))


def test_sarsa_learns_at_once_from_an_end():
    algorithm = learner("sarsa", [[0, 0], [2, 6], [0, 0]])
    algorithm.update(step(0, 1, 1, 1, "T"))
    assert_table(algorithm, (0, 0.5), (2, 6), (0, 0))
    algorithm.update(step(2, 0, 0, 2))  # another episode: nothing waited
    assert_table(algorithm, (0, 0.5), (2, 6), (0, 0))
    algorithm.update(step(2, 0, 4, 1, "T"))  # the one that waited first: 0 + 0 / 2, then 4
    assert_table(algorithm, (0, 0.5), (2, 6), (2, 0))


def test_sarsa_draws_the_action_after_a_truncation():
    algorithm = learner("sarsa", [[0, 0], [2, 6], [0, 0]])
    algorithm.update(step(0, 1, 1, 1, "L"))  # 1 + 6 / 2 = 4, by the action it would take
    assert_table(algorithm, (0, 2), (2, 6), (0, 0))


def test_sarsa_completes_before_it_learns_from_an_end():
    algorithm = learner("sarsa", [[0, 4], [0, 0], [0, 0]])
    algorithm.update(step(1, 0, 2, 0))
    algorithm.update(step(0, 1, 0, 1, "T"))  # 2 + 4 / 2 = 4 with the value before it halves
    assert_table(algorithm, (0, 2), (2, 0), (0, 0))


def test_sarsa_keeps_environments_apart():
    algorithm = learner("sarsa", [[0, 0], [2, 6], [0, 0]], num_envs=2)
    algorithm.update(step((0, 2), (0, 0), (1, 3), (1, 1), " T"))
    assert_table(algorithm, (0, 0), (2, 6), (1.5, 0))
    algorithm.update(step((1, 0), (1, 1), (0, 0), (2, 2)))  # 1 + 6 / 2, in the first alone
    assert_table(algorithm, (2, 0), (2, 6), (1.5, 0))


@pytest.mark.parametrize(("obs", "taken"), [(1, 2.0), (2, 6.0)])
def test_sarsa_resumes_in_another_episode(obs, taken):
    before = learner("sarsa", [[0, 0], [2, 6], [0, 0]])
    before.update(step(0, 1, 1, 1))
    after = learner("sarsa", [[0, 0], [2, 6], [0, 0]])
    after.parts()["pending"].load_state_dict(before.parts()["pending"].state_dict())
    # where the episode goes on the action taken counts, else one is drawn where it stood
    after.update(step(obs, 0, 0, 0))
    assert float(after.policy.q[0, 1]) == (1 + taken / 2) / 2


def test_fragments_may_be_overwritten():
    algorithm = learner("sarsa", [[0, 0], [2, 6], [0, 0]])
    fragment = step(0, 1, 1, 1)
    algorithm.update(fragment)
    for column in (fragment.obs, fragment.action, fragment.reward, fragment.next_obs):
        column.zero_()
    algorithm.update(step(1, 0, 9, 2))
    assert_table(algorithm, (0, 1), (2, 6), (0, 0))


@pytest.mark.parametrize("name", ["q_learning", "sarsa", "expected_sarsa"])
def test_schedules_are_followed(name):
    words = ["algo.learning_rate={linear: 1.0}", "algo.exploration.kind=boltzmann"]
    temperature = "algo.exploration.temperature={linear: {start: 4, end: 2}}"
    parts = build_parts(recipe(f"algo={name}", "env=FrozenLake-v1", *words, temperature))
    algorithm, env = parts.algorithm, parts.env
    algorithm.anneal(0.5)
    act = partial(algorithm.act, explore=True)
    fragment = Collector(env, algorithm.initial_carry, parts.device, 0).collect(act, 1)
    metrics = algorithm.update(fragment)
    env.close()
    assert metrics["train/learning_rate"] == 0.5
    assert metrics["rollout/exploration_rate"] == 3.0


def test_a_table_explores_as_when_it_was_saved():
    made = learner("q_learning", [[0, 1], [2, 6], [0, 0]], epsilon=0.25).policy
    other = learner("q_learning", [[0, 0], [0, 0], [0, 0]], epsilon=1.0).policy
    other.load_state_dict(made.state_dict())
    assert other.rate == 0.25
    assert other.act(torch.tensor([0, 1, 2]), explore=False).action.tolist() == [1, 1, 0]


def test_a_table_starts_where_it_is_told():
    exploration = recipe("algo=sarsa").algorithm_config.exploration
    spec = EnvSpec("three", 1, spaces.Discrete(3), spaces.Discrete(2))
    assert QTable(spec, exploration, 1.5).q.tolist() == [[1.5, 1.5]] * 3


def trained(name, *words):
    """Train with the preset for the cliff and fewer steps; return the algorithm and the model."""
    torch.manual_seed(0)
    preset = ("env=CliffWalking-v1", "preset=auto", "num_envs=32")
    parts = build_parts(recipe(f"algo={name}", *preset, *words))
    algorithm, env = parts.algorithm, parts.env
    collector = Collector(env, algorithm.initial_carry, parts.device, 0)
    updates = 400
    for update in range(updates):
        algorithm.anneal(update / updates)
        algorithm.update(collector.collect(partial(algorithm.act, explore=True), 1))
    env.close()
    return algorithm, env.spec.model


def value_at_start(algorithm, model, epsilon):
    policy = epsilon_greedy(algorithm.policy.q.data, epsilon, algorithm.policy.ties)
    # a hair below 1: a state that was never seen may have a policy that never ends
    return float(policy_value(model, policy, 1.0 - 1e-9)[START["CliffWalking-v1"]])


@pytest.mark.learning
def test_q_learning_walks_along_the_cliff():
    algorithm, model = trained("q_learning")
    assert value_at_start(algorithm, model, 0.0) == pytest.approx(-13.0, abs=1e-6)
    assert value_at_start(algorithm, model, 0.1) == pytest.approx(-45.8, abs=0.5)


@pytest.mark.learning
def test_sarsa_walks_along_the_cliff_once_it_no_longer_explores():
    algorithm, model = trained("sarsa")
    assert value_at_start(algorithm, model, 0.0) == pytest.approx(-13.0, abs=1e-6)


@pytest.mark.learning
def test_expected_sarsa_keeps_away_from_the_cliff_while_it_explores():
    words = ["algo.exploration.kind=epsilon_greedy", "algo.exploration.epsilon=0.1"]
    algorithm, model = trained("expected_sarsa", *words, "algo.learning_rate=1.0")
    assert value_at_start(algorithm, model, 0.1) == pytest.approx(-20.7, abs=0.1)
    assert value_at_start(algorithm, model, 0.0) == pytest.approx(-15.0, abs=1e-6)
