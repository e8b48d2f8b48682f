"""Every backend keeps the contract of `VecEnv`, and says by name what it cannot do."""

import sys

import numpy as np
import pytest
import torch

from rlrun.config import ConfigError
from rlrun.envs.adapter import EnvConfig
from rlrun.envs.make import make_vec_env
from rlrun.envs.wrappers.chain import Wrappers
from rlrun.types import leaves
from tests.envs.conformance import check_vec_env
from tests.recipes import recipe, trained

for name in ("envpool", "ale_py", "pettingzoo", "mpe2"):
    pytest.importorskip(name)

CPU = torch.device("cpu")
ATARI = {
    "frameskip": 1,
    "repeat_action_probability": 0.0,
    "obs_type": "grayscale",
    "max_num_frames_per_episode": 160,
}
SMALL = {"name": "atari", "noop_max": 4, "skip": 4, "size": 20, "stack": 2}
FLAGS = {"episodic_life": True, "fire_reset": True, "clip_reward": True}


def config(env_id: str, vectorization: str, wrappers=(), **kwargs) -> EnvConfig:
    return EnvConfig(
        name=env_id,
        id=env_id,
        kwargs=kwargs,
        drop=(),
        success="info",
        wrappers=Wrappers.parse(list(wrappers)),
        vectorization=vectorization,
    )


def atari(vectorization: str, env_id: str = "ALE/Breakout-v5", **options) -> EnvConfig:
    return config(env_id, vectorization, [{**SMALL, **FLAGS, **options}], **ATARI)


BACKENDS = {
    "sync": config("CartPole-v1", "sync"),
    "async": config("CartPole-v1", "async"),
    "torch": config("CartPole-v1", "torch"),
    "ale": atari("ale"),
    "envpool": config("CartPole-v1", "envpool"),
    "envpool continuous": config("Pendulum-v1", "envpool", max_episode_steps=20),
    "envpool discrete": config("FrozenLake-v1", "envpool"),
    "pettingzoo mpe": config("pettingzoo/mpe/simple_spread_v3", "auto", N=1),
    "pettingzoo sisl": config("pettingzoo/sisl/multiwalker_v9", "auto", n_walkers=1),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_keeps_the_contract(name):
    made = BACKENDS[name]
    check_vec_env(lambda count: make_vec_env(made, count, CPU, round_up=True), steps=100)


def follows(obs, action, next_obs):
    """Whether a cart moved by its velocity, which is so at each step but at a reset."""
    return (next_obs[:, 0] - obs[:, 0] - 0.02 * obs[:, 1]).abs() < 1e-6


@pytest.mark.parametrize("name", ["sync", "async", "torch", "envpool"])
def test_the_successor_of_a_last_step_is_the_true_one(name):
    made = BACKENDS[name]
    check_vec_env(lambda count: make_vec_env(made, count, CPU), steps=60, is_successor=follows)


def ends(env, steps: int, act) -> list[tuple[int, int, bool, bool]]:
    """Return the step, the row and the flags of each end."""
    env.reset(0)
    found = []
    for t in range(1, steps + 1):
        step = env.step(act(env))
        for n in (step.terminated | step.truncated).nonzero().flatten().tolist():
            found.append((t, n, bool(step.terminated[n]), bool(step.truncated[n])))
    env.close()
    return found


def test_of_envpool_no_step_is_lost_to_a_reset():
    env = make_vec_env(config("Pendulum-v1", "envpool", max_episode_steps=7), 3, CPU)
    found = ends(env, 21, lambda env: torch.zeros(3, 1))
    assert found == [(t, n, False, True) for t in (7, 14, 21) for n in range(3)]


def test_envpool_resets_only_those_that_ended():
    """A cart pushed one way falls within ten steps; one pushed in turns stands for longer."""
    env = make_vec_env(config("CartPole-v1", "envpool"), 2, CPU)
    before = env.reset(0)
    for t in range(12):
        step = env.step(torch.tensor([1, t % 2]))
        done = step.terminated | step.truncated
        assert follows(before, None, step.next_obs).all()
        if done.any():
            assert done.tolist() == [True, False]
            assert step.obs[0].abs().max() < 0.05  # where an episode starts
            assert torch.equal(step.obs[1], step.next_obs[1])
            return
        before = step.obs
    raise AssertionError("the cart did not fall")


def test_lower_bounds_of_envpool_let_negative_numbers_in():
    space = make_vec_env(config("LunarLander-v3", "envpool"), 1, CPU).spec.obs_space
    assert space.contains(np.full(8, -1.0, dtype=np.float32))


def test_atari_of_envpool_is_known_as_a_stack():
    spec = make_vec_env(config("Pong-v5", "envpool", stack_num=3), 1, CPU).spec
    assert (spec.frame_stack, spec.obs_space.shape) == (3, (3, 84, 84))


def games(vectorization: str) -> list[torch.Tensor]:
    """Return what 12 steps of Pong show from its start, without random no-ops."""
    made = atari(vectorization, "ALE/Pong-v5", noop_max=0, fire_reset=False, size=84, stack=1)
    env = make_vec_env(made, 1, CPU)
    seen = [env.reset(0)]
    for t in range(12):
        seen.append(env.step(torch.tensor([2 + t // 6])).obs)
    env.close()
    return seen


def test_ale_shows_what_the_wrappers_show():
    assert all(torch.equal(a, b) for a, b in zip(games("ale"), games("sync"), strict=True))


def test_ale_goes_on_with_the_game_where_a_life_ends_and_stops_at_the_limit():
    """Breakout starts with 5 lives; only the limit, or the last one, starts another game."""
    lives = ends(make_vec_env(atari("ale"), 2, CPU), 80, lambda env: torch.ones(2).long())
    games = ends(
        make_vec_env(atari("ale", episodic_life=False), 2, CPU),
        80,
        lambda env: torch.ones(2).long(),
    )
    assert any(terminated for *_, terminated, _ in lives)
    assert all(truncated and not terminated for *_, terminated, truncated in games)
    assert {t for t, *_, truncated in lives if truncated} == {t for t, *_ in games}


def test_ale_stores_frames_once_and_clips_only_in_training():
    spec = make_vec_env(atari("ale"), 2, CPU).spec
    assert (spec.frame_stack, spec.obs_space.shape, spec.action_space.n) == (2, (2, 20, 20), 4)
    scored = atari("ale").for_evaluation().wrappers.entries[0]
    assert (scored.episodic_life, scored.clip_reward) == (False, False)


SPREAD = config("pettingzoo/mpe/simple_spread_v3", "auto", max_cycles=5)


def test_each_agent_of_each_copy_is_a_row_and_all_end_together():
    env = make_vec_env(SPREAD, 6, CPU)
    assert (env.spec.num_envs, env.spec.obs_space.shape) == (6, (18,))
    found = ends(env, 10, lambda env: torch.zeros(6).long())
    assert found == [(t, n, False, True) for t in (5, 10) for n in range(6)]


def test_rows_belong_to_the_agents_in_their_order():
    """An agent sees its own velocity first; action 2 speeds it up along x, 1 slows it down."""
    env = make_vec_env(SPREAD, 6, CPU)
    env.reset(0)
    obs = env.step(torch.tensor([0, 1, 2, 2, 1, 0])).obs
    assert obs[:, 0].sign().tolist() == [0, -1, 1, 1, -1, 0]
    assert obs[:, 1].tolist() == [0] * 6


def test_rows_that_are_no_multiple_of_the_agents_are_refused_with_the_fix():
    with pytest.raises(ConfigError, match=r"num_envs: 8 is no multiple of the 3 agents.*6 or 9"):
        make_vec_env(SPREAD, 8, CPU)
    with pytest.raises(ConfigError, match=r"num_envs: 2 is no multiple.*use 3"):
        make_vec_env(SPREAD, 2, CPU)
    assert make_vec_env(SPREAD, 4, CPU, round_up=True).spec.num_envs == 6


def test_agents_are_trained_and_scored_like_any_environment(tmp_path):
    """Of 4 environments to score, two copies of three agents are made; episodes take 5 steps."""
    made = recipe(
        *("algo=ppo", "env=pettingzoo/mpe/simple_spread_v3", "env.kwargs.max_cycles=5"),
        *("num_envs=6", "algo.n_steps=8", "algo.batch_size=16", "total_timesteps=96"),
        *("final_eval_episodes=7", "eval_num_envs=4", "accel=off", "device=cpu"),
    )
    _, rows = trained(tmp_path / "run", made)
    last = rows[-1]
    assert (last["eval/episodes"], last["eval/mean_ep_length"]) == (7, 5)


def test_an_agent_that_ends_before_the_others_is_refused_when_it_does():
    alone = config("pettingzoo/sisl/multiwalker_v9", "auto", terminate_on_fall=False)
    env = make_vec_env(alone, 3, CPU)
    env.reset(0)
    with pytest.raises(ConfigError, match=r"walker_. of pettingzoo/sisl/.* before the others"):
        ends_of_walkers(env)
    env.close()


def ends_of_walkers(env) -> None:
    for _ in range(300):
        env.step(torch.randn(3, 4))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (config("CartPol-v1", "envpool"), r"EnvPool has no .* did you mean CartPole-v1"),
        (config("ALE/Pong-v5", "envpool"), "did you mean Pong-v5"),
        (config("CartPole-v1", "envpool", max_episode_step=5), "did you mean max_episode_steps"),
        (config("CartPole-v1", "envpool", num_envs=5), r"env\.kwargs\.num_envs: follows from"),
        (config("CartPole-v1", "envpool", max_episode_steps="a"), "cannot be made"),
        (config("CartPole-v1", "envpool", ["flatten"]), r"env\.wrappers: EnvPool"),
        (config("CartPole-v1", "ale"), r"env\.vectorization: ale is for Atari"),
        (config("ALE/Pon-v5", "ale"), r"did you mean ALE/Pong-v5"),
        (config("ALE/Pong-v5", "ale", **ATARI), r"env\.wrappers: .* needs \[atari\]"),
        (
            config("ALE/Pong-v5", "ale", [{**SMALL, **FLAGS}]),
            r"env\.kwargs\.frameskip: 4 must be 1",
        ),
        (config("ALE/Pong-v5", "ale", [{**SMALL, **FLAGS}], mode=1), r"env\.kwargs\.mode: .*=sync"),
        (config("pettingzoo/sisl/pursuit_v4", "auto"), "did you mean pettingzoo/sisl/pursuit_v5"),
        (config("pettingzoo/mpe/simple_spread_v3", "async"), r"env\.vectorization: Petting"),
        (config("pettingzoo/mpe/simple_spread_v3", "auto", ["flatten"]), r"env\.wrappers: Pett"),
        (config("pettingzoo/mpe/simple_spread_v3", "auto", n=2), r"env\.kwargs: .*'n'"),
        (
            config("pettingzoo/mpe/simple_speaker_listener_v4", "auto"),
            "differ in their observation",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(made, message):
    with pytest.raises(ConfigError, match=message):
        make_vec_env(made, 6, CPU)


@pytest.mark.parametrize(
    ("made", "module", "extra"),
    [
        (BACKENDS["envpool"], "envpool", "envpool"),
        (SPREAD, "pettingzoo", "pettingzoo"),
        (SPREAD, "mpe2", "pettingzoo"),
    ],
)
def test_a_backend_that_is_not_installed_names_its_extra(made, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'rlrun\[{extra}\]'"):
        make_vec_env(made, 3, CPU)


def test_dicts_of_agents_are_batched(monkeypatch):
    """Two agents that see a Dict, whose numbers say who sees them and when."""
    from rlrun.envs import parallel
    from tests.envs.pair import Pair

    monkeypatch.setattr(parallel, "parallel_maker", lambda env_id: Pair)
    env = make_vec_env(config("pettingzoo/tests/pair", "auto"), 4, CPU)
    assert env.reset(0)["who"].tolist() == [[0.0], [1.0], [0.0], [1.0]]
    step = env.step(torch.tensor([0, 1, 1, 0]))
    assert step.reward.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert [leaf.shape[0] for leaf in leaves(step.obs)] == [4, 4]
    step = env.step(torch.zeros(4).long())
    assert step.terminated.tolist() == [True, False, True, False]
    assert step.truncated.tolist() == [False, True, False, True]
    assert step.next_obs["age"].flatten().tolist() == [2.0] * 4
    assert step.obs["age"].flatten().tolist() == [0.0] * 4
