"""What every `VecEnv` must keep, whatever is behind it: `check_vec_env(make)` asserts all of it."""

from collections.abc import Callable

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from rlrun.data.collector import Collector
from rlrun.envs.base import VecEnv
from rlrun.types import Decision, Obs, Step, leaves, map_obs

Successor = Callable[[Obs, Tensor, Obs], Tensor]
"""From observation, action and next observation to whether the last follows, `[N]` bool."""


def check_vec_env(
    make: Callable[[int], VecEnv],
    *,
    steps: int = 200,
    random: bool = True,
    is_successor: Successor | None = None,
) -> None:
    """Run environments from `make(num_envs)` and assert the contract of `VecEnv`.

    `steps` must be enough for some of three environments to end under random actions. `random` says
    that seeds make a difference. `is_successor` knows the dynamics, so that the successor at an
    episode's end can be told from the first observation of the next.
    """
    env = make(3)
    try:
        check_steps(env, steps, is_successor)
        check_seeds(env, min(steps, 50), random)
        check_statistics(env, steps)
    finally:
        env.close()
    other = make(1)
    other.reset(0)
    check_step(other.step(random_action(other, torch.Generator())), other)
    other.close()


def random_action(env: VecEnv, generator: torch.Generator) -> Tensor:
    """Draw one action an environment, as a policy's head would hand it out."""
    space, count = env.spec.action_space, env.spec.num_envs
    if isinstance(space, spaces.Discrete):
        return torch.randint(int(space.n), (count,), generator=generator)
    if isinstance(space, spaces.MultiDiscrete):
        sizes = space.nvec.tolist()
        return torch.stack([torch.randint(n, (count,), generator=generator) for n in sizes], -1)
    size = int(torch.Size(space.shape or ()).numel())
    if isinstance(space, spaces.MultiBinary):
        return torch.randint(2, (count, size), generator=generator)
    return 2.0 * torch.randn(count, size, generator=generator)


def check_obs(obs: Obs, space: Space, count: int) -> None:
    """Assert structure, shape, type and bounds of an observation batch."""
    if isinstance(space, spaces.Dict):
        assert isinstance(obs, dict)
        assert list(obs) == list(space.spaces)
        for key, part in space.spaces.items():
            check_obs(obs[key], part, count)
        return
    assert isinstance(obs, Tensor)
    assert obs.shape == (count, *(space.shape or ()))
    assert not obs.is_floating_point() or obs.dtype == torch.float32
    assert obs.is_floating_point() == (isinstance(space, spaces.Box) and space.dtype.kind == "f")
    for row in obs.numpy():
        member = np.asarray(row) if isinstance(space, spaces.Box) else row
        assert space.contains(member), f"{row} is not in {space}"


def check_step(step: Step, env: VecEnv) -> None:
    """Assert what holds of every single step."""
    count = env.spec.num_envs
    for obs in (step.obs, step.next_obs):
        check_obs(obs, env.spec.obs_space, count)
    columns = {"reward": torch.float32, "terminated": torch.bool, "truncated": torch.bool}
    for name, dtype in columns.items():
        column = getattr(step, name)
        assert column.dtype == dtype, f"{name} is {column.dtype}"
        assert column.shape == (count,), f"{name} has the shape {tuple(column.shape)}"
    assert step.success is None or step.success.shape == (count,), "success has another shape"
    going = ~(step.terminated | step.truncated)
    for now, after in zip(leaves(step.obs), leaves(step.next_obs), strict=True):
        assert torch.equal(now[going], after[going]), "a step inside an episode has two successors"
    if not going.all():
        assert step.obs is not step.next_obs, "an end has the same tensor before and after"


def check_steps(env: VecEnv, steps: int, is_successor: Successor | None) -> None:
    """Assert each step, the reset at ends, and that nothing handed out is written to again."""
    generator = torch.Generator().manual_seed(0)
    obs = env.reset(1)
    check_obs(obs, env.spec.obs_space, env.spec.num_envs)
    handed: list[tuple[Tensor, Tensor]] = []
    ends = moved = 0
    for _ in range(steps):
        action = random_action(env, generator)
        step = env.step(action)
        check_step(step, env)
        if is_successor is not None:
            assert is_successor(obs, action, step.next_obs).all(), "not the true successor"
        done = step.terminated | step.truncated
        ends += int(done.sum())
        pairs = zip(leaves(step.obs), leaves(step.next_obs), strict=True)
        moved += any(not torch.equal(now[done], after[done]) for now, after in pairs)
        every = [*leaves(step.obs), *leaves(step.next_obs), *step[1:4]]
        handed += [(tensor, tensor.clone()) for tensor in every]
        obs = step.obs
    assert ends > 0, f"no episode ended in {steps} steps, so nothing was shown"
    assert moved > 0, "at no end did the next episode start elsewhere than the last one stopped"
    assert all(torch.equal(now, then) for now, then in handed), "a tensor was overwritten later"


def trace(env: VecEnv, seed: int, steps: int) -> list[Tensor]:
    """Return all observations and rewards of one seed under the same actions."""
    generator = torch.Generator().manual_seed(0)
    seen = leaves(map_obs(torch.clone, env.reset(seed)))
    for _ in range(steps):
        action = random_action(env, generator)
        step = env.step(action[:1].expand_as(action))  # all environments act alike
        seen += [*leaves(step.obs), *leaves(step.next_obs), *step[1:4]]
    return seen


def check_seeds(env: VecEnv, steps: int, random: bool) -> None:
    """Assert that the seed decides everything, and that environments are not copies."""
    first, again, other = (trace(env, seed, steps) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)), "same seed differs"
    if random:
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True)), "seed ignored"
        twins = all(torch.equal(row[:1].expand_as(row), row) for row in first)
        assert not twins, "all environments do the same"


def check_statistics(env: VecEnv, steps: int) -> None:
    """Assert that a collector over fragments counts what a step by step account counts."""
    generator = torch.Generator().manual_seed(0)
    collector = Collector(env, lambda _: (), torch.device("cpu"), seed=5)
    rewards, ends = [], []
    for _ in range(max(steps // 7, 1)):
        fragment = collector.collect(lambda *_: Decision(random_action(env, generator)), 7)
        rewards += fragment.reward.tolist()
        ends += fragment.done.tolist()
    finished: list[tuple[int, float, int]] = []
    for n in range(env.spec.num_envs):
        earned, length = 0.0, 0
        for t, (reward, done) in enumerate(zip(rewards, ends, strict=True)):
            earned, length = earned + reward[n], length + 1
            if done[n]:
                finished.append((t, earned, length))
                earned, length = 0.0, 0
    last = sorted(finished, key=lambda episode: episode[0])[-100:]
    assert last, f"no episode ended in {steps} steps, so nothing was shown"
    if len(finished) <= 100:  # among more, which of those of one step count is not defined
        summary = collector.episodes()
        assert abs(summary["rollout/ep_rew_mean"] - sum(e[1] for e in last) / len(last)) < 1e-3
        assert abs(summary["rollout/ep_len_mean"] - sum(e[2] for e in last) / len(last)) < 1e-9
