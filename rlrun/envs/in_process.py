"""N Gymnasium environments stepped one after the other in this process, at little above cost.

Gymnasium's `SyncVectorEnv` builds and copies more at every step than a cheap environment takes;
only its `step` is replaced, by one that makes no more than the adapter reads.
"""

from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from rlrun.envs.base import SCORE_KEY

SUCCESS_KEYS = ("is_success", "success")
"""Where an environment's `info` tells, at an episode's end, whether its goal was reached."""
TOLD = (*SUCCESS_KEYS, SCORE_KEY)
"""What is read of an `info` at an episode's end."""


class InProcessEnvs(SyncVectorEnv):
    """`SyncVectorEnv` in same-step mode whose arrays are fresh at every step.

    Observations of one array each come as the list of them, others as Gymnasium batches them.
    Infos hold of episodes that ended `final_obs`, success and score, and nothing else.
    """

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in every environment, resetting those that end."""
        count = self.num_envs
        rewards = np.empty(count, dtype=np.float32)
        terminations, truncations = np.empty(count, dtype=bool), np.empty(count, dtype=bool)
        rows: list[Any] = []
        infos: dict[str, Any] = {}
        for i, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            obs, rewards[i], terminated, truncated, info = env.step(action)
            terminations[i], truncations[i] = terminated, truncated
            if terminated or truncated:
                told = {key: info[key] for key in TOLD if key in info}
                obs = deepcopy(obs)  # an environment may hand out a buffer that reset writes into
                infos = self._add_info(infos, {"final_obs": obs, "final_info": told}, i)
                obs, _ = env.reset()
            rows.append(obs)
        return (
            gather(self.single_observation_space, rows),
            rewards,
            terminations,
            truncations,
            infos,
        )


def gather(space: Space[Any], rows: list[Any]) -> Any:
    """Return single observations as a batch; those of one array each stay a list of them."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return rows
    batch: Any = create_empty_array(space, len(rows))
    return concatenate(space, rows, batch)
