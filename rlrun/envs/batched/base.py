"""What all batched environments share: time limits, resets in the same step, random numbers."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import torch
from gymnasium import Space
from torch import Tensor

from rlrun.envs.base import Unrolled
from rlrun.envs.spaces import adapt_obs_space
from rlrun.types import ActFn, EnvSpec, Fragment, Obs, Step, TabularModel, Transform

LIMIT = 2**62  # steps of an environment that has no time limit
POOL = 1024  # first states drawn at once


class Dynamics(ABC):
    """The rules of one environment, as functions from a batch of states `[N, ...]` to another.

    States of continuous environments are float64, as Gymnasium computes them, so that a long run
    differs from Gymnasium's by rounding only; what leaves is float32.
    """

    kwargs: ClassVar[tuple[str, ...]] = ()
    random: ClassVar[bool] = False
    """Whether a step draws random numbers; a reset may in any case."""
    model: TabularModel | None = None

    def __init__(self, env: gym.Env[Any, Any], device: torch.device) -> None:
        """Read what is needed from one Gymnasium environment made with the user's options."""
        self.obs_space: Space[Any] = adapt_obs_space(env.observation_space)
        self.action_space: Space[Any] = env.action_space
        self.device = device

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return first states `[count, ...]`."""

    @abstractmethod
    def step(
        self, state: Tensor, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next state, the reward `[N]` float32 and where the task ended `[N]` bool.

        `generator` is None only where a step is not `random`.
        """

    @abstractmethod
    def observe(self, state: Tensor) -> Tensor:
        """Return what an agent sees of states."""

    def uniform(self, low: float, high: float, size: tuple[int, ...], source: Any) -> Tensor:
        """Draw float64 numbers."""
        drawn = torch.rand(size, dtype=torch.float64, device=self.device, generator=source)
        return drawn.mul_(high - low).add_(low)


class BatchedEnv:
    """N environments of one kind as a `VecEnv` on any device."""

    def __init__(self, name: str, dynamics: Dynamics, num_envs: int, limit: int | None) -> None:
        self._dynamics, self._limit = dynamics, LIMIT if limit is None else limit
        self._generator = torch.Generator(dynamics.device)
        self._state = torch.empty(0)
        self._pool: list[Tensor] = []
        self._age = torch.zeros(num_envs, dtype=torch.int64, device=dynamics.device)
        self.spec = EnvSpec(
            name, num_envs, dynamics.obs_space, dynamics.action_space, dynamics.model
        )

    def reset(self, seed: int) -> Tensor:
        """Start an episode in every environment."""
        self._generator.manual_seed(seed)
        self._pool.clear()
        self._state = self._dynamics.draw(self.spec.num_envs, self._generator)
        self._age = torch.zeros_like(self._age)
        return self._dynamics.observe(self._state)

    @torch.no_grad()
    def step(self, action: Tensor) -> Step:
        """Take one step in every environment, resetting those that end."""
        dynamics = self._dynamics
        state, reward, terminated = dynamics.step(self._state, action, self._generator)
        age = self._age + 1
        truncated = age >= self._limit
        next_obs = obs = dynamics.observe(state)
        done = terminated | truncated
        if done.any():
            fresh = dynamics.draw(len(age), self._generator)
            state = torch.where(done.view(-1, *[1] * (state.ndim - 1)), fresh, state)
            age = torch.where(done, 0, age)
            obs = dynamics.observe(state)
        self._state, self._age = state, age
        return Step(obs, reward, terminated, truncated, next_obs)

    @property
    def unrolls(self) -> bool:
        """Whether `unroll` is possible: only resets are random."""
        return not self._dynamics.random

    def unroll(self, act: ActFn, steps: int, transform: Transform) -> Unrolled:
        """Return a function that takes K steps of policy and environments as one piece of tensors.

        From the observation to act on it gives a fragment `[K, N, ...]` and the observation after
        it. What it computes goes through `transform`, such as a compiler; the policy must depend on
        nothing but the observation and on tensors. First states are drawn for every step, whether
        an episode ends there or not, so the random numbers are others than those of `step`.
        """
        count, dynamics = self.spec.num_envs, self._dynamics
        limit = self._limit

        def function(*tensors: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
            return _steps(act, dynamics, limit, *tensors)

        fast = transform(function)
        times, pool = max(POOL // (steps * count), 1), self._pool
        pool.clear()
        self._state, self._age = self._state.clone(), self._age.clone()  # as the collector does

        def unrolled(obs: Obs) -> tuple[Fragment, Obs]:
            if not pool:  # for many calls at once, as a draw costs the same for one or a thousand
                fresh = dynamics.draw(times * steps * count, self._generator)
                pool.extend(fresh.unflatten(0, (times, steps, count)).unbind(0))
            first = pool.pop()
            columns, obs, self._state, self._age = fast(obs, self._state, self._age, first)
            return Fragment(*columns, (), {}), obs  # type: ignore[call-arg]

        return unrolled

    def close(self) -> None:
        """Nothing is held open."""


def _steps(
    act: ActFn,
    dynamics: Dynamics,
    limit: int,
    obs: Tensor,
    state: Tensor,
    age: Tensor,
    fresh: Tensor,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Return the columns of one step for each of the first states `fresh` `[K, N, ...]`."""
    rows = []
    for first in fresh.unbind(0):
        action = act(obs, ()).action
        state, reward, terminated = dynamics.step(state, action, None)
        age = age + 1
        truncated = age >= limit
        rows.append((obs, action, reward, dynamics.observe(state), terminated, truncated))
        done = terminated | truncated
        state = torch.where(done.view(-1, *[1] * (state.ndim - 1)), first, state)
        age = torch.where(done, 0, age)
        obs = dynamics.observe(state)
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    return columns, obs, state, age
