"""Environments so small that what must be learned in them is known.

Registered with Gymnasium when this module is imported: `env=tests.learning.probes:...-v0`.
"""

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Probe(gym.Env):
    """Two actions, and one number to see."""

    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space: gym.Space = spaces.Discrete(2)
    shown = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.shown = self.first()
        return self.see(), {}

    def first(self):
        return 0.0

    def see(self):
        return np.float32([self.shown])

    def step(self, action):
        reward, over = self.outcome(action)
        return self.see(), reward, over, False, {}

    def outcome(self, action):
        """Return the reward and whether the task ended; move what is shown."""
        raise NotImplementedError


class ConstantReward(Probe):
    """Pays 1 and ends: the value is 1."""

    def outcome(self, action):
        return 1.0, True


class RewardByObservation(Probe):
    """Shows -1 or 1, pays the same and ends: the value is what is seen."""

    def first(self):
        return float(self.np_random.choice([-1.0, 1.0]))

    def outcome(self, action):
        return self.shown, True


class DelayedReward(Probe):
    """Shows 0 and pays nothing, then shows 1, pays 1 and ends: values gamma and 1."""

    def outcome(self, action):
        if self.shown == 0.0:
            self.shown = 1.0
            return 0.0, False
        return 1.0, True


class RewardByAction(Probe):
    """Pays 1 for action 1, -1 for action 0, and ends."""

    def outcome(self, action):
        return 2.0 * float(action) - 1.0, True


class RewardByBoth(Probe):
    """Pays 1 for the action that is shown, -1 for the other, and ends."""

    def first(self):
        return float(self.np_random.integers(2))

    def outcome(self, action):
        return (1.0 if float(action) == self.shown else -1.0), True


class RewardByNearness(Probe):
    """Takes a number, and pays less the farther it is from half of what is shown."""

    action_space = spaces.Box(-1.0, 1.0, (1,))

    def first(self):
        return float(self.np_random.choice([-1.0, 1.0]))

    def outcome(self, action):
        return -abs(float(action[0]) - self.shown / 2), True


class EndlessReward(Probe):
    """Pays 1 for ever and is cut by a time limit alone: the value is 1 / (1 - gamma)."""

    def outcome(self, action):
        return 1.0, False


LIMITS = {EndlessReward: 5}
for kind in (
    *(ConstantReward, RewardByObservation, DelayedReward, RewardByAction),
    *(RewardByBoth, RewardByNearness, EndlessReward),
):
    gym.register(
        f"{kind.__name__}-v0", f"{__name__}:{kind.__name__}", max_episode_steps=LIMITS.get(kind)
    )
