"""Atari in ale-py's vector environment: threads of C++ that do what the wrapper `atari` does."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from rlrun.config import ConfigError, Problem, near_miss
from rlrun.envs.adapter import EnvConfig
from rlrun.envs.base import spread_seed
from rlrun.envs.registry import check_id
from rlrun.envs.wrappers.games import Atari
from rlrun.types import EnvSpec, Step

PASSED = ("repeat_action_probability", "full_action_space", "max_num_frames_per_episode")
"""Options of `env.kwargs` that are handed on; `frameskip` and `obs_type` belong to the wrapper."""


class AleEnv:
    """N copies of one game, preprocessed in C++.

    A life's end is an end of the task after which the game goes on, as the wrapper has it. A stack
    starts with black pictures before the first. Raises ConfigError for what C++ cannot do.
    """

    def __init__(self, config: EnvConfig, num_envs: int) -> None:
        game, options = _options(config)
        from ale_py.vector_env import AtariVectorEnv

        mode = AutoresetMode.SAME_STEP
        self._lives = self._age = np.empty(0)
        self._env = AtariVectorEnv(game, num_envs, autoreset_mode=mode, **options)
        self.spec = EnvSpec(
            name=config.name,
            num_envs=num_envs,
            obs_space=self._env.single_observation_space,
            action_space=self._env.single_action_space,
            frame_stack=options["stack_num"],
        )

    def reset(self, seed: int) -> Tensor:
        """Start a game in every environment."""
        seeds = np.array(spread_seed(seed, self.spec.num_envs), dtype=np.int64)
        obs, info = self._env.reset(seed=seeds)
        self._lives, self._age = info["lives"], info["episode_frame_number"]
        return torch.from_numpy(obs)

    def step(self, action: Tensor) -> Step:
        """Take one step in every environment, resetting those that end."""
        obs, reward, terminated, truncated, info = self._env.step(action.cpu().numpy())
        following = now = torch.from_numpy(obs)
        ended = terminated | truncated
        if ended.any():
            following = now.clone()
            anew = np.flatnonzero(ended & ~self._lost_a_life(info))
            if len(anew):  # elsewhere `final_obs` is memory that nothing was written to
                following[anew] = torch.from_numpy(info["final_obs"][anew])
        self._lives, self._age = info["lives"], info["episode_frame_number"]
        return Step(
            now,
            torch.from_numpy(reward.astype(np.float32)),
            torch.from_numpy(terminated),
            torch.from_numpy(truncated),
            following,
        )

    def close(self) -> None:
        """Stop the threads."""
        self._env.close()

    def _lost_a_life(self, info: dict[str, Any]) -> Any:
        """Return where the same game goes on with fewer lives, `[N]` bool."""
        fewer: Any = info["lives"] < self._lives
        return fewer & (info["episode_frame_number"] > self._age)


def _options(config: EnvConfig) -> tuple[str, dict[str, Any]]:
    """Return the game and the arguments of the vector environment."""
    if not config.id.startswith("ALE/"):
        reason = f"ale is for Atari's games, such as env=ALE/Pong-v5, not {config.id}; use auto"
        raise ConfigError(Problem("env.vectorization", reason))
    check_id(config.id)
    chosen = _atari(config)
    known = dict(gym.spec(config.id).kwargs)
    for key in config.kwargs:
        if key not in (*PASSED, "frameskip", "obs_type"):
            reason = f"ale has no such option{near_miss(key, PASSED)}; use env.vectorization=sync"
            raise ConfigError(Problem(f"env.kwargs.{key}", reason))
    kwargs = {**known, **config.kwargs}
    if kwargs["frameskip"] != 1:
        reason = f"{kwargs['frameskip']} must be 1, because the wrapper atari skips frames itself"
        raise ConfigError(Problem("env.kwargs.frameskip", reason))
    return kwargs["game"], {
        **{key: kwargs[key] for key in PASSED if key in kwargs},
        "frameskip": chosen.skip,
        "maxpool": chosen.skip > 1,
        "noop_max": chosen.noop_max,
        "img_height": chosen.size,
        "img_width": chosen.size,
        "stack_num": chosen.stack,
        # its `episodic_life` would start another game at each life's end
        "life_loss_info": chosen.episodic_life,
        "use_fire_reset": chosen.fire_reset,
        "reward_clipping": chosen.clip_reward,
    }


def _atari(config: EnvConfig) -> Atari:
    config.refuse_around(("drop", "success"), "env.vectorization=ale cannot do that; use sync")
    entries = config.wrappers.entries
    if len(entries) == 1 and isinstance(entries[0], Atari):
        return entries[0]
    names = ", ".join(entry.name for entry in entries)
    reason = f"env.vectorization=ale needs [atari], which it does in C++, not [{names}]; use sync"
    raise ConfigError(Problem("env.wrappers", reason))
