"""Stacks of observations, and what becomes of those that were shown."""

import gymnasium as gym
import numpy as np
import pytest

from tests.envs.test_wrappers import Counter, wrapped


def test_a_stack_shows_the_last_observations_the_newest_at_the_end():
    env = wrapped({"name": "frame_stack", "size": 3})
    assert env.observation_space.shape == (3, 2)
    assert env.reset()[0][:, 0].tolist() == [0, 0, 0]
    first = env.step(0)[0]
    env.step(0)
    assert env.step(0)[0][:, 1].tolist() == [1, 2, 3]
    assert first[:, 0].tolist() == [0, 0, 1]  # what was shown is not written over
    assert env.reset()[0][:, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [1, 3, 40])
def test_stacks_are_those_of_gymnasium_and_stay_what_they_were(size):
    ours = wrapped({"name": "frame_stack", "size": size}, env=Counter(end=150))
    theirs = gym.wrappers.FrameStackObservation(Counter(end=150), size)
    kept = []
    for _ in range(2):
        pairs = [(ours.reset()[0], theirs.reset()[0])]
        pairs += [(ours.step(0)[0], theirs.step(0)[0]) for _ in range(150)]
        kept += pairs
    assert len(kept) == 302
    assert all((one == other).all() for one, other in kept)


def test_a_stack_refuses_what_would_spread_over_it():
    env = wrapped("frame_stack")
    env.unwrapped.see = lambda: np.zeros(1, np.float32)
    with pytest.raises(ValueError, match=r"an observation \(1,\) of Box"):
        env.reset()
