"""What every algorithm must keep: each YAML in `conf/algo` is put through all of it."""

import dataclasses
import math
from functools import cache

import pytest
import torch
from torch import nn

from rlrun import checkpoint
from rlrun.build import build_parts
from rlrun.checkpoint import join_state, split_state
from rlrun.conf_dir import conf_dir
from rlrun.config import ConfigError, parse
from rlrun.data.collector import Collector
from rlrun.nets.learner import Learner
from rlrun.schema import check
from tests.envs.tiny import ACTIONS, OBS
from tests.recipes import ALGORITHMS, changed, recipe, trained

CANDIDATES = ("CartPole-v1", "FrozenLake-v1", "Pendulum-v1")
SHORT = {
    **{"total_timesteps": 128, "log_every": 16, "save_every": 64, "eval_every": 64},
    **{"eval_episodes": 2, "final_eval_episodes": 4, "eval_num_envs": 2},
}
SMALL = {
    **{"n_steps": 8, "batch_size": 32, "n_epochs": 2},
    **{"learning_starts": 32, "buffer_size": 2048, "critic_sizes": (16, 16)},
}
"""Options that make an algorithm learn within a short run, for those that have them."""
NARROW = {"sizes": (16, 16)}

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


@cache
def fitting(name: str):
    """Return a short recipe in the first environment that the algorithm can act in."""
    for env_id in CANDIDATES:
        made = recipe(f"algo={name}", f"env={env_id}", "preset=none", "device=cpu")
        made = changed(made, SMALL, NARROW, **SHORT)
        try:
            build_parts(made).env.close()
        except ConfigError as refused:
            if name not in str(refused):
                raise AssertionError("a refusal names the algorithm") from refused
            continue
        return made
    raise AssertionError(f"{name} can be built in none of {CANDIDATES}")


@pytest.fixture(scope="module", params=ALGORITHMS)
def runs(request, tmp_path_factory):
    """Return a folder, and three short runs in it: two of one seed, the last of another."""
    folder, made = tmp_path_factory.mktemp(request.param), fitting(request.param)
    seeds = enumerate((0, 0, 1))
    return folder, made, [trained(folder / str(k), changed(made, seed=seed)) for k, seed in seeds]


@every_algorithm
def test_has_a_page(name):
    page = conf_dir().parent / "docs" / "algorithms" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"algo={name}" in text
    for option in dataclasses.fields(recipe(f"algo={name}").algorithm.Config):
        assert option.name in text, f"the page does not say what {option.name} does"


@every_algorithm
def test_refuses_unknown_and_missing_keys(name):
    made = recipe(f"algo={name}")
    values = made.plain()
    options = {key: value for key, value in values["algo"].items() if key != "name"}
    with pytest.raises(ConfigError, match=r"algo\.no_such_key: unknown key"):
        check({**values, "algo": {**values["algo"], "no_such_key": 1}})
    for key in options:
        problems = []
        fewer = {k: value for k, value in options.items() if k != key}
        assert parse(made.algorithm.Config, fewer, "algo.", problems) is None
        assert [(each.key, each.message) for each in problems] == [(f"algo.{key}", "is missing")]


@every_algorithm
def test_options_have_meanings_and_their_ranges_hold(name):
    made = recipe(f"algo={name}")
    options = {key: value for key, value in made.plain()["algo"].items() if key != "name"}
    for option in dataclasses.fields(made.algorithm.Config):
        assert option.metadata["meaning"]
        ends = ((option.metadata["low"][0], -1), (option.metadata["high"][0], 1))
        for value in [limit + beyond for limit, beyond in ends if limit is not None]:
            problems = []
            listed = isinstance(options[option.name], list)
            wrong = {**options, option.name: [value] if listed else value}
            assert parse(made.algorithm.Config, wrong, "", problems) is None
            assert [each.key for each in problems] == [option.name]


def test_trains_to_its_end(runs):
    folder, made, ((algorithm, rows), *_) = runs
    last = rows[-1]
    assert last["eval/episodes"] == 4.0
    assert math.isfinite(last["eval/mean_reward"])
    figures = {key for row in rows for key, value in row.items() if value is not None}
    learned = {key for key in figures if key.startswith("train/")}
    assert learned - {"train/learning_rate"}, "nothing was learned in a short run"
    saved, warnings = checkpoint.load_newest(folder / "0" / "checkpoints", with_resume=True)
    assert warnings == []
    assert saved.step == last["step"]
    total = made.run.total_timesteps
    if not algorithm.converged:
        assert total <= saved.step < total + max(algorithm.horizon, 1) * made.run.num_envs


def test_the_seed_decides_the_figures(runs):
    first, again, other = ([_steady(row) for row in rows] for _, rows in runs[2])
    assert first == again
    if runs[2][0][0].horizon:
        assert first != other
    else:  # a planner draws nothing while it plans
        plans = [[row for row in rows if "eval/episodes" not in row] for rows in (first, other)]
        assert plans[0] == plans[1] != []


def _steady(row):
    return {key: value for key, value in row.items() if key not in ("wall_time", "time/fps")}


def _state(algorithm):
    states = {name: part.state_dict() for name, part in algorithm.parts().items()}
    return join_state(*split_state(states))


def assert_same(state, other, path=""):
    """Assert that two nested states are equal, and name the place where they are not."""
    assert type(state) is type(other), path
    if isinstance(state, dict):
        assert state.keys() == other.keys(), path
        for key in state:
            assert_same(state[key], other[key], f"{path}/{key}")
    elif isinstance(state, torch.Tensor):
        torch.testing.assert_close(state, other, rtol=0, atol=0, equal_nan=True, msg=path)
    else:
        assert state == other, path


@torch.no_grad()
def test_its_parts_carry_all_that_acting_needs(runs):
    algorithm, fresh = runs[2][0][0], build_parts(changed(runs[1], seed=7))
    state = _state(algorithm)
    for name, part in fresh.algorithm.parts().items():
        part.load_state_dict(state.get(name, {}))
    assert_same(_state(fresh.algorithm), state)

    obs, carry = fresh.env.reset(3), algorithm.initial_carry(fresh.env.spec.num_envs)
    for explore in (False, True) * 5:
        decisions = []
        for draw, each in enumerate((algorithm, fresh.algorithm)):
            torch.manual_seed(11 if explore else draw)  # without exploration nothing is drawn
            decisions.append(each.act(obs, carry, explore=explore))
        assert torch.equal(decisions[0].action, decisions[1].action)
        obs = fresh.env.step(decisions[0].action).obs
    fresh.env.close()


def test_its_parts_leave_nothing_out(runs):
    algorithm = runs[2][0][0]
    held = list(algorithm.parts().values())
    modules = [module for part in held if isinstance(part, nn.Module) for module in part.modules()]
    assert "policy" in algorithm.parts()
    for name, value in vars(algorithm).items():
        if isinstance(value, Learner):
            assert any(value is part for part in held), f"the optimizer {name} is in no part"
        if isinstance(value, nn.Module):
            assert any(value is module for module in modules), f"{name} is in no part"


def test_building_draws_from_the_seed_alone(runs):
    states = []
    for noise, seed in enumerate((0, 0, 1)):
        torch.manual_seed(noise)
        parts = build_parts(changed(runs[1], seed=seed))
        parts.env.close()
        states.append(_state(parts.algorithm)["policy"])
    assert_same(states[0], states[1])
    if any(isinstance(value, Learner) for value in vars(parts.algorithm).values()):
        assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@every_algorithm
def test_learns_in_every_space_it_claims(name):
    made = recipe(f"algo={name}", "env=tests.envs.tiny:Spaces-v0", "preset=none", "device=cpu")
    made, kind = changed(made, SMALL, NARROW), made.algorithm
    shown = [key for key, case in OBS.items() if isinstance(case.adapted, kind.obs_spaces)]
    taken = [key for key, (space, *_) in ACTIONS.items() if isinstance(space, kind.action_spaces)]
    tried = [*((obs, taken[0]) for obs in shown), *((shown[0], action) for action in taken[1:])]
    refused = 0
    for obs, action in tried:
        env = dataclasses.replace(made.run.env, kwargs={"obs": obs, "action": action})
        try:
            parts = build_parts(changed(made, env=env))
        except ConfigError as fault:
            refused += 1
            spaces = (str(OBS[obs].adapted), str(ACTIONS[action][0]), "known model")
            if not any(space in str(fault) for space in spaces):
                raise AssertionError("a refusal names the space, or what is missing") from fault
            continue
        for key, value in _learn(parts).items():
            finite = math.isfinite(float(value)) or key == "train/explained_variance"
            assert finite, f"{key} is {value} with {obs} observations and {action} actions"
        parts.env.close()
    assert refused < len(tried) or kind.horizon == 0


def _learn(parts):
    """Return the figures of the first update that learned."""
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, seed=0)
    for _ in range(100):
        fragment = collector.collect(
            lambda obs, carry: algorithm.act(obs, carry, explore=True), algorithm.horizon
        )
        metrics = algorithm.update(fragment)
        if metrics.keys() - {"train/learning_rate", "rollout/exploration_rate"}:
            return metrics
    raise AssertionError("nothing was learned from 100 fragments")
