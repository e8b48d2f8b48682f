"""A parallel environment of two agents, two steps long, that hands out its own buffers."""

import numpy as np
from gymnasium import spaces


class Pair:
    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, render_mode=None) -> None:
        self.possible_agents = ["a", "b"]
        number = spaces.Box(0.0, 10.0, (1,))
        self.space = spaces.Dict({"who": number, "age": number})
        self.ages = np.zeros(1, dtype=np.float32)

    def observation_space(self, agent):
        return self.space

    def action_space(self, agent):
        return spaces.Discrete(2)

    def _seen(self):
        whose = enumerate(self.possible_agents)
        return {agent: {"who": np.float32([i]), "age": self.ages} for i, agent in whose}

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        self.ages[:] = 0.0
        return self._seen(), {}

    def step(self, actions):
        self.ages += 1
        over = bool(self.ages[0] == 2)
        terminated, truncated = {"a": over, "b": False}, {"a": False, "b": over}
        if over:
            self.agents = []
        rewards = {agent: float(action) for agent, action in actions.items()}
        return self._seen(), rewards, terminated, truncated, {}

    def close(self) -> None:
        pass
