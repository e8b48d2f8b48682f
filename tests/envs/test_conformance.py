"""The conformance test is itself put to the test: each broken environment must be found out."""

import pytest
import torch

from rlrun.envs.adapter import EnvConfig, GymnasiumEnv
from rlrun.envs.wrappers.chain import Wrappers
from tests.data.scripted import ScriptedEnv
from tests.envs.conformance import check_vec_env

SCRIPT = [[(2, "terminated")], [(3, "truncated")], [(4, "terminated"), (1, "truncated")]]


def follows(obs, action, next_obs):
    """In a script the step goes up by one, and the environment and episode stay."""
    return (next_obs - obs == torch.tensor([0.0, 0.0, 1.0])).all(1)


def check_scripted(kind) -> None:
    check_vec_env(lambda count: kind(SCRIPT[:count]), steps=20, random=False, is_successor=follows)


def check_cartpole(kind) -> None:
    options = {"kwargs": {}, "drop": (), "success": "info", "wrappers": Wrappers()}
    config = EnvConfig(name="c", id="CartPole-v1", vectorization="sync", **options)
    check_vec_env(lambda count: kind(config, count), steps=60)


def test_what_conforms_passes():
    check_scripted(ScriptedEnv)
    check_cartpole(GymnasiumEnv)


class FirstForLast(ScriptedEnv):
    def step(self, action):
        step = super().step(action)
        return step._replace(next_obs=step.obs.clone())


class SameTensor(ScriptedEnv):
    def step(self, action):
        step = super().step(action)
        return step._replace(obs=step.next_obs)


class WrongType(ScriptedEnv):
    def step(self, action):
        step = super().step(action)
        return step._replace(reward=step.reward.double())


class WrongShape(ScriptedEnv):
    def step(self, action):
        step = super().step(action)
        return step._replace(terminated=step.terminated.unsqueeze(1))


class NumberFlags(ScriptedEnv):
    def step(self, action):
        step = super().step(action)
        return step._replace(truncated=step.truncated.float())


class Overwriting(ScriptedEnv):
    held = torch.zeros(3)

    def step(self, action):
        step = super().step(action)
        if len(step.reward) == 3:
            self.held.copy_(step.reward)
            return step._replace(reward=self.held)
        return step


class Endless(ScriptedEnv):
    def step(self, action):
        self.at = [(0, 0)] * len(self.at)
        return super().step(action)


class Outside(ScriptedEnv):
    def step(self, action):
        step = super().step(action)
        return step._replace(obs=step.obs - 1.0, next_obs=step.next_obs - 1.0)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FirstForLast, "not the true successor"),
        (SameTensor, "the same tensor before and after"),
        (WrongType, "reward is torch.float64"),
        (WrongShape, r"terminated has the shape \(3, 1\)"),
        (NumberFlags, "truncated is torch.float32"),
        (Overwriting, "overwritten later"),
        (Endless, "not the true successor|no episode ended"),
        (Outside, "is not in Box"),
    ],
)
def test_a_broken_environment_is_found_out(kind, reason):
    with pytest.raises(AssertionError, match=reason):
        check_scripted(kind)


class SeedIgnored(GymnasiumEnv):
    def reset(self, seed):
        return super().reset(0)


class SeedForgotten(GymnasiumEnv):
    def reset(self, seed):
        return super().reset(int(torch.randint(1000, ())))


class Twins(GymnasiumEnv):
    def reset(self, seed):
        obs, _ = self._env.reset(seed=[seed] * self.spec.num_envs)
        return self._read(obs)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (SeedIgnored, "seed ignored"),
        (SeedForgotten, "same seed differs"),
        (Twins, "all environments do the same"),
    ],
)
def test_a_broken_seed_is_found_out(kind, reason):
    with pytest.raises(AssertionError, match=reason):
        check_cartpole(kind)
