"""Lambda returns by hand, and probes whose values are known."""

from dataclasses import replace

import pytest
import torch

from rlrun.algos.pqn import PQN
from rlrun.build import build_parts
from rlrun.config import ConfigError
from rlrun.data.collector import Collector
from rlrun.functional.schedules import Schedule
from tests.algos.linear import fragment, rate, setting
from tests.recipes import changed, recipe


def made(num_envs: int = 1, **options) -> PQN:
    """Return a PQN whose values are linear in one number."""
    config = recipe("algo=pqn", "env=CartPole-v1", "preset=none").algorithm_config
    return PQN(replace(config, **options), setting(num_envs))


def test_one_step_goes_towards_the_lambda_returns():
    algorithm = made(
        n_steps=3, batch_size=3, n_epochs=1, gamma=0.5, q_lambda=0.5, learning_rate=rate(0.0)
    )
    with torch.no_grad():
        algorithm.policy.head.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        algorithm.policy.head.linear.bias.zero_()
    # greedy values of the successors are 4, 6 and 9; the second is cut, the last ends
    one = fragment([2, 4, 8], [0, 1, 0], [1.0, 2.0, 3.0], [4, 6, 9], [0, 0, 1], [0, 1, 0])
    # backwards: 3; 2 + 6 / 2 = 5; 1 + (4 / 2 + 5 / 2) / 2 = 3.25
    assert algorithm._lambda_return(one).flatten().tolist() == [3.25, 5.0, 3.0]
    metrics = algorithm.update(one)
    # values of the actions taken are 2, -4 and 8
    assert metrics["train/q_value"].item() == pytest.approx(2.0)
    assert metrics["train/loss"].item() == pytest.approx((1.25**2 + 9.0**2 + 5.0**2) / 6)


def test_the_minibatches_must_divide_the_fragment():
    with pytest.raises(
        ConfigError, match=r"batch_size: 7 does not divide .* = 2 \* 8 = 16; 8 does"
    ):
        made(2, n_steps=8, batch_size=7)


@pytest.mark.parametrize(
    ("probe", "gamma", "wanted"),
    [("DelayedReward", 0.5, [0.5, 1.0]), ("EndlessReward", 0.8, [5.0])],
)
def test_learned_values(probe, gamma, wanted):
    made = recipe("algo=pqn", f"env=tests.learning.probes:{probe}-v0", "preset=none", "device=cpu")
    algo = {"n_steps": 8, "batch_size": 32, "gamma": gamma, "exploration_fraction": 0.5}
    algo["learning_rate"] = Schedule("linear", 0.02, 0.0)
    parts = build_parts(changed(made, algo, {"sizes": (16,)}, num_envs=8))
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, seed=1)
    for update in range(60):
        algorithm.anneal(update / 60)
        algorithm.update(
            collector.collect(
                lambda obs, _: algorithm.act(obs, (), explore=True), algorithm.horizon
            )
        )
    parts.env.close()
    shown = torch.tensor([[0.0], [1.0]])[: len(wanted)]
    with torch.no_grad():
        assert algorithm.policy.value(shown).tolist() == pytest.approx(wanted, abs=0.08)
