"""Learning from memory: when to begin, how often to learn, and from which transitions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rlrun.config import ConfigError, Problem, option
from rlrun.data.capacity import bytes_of
from rlrun.data.priorities import PrioritizedConfig
from rlrun.data.replay import Batch, Replay
from rlrun.data.sequences import SequenceConfig, SequenceReplay
from rlrun.types import EnvSpec, Fragment

DRAW_BYTES = 2**23
"""Batches are drawn together up to this size: many small draws cost more than a large one."""


@dataclass(frozen=True, kw_only=True)
class ExperienceConfig:
    """Options of algorithms that draw uniformly from a replay memory."""

    buffer_size: int = option("transitions kept; the oldest make way", at_least=1)
    learning_starts: int = option("steps of uniformly random actions before learning", at_least=0)
    batch_size: int = option("transitions drawn for a gradient step", at_least=1)
    gamma: float = option("discount", at_least=0, at_most=1)
    train_freq: int = option("environment steps, over all environments, a cycle", at_least=1)
    gradient_steps: int = option("gradient steps a cycle; -1: as many as train_freq", at_least=-1)
    n_step: int = option("rewards summed before bootstrapping", at_least=1)


class Experience:
    """A replay memory and its rhythm: each fragment goes in, batches come out once it is warm.

    `horizon` is the steps each environment takes between updates; `updates` the gradient steps
    since the beginning. With `sequence` batches are histories, for a network with memory. Raises
    ConfigError where neither of `train_freq` and the number of environments divides the other.
    """

    def __init__(
        self,
        config: ExperienceConfig,
        spec: EnvSpec,
        device: torch.device,
        *,
        prioritized: PrioritizedConfig | None = None,
        sequence: SequenceConfig | None = None,
    ) -> None:
        self.horizon, cycles = _rhythm(config.train_freq, spec.num_envs)
        steps = config.train_freq if config.gradient_steps < 0 else config.gradient_steps
        self._steps, self._config = cycles * steps, config
        self.replay: Replay | SequenceReplay
        if sequence is None:
            self.replay = Replay(
                config.buffer_size,
                spec,
                device,
                batch_size=config.batch_size,
                gamma=config.gamma,
                n_step=config.n_step,
                prioritized=prioritized,
            )
        else:
            _check_sequences(config.n_step, prioritized)
            self.replay = SequenceReplay(
                sequence,
                config.buffer_size,
                spec,
                device,
                horizon=self.horizon,
                batch_size=config.batch_size,
                gamma=config.gamma,
            )
        size = 2 * config.batch_size * bytes_of(spec.obs_space)
        # a prioritized draw must know the errors of the one before; sequences are not split
        alone = prioritized is not None or sequence is not None
        self._together = 1 if alone else max(DRAW_BYTES // size, 1)
        self.updates = 0

    @property
    def warm(self) -> bool:
        """Whether enough has been seen for learning to begin."""
        return self.replay.added >= self._config.learning_starts

    def absorb(self, fragment: Fragment) -> Iterator[Batch]:
        """Store a fragment, and yield a batch for each gradient step that is due."""
        self.replay.add(fragment)
        due = self._steps if self.warm and self.replay.ready else 0
        while due > 0:
            count = min(due, self._together)
            drawn = self.replay.sample(count * self._config.batch_size)
            for batch in [drawn] if count == 1 else drawn.split(self._config.batch_size):
                self.updates += 1
                yield batch
            due -= count

    def state_dict(self) -> dict[str, Any]:
        """Return the memory's contents and the count of updates."""
        return {"replay": self.replay.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take contents and count back."""
        self.replay.load_state_dict(state["replay"])
        self.updates = int(state["updates"])


def _check_sequences(n_step: int, prioritized: PrioritizedConfig | None) -> None:
    for key, asked in (("n_step", n_step > 1), ("prioritized", prioritized is not None)):
        if asked:
            reason = "a network with memory learns from sequences, drawn uniformly, one step ahead"
            raise ConfigError(Problem(f"algo.{key}", f"{reason}; use network=auto with this"))


def _rhythm(train_freq: int, num_envs: int) -> tuple[int, int]:
    """Return the steps each environment takes between updates, and the cycles they make up."""
    if train_freq % num_envs and num_envs % train_freq:
        reason = f"{train_freq} neither divides num_envs = {num_envs} nor is a multiple of it"
        raise ConfigError(Problem("algo.train_freq", reason))
    return max(train_freq // num_envs, 1), max(num_envs // train_freq, 1)
