"""PettingZoo's parallel environments with one shared policy: each agent of each copy is a row.

The agents of a copy start and end together; an environment in which one of them ends before the
others is refused at that step, because a row without an agent would be filled with junk.
"""

import os
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from gymnasium import Space
from torch import Tensor

from rlrun.config import ConfigError, Problem
from rlrun.envs.adapter import EnvConfig
from rlrun.envs.base import spread_seed
from rlrun.envs.foreign import parallel_maker
from rlrun.envs.in_process import gather
from rlrun.envs.spaces import action_writer, adapt_obs_space, obs_reader
from rlrun.types import EnvSpec, Obs, Step


class ParallelEnv:
    """Rows of agents: those of the first copy, then those of the second, and so on.

    `num_envs` counts rows, and must be a multiple of the agents; with `round_up` it is the least
    number. Raises ConfigError where agents differ in their spaces.
    """

    def __init__(
        self,
        config: EnvConfig,
        num_envs: int,
        *,
        render_mode: str | None = None,
        round_up: bool = False,
    ) -> None:
        _refuse(config)
        self._id = config.id
        first = _make(config, render_mode)
        self._agents: list[Any] = list(first.possible_agents)
        self._copies = [first]
        if num_envs % len(self._agents) and not round_up:
            raise _uneven(config.id, num_envs, len(self._agents))
        copies = -(-num_envs // len(self._agents))
        self._copies += [_make(config, render_mode) for _ in range(copies - 1)]
        self._space = _shared(config.id, "observation", first.observation_space, self._agents)
        action_space = _shared(config.id, "action", first.action_space, self._agents)
        self._read, self._write = obs_reader(self._space), action_writer(action_space)
        self._sources: list[np.random.Generator] = []
        rows = copies * len(self._agents)
        self.spec = EnvSpec(config.name, rows, adapt_obs_space(self._space), action_space)

    def reset(self, seed: int) -> Obs:
        """Start an episode in every copy."""
        seeds = spread_seed(seed, len(self._copies))
        self._sources = [np.random.default_rng(each) for each in seeds]
        rows = [row for index in range(len(seeds)) for row in self._restart(index)]
        return self._read(gather(self._space, rows))

    def step(self, action: Tensor) -> Step:
        """Take one step in every copy, resetting those that end."""
        actions, size = self._write(action), len(self._agents)
        rewards = np.empty(self.spec.num_envs, dtype=np.float32)
        flags = np.empty((2, self.spec.num_envs), dtype=bool)
        rows: list[Any] = []
        successors: list[Any] = []
        over = False
        for index, env in enumerate(self._copies):
            part = slice(index * size, (index + 1) * size)
            obs, reward, *ends, _ = env.step(dict(zip(self._agents, actions[part], strict=True)))
            ended = self._ended(*ends)
            rewards[part] = [reward[agent] for agent in self._agents]
            flags[:, part] = [[end[agent] for agent in self._agents] for end in ends]
            last = [obs[agent] for agent in self._agents]
            if ended:
                last = deepcopy(last)  # an environment may hand out buffers that reset writes into
                over = True
            successors += last
            rows += self._restart(index) if ended else last
        now = self._read(gather(self._space, rows))
        following = self._read(gather(self._space, successors)) if over else now
        terminated, truncated = torch.from_numpy(flags)
        return Step(now, torch.from_numpy(rewards), terminated, truncated, following)

    def render(self) -> Any:
        """Return the first copy's picture, `[height, width, 3]` uint8."""
        return self._copies[0].render()

    @property
    def render_modes(self) -> list[str]:
        """The ways in which the environment can be shown."""
        return list(self._copies[0].metadata.get("render_modes", []))

    @property
    def frames_per_second(self) -> int:
        """The speed at which the environment means to be shown."""
        return int(self._copies[0].metadata.get("render_fps", 30))

    def close(self) -> None:
        """Release windows."""
        for env in self._copies:
            env.close()

    def _restart(self, index: int) -> list[Any]:
        """Start an episode in one copy and return its agents' observations.

        Always with a seed: some environments start from the clock where none is given.
        """
        env, seed = self._copies[index], int(self._sources[index].integers(2**31))
        obs, _ = env.reset(seed=seed)
        if set(env.agents) != set(self._agents):
            missing = ", ".join(str(each) for each in self._agents if each not in env.agents)
            raise _refused(f"{self._id} starts without {missing}; all agents must take part")
        return [obs[agent] for agent in self._agents]

    def _ended(self, terminated: dict[Any, bool], truncated: dict[Any, bool]) -> bool:
        ended = [a for a in self._agents if terminated.get(a, True) or truncated.get(a, True)]
        if ended and len(ended) < len(self._agents):
            left = ", ".join(str(each) for each in ended)
            reason = f"of {self._id} ended before the others; agents have to end together here"
            raise _refused(f"{left} {reason}, see whether env.kwargs can have it so")
        return bool(ended)


def _make(config: EnvConfig, render_mode: str | None) -> Any:
    if render_mode != "human":
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # some draw even where nobody looks
    maker = parallel_maker(config.id)
    try:
        return maker(**config.kwargs, render_mode=render_mode)
    except (TypeError, ValueError, AssertionError) as fault:
        reason = (str(fault).splitlines() or [type(fault).__name__])[0]
        problem = Problem("env.kwargs", f"{config.id} cannot be made: {reason}")
        raise ConfigError(problem) from fault


def _shared(env_id: str, kind: str, space_of: Any, agents: list[Any]) -> Space[Any]:
    """Return the one space that all agents have."""
    found: Space[Any] = space_of(agents[0])
    for agent in agents[1:]:
        if space_of(agent) != found:
            pair = f"{agents[0]} has {found} and {agent} has {space_of(agent)}"
            raise _refused(
                f"the agents of {env_id} differ in their {kind} space, so that no"
                f" policy fits them all: {pair}"
            )
    return found


def _refuse(config: EnvConfig) -> None:
    if config.vectorization not in ("auto", "sync"):
        reason = "PettingZoo's environments run one after the other; use auto or sync"
        raise ConfigError(Problem("env.vectorization", reason))
    reason = "PettingZoo's environments take none"
    config.refuse_around(("wrappers", "drop", "success"), reason)


def _uneven(env_id: str, num_envs: int, agents: int) -> ConfigError:
    above = -(-num_envs // agents) * agents
    below = above - agents
    choice = f"{below} or {above}" if below else str(above)
    reason = (
        f"{num_envs} is no multiple of the {agents} agents of {env_id}, each of which is a row;"
        f" use {choice}"
    )
    return ConfigError(Problem("num_envs", reason))


def _refused(reason: str) -> ConfigError:
    return ConfigError(Problem("env", reason))
