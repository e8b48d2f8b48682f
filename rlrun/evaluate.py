"""Plays whole episodes and reports their returns: one function for training, `eval` and reports."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from rlrun.data.collector import reset_carry
from rlrun.envs.base import VecEnv
from rlrun.types import ActFn, Carry, Obs, map_obs


@dataclass
class Evaluation:
    """The outcome of whole episodes.

    `cut` counts those stopped at the step limit. There is no way to start such an environment
    anew alone, so it plays no more, and there may be fewer episodes than were asked for.
    """

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)
    cut: int = 0

    @property
    def mean(self) -> float:
        """The mean return."""
        return sum(self.returns) / len(self.returns)

    @property
    def std(self) -> float:
        """The standard deviation of the returns over episodes."""
        mean = self.mean
        return math.sqrt(sum((value - mean) ** 2 for value in self.returns) / len(self.returns))

    @property
    def standard_error(self) -> float:
        """The standard error of the mean return."""
        return self.std / math.sqrt(len(self.returns))

    def metrics(self) -> dict[str, float]:
        """Return the figures under the names dashboards know."""
        rows = {
            "eval/mean_reward": self.mean,
            "eval/std_reward": self.std,
            "eval/standard_error": self.standard_error,
            "eval/mean_ep_length": sum(self.lengths) / len(self.lengths),
            "eval/episodes": float(len(self.returns)),
        }
        if self.successes:
            rows["eval/success_rate"] = sum(self.successes) / len(self.returns)
        return rows


@torch.inference_mode()
def evaluate(
    act: ActFn,
    initial_carry: Callable[[int], Carry],
    env: VecEnv,
    *,
    episodes: int,
    seed: int,
    device: torch.device,
    max_steps: int,
    on_step: Callable[[], None] | None = None,
) -> Evaluation:
    """Play exactly `episodes` episodes and return their outcomes.

    Each environment has a quota, so that short episodes are not over-counted. Torch's random
    numbers are forked: an evaluation never changes the training around it. An episode longer than
    `max_steps` is counted as it stands then. `on_step` is called after every step, for pictures.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        return _play(act, initial_carry, env, episodes, seed, device, max_steps, on_step)


def _play(
    act: ActFn,
    initial_carry: Callable[[int], Carry],
    env: VecEnv,
    episodes: int,
    seed: int,
    device: torch.device,
    max_steps: int,
    on_step: Callable[[], None] | None,
) -> Evaluation:
    count = env.spec.num_envs
    quota = torch.tensor([episodes // count + (i < episodes % count) for i in range(count)])
    earned, length = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
    outcome = Evaluation()
    carry = initial_carry(count)
    obs = _place(env.reset(seed), device)
    while bool((quota > 0).any()):
        decision = act(obs, carry)
        step = env.step(decision.action)
        earned += step.reward.cpu()
        length += 1
        ended = (step.terminated | step.truncated).cpu()
        if on_step is not None:
            on_step()
        over = length >= max_steps
        if bool((ended | over).any()):
            cut = over & ~ended & (quota > 0)
            _record(outcome, ended | over, quota, earned, length, step.success)
            outcome.cut += int(cut.sum())
            quota[cut] = 0
        obs, carry = _place(step.obs, device), decision.carry
        if carry:
            carry = reset_carry(carry, ended.to(device))
    return outcome


def _record(
    outcome: Evaluation,
    ended: torch.Tensor,
    quota: torch.Tensor,
    earned: torch.Tensor,
    length: torch.Tensor,
    success: torch.Tensor | None,
) -> None:
    for n in ended.nonzero().flatten().tolist():
        if quota[n] > 0:
            outcome.returns.append(float(earned[n]))
            outcome.lengths.append(int(length[n]))
            if success is not None:
                outcome.successes.append(bool(success[n]))
        quota[n] -= 1
        earned[n], length[n] = 0.0, 0


def _place(obs: Obs, device: torch.device) -> Obs:
    placed: Obs = map_obs(lambda leaf: leaf.to(device), obs)
    return placed
