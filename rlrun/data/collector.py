"""Drives a policy through environments and hands out fragments.

The collector owns the stepping state: the observation to act on, the policy's carry and the
statistics of unfinished episodes. Step by step its buffers are allocated once and written in place;
the true successor costs a copy only where an episode ended, elsewhere it is the next row. Several
steps as one function give fresh tensors, which are handed on.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rlrun.data.statistics import EpisodeStatistics
from rlrun.envs.base import Unrollable, Unrolled, VecEnv
from rlrun.types import ActFn, Carry, Decision, Fragment, Obs, Step, Transform, map_obs

LONGEST_STRIDE = 8  # a compiler takes 20 s for 8 steps, and longer strides gain a tenth more


class Collector:
    """Collects fragments from one vectorised environment onto one device."""

    def __init__(
        self,
        env: VecEnv,
        initial_carry: Callable[[int], Carry],
        device: torch.device,
        seed: int,
    ) -> None:
        self.env, self.device = env, device
        self._num_envs = env.spec.num_envs
        self._obs = self._place(env.reset(seed))
        self._carry = initial_carry(self._num_envs)
        self._statistics = EpisodeStatistics(self._num_envs, env.spec.name)
        self._buffers: Buffers | None = None
        self._transform: Transform | None = None
        self._strides = False
        self._unrolled: tuple[ActFn, int, int, Unrolled] | None = None
        self._acting: tuple[ActFn, ActFn] | None = None

    @property
    def unrolls(self) -> bool:
        """Whether several steps of policy and environment can be one function of tensors."""
        return isinstance(self.env, Unrollable) and self.env.unrolls and not self._carry

    def transform(self, transform: Transform) -> None:
        """From now on act through `transform`, such as a compiler.

        Where the environment `unrolls`, several steps of both go through it as one function. The
        policy must depend on nothing but the observation, its carry and tensors.
        """
        self._transform, self._strides = transform, self.unrolls
        # no tensor of inference mode any more, for which a compiler makes a graph of its own
        self._obs = map_obs(torch.clone, self._obs)

    def collect(self, act: ActFn, horizon: int) -> Fragment:
        """Take `horizon` steps in every environment; the fragment is valid until the next call.

        A horizon of 0 takes none and gives a fragment of length 0.
        """
        # cloned out here, where clones are ordinary tensors that a loss may use
        first_carry = tuple(part.clone() for part in self._carry)
        if horizon == 0:
            return self._empty_fragment(first_carry)
        score = None
        if self._strides and self._transform is not None:
            with torch.no_grad():
                fragment = self._run(act, horizon, self._transform)
        else:
            with torch.inference_mode():  # cheaper at every call than no_grad
                buffers = self._fill(self._transformed(act), horizon)
                fragment, score = buffers.fragment(first_carry), buffers.score
        self._statistics.absorb(fragment.reward, fragment.done, score)
        return fragment

    def _fill(self, act: ActFn, horizon: int) -> "Buffers":
        obs, carry = self._obs, self._carry
        buffers, ends, scored = self._buffers, [], self.env.spec.scored
        for t in range(horizon):
            decision = act(obs, carry)
            step = self.env.step(decision.action)
            if buffers is None or buffers.horizon != horizon:
                with torch.inference_mode(False):  # a loss will use them
                    buffers = Buffers(horizon, obs, decision, step, self.device, scored=scored)
                    self._buffers = buffers
            buffers.write(t, obs, decision, step)
            carry = decision.carry
            if step.next_obs is not step.obs:
                ends.append((t, step.next_obs))
                if carry:
                    carry = reset_carry(carry, (step.terminated | step.truncated).to(self.device))
            obs = self._place(step.obs)
        assert buffers is not None
        buffers.finish(obs, ends)
        self._obs, self._carry = obs, carry
        return buffers

    def _transformed(self, act: ActFn) -> ActFn:
        if self._transform is None:
            return act
        if self._acting is None or self._acting[0] is not act:
            self._acting = (act, self._transform(act))
        return self._acting[1]

    def _run(self, act: ActFn, horizon: int, transform: Transform) -> Fragment:
        """Do as `_fill` does, several steps at a time."""
        if self._unrolled is None or self._unrolled[:2] != (act, horizon):
            assert isinstance(self.env, Unrollable)
            stride = _stride(horizon)
            unrolled = self.env.unroll(act, stride, transform)
            self._unrolled = (act, horizon, horizon // stride, unrolled)
        _, _, times, unrolled = self._unrolled
        obs, parts = self._obs, []
        for _ in range(times):
            part, obs = unrolled(obs)
            parts.append(part)
        self._obs = self._place(obs)
        return parts[0] if len(parts) == 1 else _joined(parts)

    def episodes(self) -> dict[str, float]:
        """Return the mean return and length of the last 100 finished episodes, if any."""
        return self._statistics.summary()

    def state_dict(self) -> dict[str, Any]:
        """Return what survives an environment reset: the statistics of finished episodes."""
        return self._statistics.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the statistics back."""
        self._statistics.load_state_dict(state)

    def _place(self, obs: Obs) -> Obs:
        placed: Obs = map_obs(lambda leaf: leaf.to(self.device), obs)
        return placed

    def _empty_fragment(self, carry: Carry) -> Fragment:
        none = torch.zeros(0, self._num_envs, device=self.device)
        flags = none.bool()
        return Fragment(self._obs, none, none, self._obs, flags, flags, carry, {})


class Buffers:
    """One fragment's storage, shaped after the first step it sees."""

    def __init__(
        self,
        horizon: int,
        obs: Obs,
        decision: Decision,
        step: Step,
        device: torch.device,
        *,
        scored: bool,
    ) -> None:
        def like(leaf: Tensor) -> Tensor:
            return torch.zeros((horizon, *leaf.shape), dtype=leaf.dtype, device=device)

        self.horizon = horizon
        self.obs: Obs = map_obs(like, obs)
        self.next_obs: Obs = map_obs(like, obs)
        self.action, self.reward = like(decision.action), like(step.reward)
        self.terminated, self.truncated = like(step.terminated), like(step.truncated)
        self.extra = {key: like(value) for key, value in decision.extra.items()}
        self.score = torch.zeros(horizon, len(step.reward)) if scored else None
        self._rows = [
            column.unbind(0)
            for column in (self.action, self.reward, self.terminated, self.truncated)
        ]
        self._obs_rows = None if isinstance(self.obs, dict) else self.obs.unbind(0)
        # taken once: what lies where is the same at every fragment
        self._followed: Obs = map_obs(lambda leaf: leaf[:-1], self.next_obs)
        self._following: Obs = map_obs(lambda leaf: leaf[1:], self.obs)
        self._last: Obs = map_obs(lambda leaf: leaf[-1], self.next_obs)

    def write(self, t: int, obs: Obs, decision: Decision, step: Step) -> None:
        """Store step t."""
        if self._obs_rows is None:
            map_obs(lambda buffer, leaf: buffer[t].copy_(leaf), self.obs, obs)
        else:
            self._obs_rows[t].copy_(obs)
        action, reward, terminated, truncated = self._rows
        action[t].copy_(decision.action)
        reward[t].copy_(step.reward)
        terminated[t].copy_(step.terminated)
        truncated[t].copy_(step.truncated)
        for key, value in decision.extra.items():
            self.extra[key][t] = value
        if self.score is not None:
            self.score[t] = float("nan") if step.score is None else step.score

    def finish(self, last_obs: Obs, ends: list[tuple[int, Obs]]) -> None:
        """Fill in the successors: the next row, or what was seen where an episode ended."""

        if self.horizon > 1:
            map_obs(Tensor.copy_, self._followed, self._following)
        map_obs(Tensor.copy_, self._last, last_obs)
        for t, next_obs in ends:
            map_obs(lambda successor, leaf, t=t: successor[t].copy_(leaf), self.next_obs, next_obs)

    def fragment(self, carry: Carry) -> Fragment:
        """Return the storage as a fragment, without copying."""
        return Fragment(
            self.obs,
            self.action,
            self.reward,
            self.next_obs,
            self.terminated,
            self.truncated,
            carry,
            self.extra,
        )


def _joined(parts: list[Fragment]) -> Fragment:
    """Return the fragments of policies without memory as one, in their order."""
    columns = zip(*(part[:6] for part in parts), strict=True)
    joined = [map_obs(lambda *leaves: torch.cat(leaves), *column) for column in columns]
    return Fragment(*joined, (), {})  # type: ignore[call-arg]


def _stride(horizon: int) -> int:
    """Return the most steps up to `LONGEST_STRIDE` that divide a horizon."""
    return max(steps for steps in range(1, LONGEST_STRIDE + 1) if horizon % steps == 0)


def reset_carry(carry: Carry, done: Tensor) -> Carry:
    """Return the carry with zeros, an episode's start, where `done` `[N]`."""
    keep = ~done
    return tuple(part * keep.view(-1, *[1] * (part.ndim - 1)) for part in carry)
