"""Numbers below the least normal float32 are zero in what a run builds."""

import pytest
import torch

from rlrun.build import build_parts
from rlrun.nets.learner import Learner
from tests.recipes import recipe


@pytest.fixture
def slow_arithmetic():
    flushed = bool(torch.full((8,), 1e-30).mul(1e-10).eq(0).all())
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(flushed)


def decayed(steps: int) -> torch.Tensor:
    """The first moments of Adam after one step with a gradient and others without."""
    parameter = torch.nn.Parameter(torch.ones(64))
    learner = Learner([parameter])
    for step in range(steps):
        learner.minimize(lambda scale: ((parameter * scale).sum(), {}), float(step == 0))
    return learner.optimizer.state["exp_avg"]


@pytest.mark.usefixtures("slow_arithmetic")
def test_what_decays_ends_at_zero():
    least = torch.finfo(torch.float32).tiny
    assert 0.0 < decayed(850).max() < least  # 0.1 * 0.9^849 = 1.4e-40
    parts = build_parts(recipe("algo=dqn", "env=CartPole-v1", "preset=none"))
    parts.env.close()
    assert decayed(850).max() == 0.0
