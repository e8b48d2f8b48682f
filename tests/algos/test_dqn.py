"""The DQN family by hand numbers, by its rhythm, and in probes whose values are known."""

from dataclasses import replace

import pytest
import torch

from rlrun.algos.dqn import DQN
from rlrun.build import build_parts
from rlrun.config import ConfigError
from rlrun.data.collector import Collector
from rlrun.data.replay import Batch
from rlrun.functional.schedules import Schedule
from tests.algos.linear import fragment, rate, setting
from tests.recipes import changed, recipe


def made(num_envs: int = 1, **options) -> DQN:
    """Return a DQN whose values are linear in one number."""
    config = recipe("algo=dqn", "env=CartPole-v1", "preset=none").algorithm_config
    values = {"buffer_size": 64, "batch_size": 2, "learning_starts": 0, "train_freq": 1}
    return DQN(replace(config, **{**values, **options}), setting(num_envs))


def weigh(network, *weights: float) -> None:
    """Let action k be worth weights[k] times what is seen."""
    with torch.no_grad():
        network.head.linear.weight.copy_(torch.tensor(weights).unsqueeze(1))
        network.head.linear.bias.zero_()


def batch(weight: float = 1.0, discount: float = 0.5) -> Batch:
    return Batch(
        torch.tensor([[1.0]]),
        torch.tensor([0]),
        torch.tensor([1.0]),
        torch.tensor([[3.0]]),
        torch.tensor([discount]),
        torch.tensor([weight]),
        torch.tensor([0]),
    )


@pytest.mark.parametrize(
    ("double", "discount", "weight", "loss", "error"),
    [
        (False, 0.5, 1.0, 14.5, -15.0),  # target 1 + max(30, 3) / 2 = 16, value 1
        (True, 0.5, 1.0, 1.0, -1.5),  # the online network prefers the second: 1 + 3 / 2 = 2.5
        (True, 0.5, 0.5, 0.5, -1.5),
        (False, 0.0, 1.0, 0.0, 0.0),  # the task ended: target 1
    ],
)
def test_the_loss_of_one_transition(double, discount, weight, loss, error):
    algorithm = made(double=double)
    weigh(algorithm.policy, 1.0, 2.0)
    weigh(algorithm.target.module, 10.0, 1.0)
    one = batch(weight, discount)
    found, metrics = algorithm.loss(one)
    assert found.item() == pytest.approx(loss)
    assert metrics["td_error"].tolist() == pytest.approx([error])


def test_large_errors_count_squared_where_asked():
    algorithm = made(double=False, loss="mse")
    weigh(algorithm.policy, 1.0, 2.0)
    weigh(algorithm.target.module, 10.0, 1.0)
    found, metrics = algorithm.loss(batch(0.5))
    assert found.item() == pytest.approx(0.5 * 15.0**2 / 2)
    assert metrics["td_error"].tolist() == pytest.approx([-15.0])


@pytest.mark.parametrize("kind", ["c51", "qr"])
@pytest.mark.parametrize("double", [False, True])
def test_weights_reach_every_kind_of_loss(kind, double):
    torch.manual_seed(0)
    algorithm = made(distributional=kind, double=double, n_atoms=5)
    losses = []
    for weight in (1.0, 0.25):
        one = batch(weight)
        found, _ = algorithm.loss(one)
        losses.append(found.item())
    assert losses[1] == pytest.approx(losses[0] / 4)
    assert losses[0] > 0


def play(algorithm: DQN, steps: int) -> list[dict]:
    width = algorithm.spec.num_envs
    rows = torch.arange(algorithm.horizon * width, dtype=torch.float32)
    obs = rows.view(algorithm.horizon, width).tolist()
    zeros = [[0] * width for _ in obs]
    one = fragment(obs, zeros, obs, obs, zeros, zeros)
    return [algorithm.update(one) for _ in range(steps)]


@pytest.mark.parametrize(
    ("num_envs", "train_freq", "gradient_steps", "horizon", "each"),
    [(1, 4, 1, 4, 1), (1, 4, -1, 4, 4), (4, 8, 3, 2, 3), (8, 4, 1, 1, 2), (8, 4, -1, 1, 8)],
)
def test_rhythm_in_environment_steps(num_envs, train_freq, gradient_steps, horizon, each):
    algorithm = made(num_envs, train_freq=train_freq, gradient_steps=gradient_steps)
    assert algorithm.horizon == horizon
    taken = []
    minimize = algorithm.learner.minimize
    algorithm.learner.minimize = lambda *given: taken.append(0) or minimize(*given)
    play(algorithm, 3)
    assert len(taken) == 3 * each


def test_nothing_is_learned_before_it_starts():
    algorithm = made(learning_starts=6, train_freq=2)
    assert algorithm.policy.warming
    shown = [("train/loss" in metrics, algorithm.policy.warming) for metrics in play(algorithm, 1)]
    shown += [("train/loss" in metrics, algorithm.policy.warming) for metrics in play(algorithm, 1)]
    assert shown == [(False, True), (False, True)]
    assert "train/loss" in play(algorithm, 1)[0]
    assert not algorithm.policy.warming


@pytest.mark.parametrize("tau", [1.0, 0.25])
def test_the_target_follows_every_so_many_environment_steps(tau):
    algorithm = made(4, train_freq=4, target_update_interval=10, tau=tau, gradient_steps=0)
    moved = []
    for _ in range(6):
        weigh(algorithm.policy, 1.0, 1.0)
        weigh(algorithm.target.module, 0.0, 0.0)
        play(algorithm, 1)
        moved.append(algorithm.target.module.head.linear.weight[0, 0].item())
    # after 4, 8, 12, ... steps: the tens are passed at 12, 20
    assert moved == [0.0, 0.0, tau, 0.0, tau, 0.0]


def test_errors_become_priorities():
    options = recipe("algo=dqn").algorithm_config.priority
    algorithm = made(
        prioritized=True,
        priority=replace(options, alpha=1.0, epsilon=1e-3, beta=Schedule("linear", 0.4, 1.0)),
        gradient_steps=0,
        learning_rate=rate(0.0),
    )
    weigh(algorithm.policy, 0.0, 0.0)
    weigh(algorithm.target.module, 0.0, 0.0)
    zero = [0]
    for reward in ([1.0], [3.0]):
        algorithm.update(fragment(zero, zero, reward, zero, zero, zero))
    drawn = algorithm.replay.sample(64)
    algorithm._learn(drawn)
    found = algorithm.replay.priorities.probability()[:2]
    assert found.tolist() == pytest.approx([0.25, 0.75], abs=1e-3)
    algorithm.anneal(0.5)
    assert algorithm.replay.priorities.beta == pytest.approx(0.7)


def test_one_message_for_each_mistake():
    with pytest.raises(ConfigError, match=r"algo\.batch_size: 65 is more than .* = 64"):
        made(batch_size=65)
    with pytest.raises(ConfigError, match=r"algo\.buffer_size: \d+ transitions of hand need"):
        made(buffer_size=10**12)
    with pytest.raises(ConfigError, match=r"algo\.v_min: 1 is not below algo\.v_max = 1"):
        made(distributional="c51", v_min=1.0, v_max=1.0)
    with pytest.raises(ConfigError, match=r"algo\.loss: algo\.distributional=qr has a loss of its"):
        made(distributional="qr", loss="mse")
    with pytest.raises(ConfigError, match="dqn needs Discrete actions; Pendulum-v1 has Box"):
        build_parts(recipe("algo=dqn", "env=Pendulum-v1", "device=cpu"))


def test_rainbow_is_a_configuration():
    assert recipe("algo=rainbow").algorithm is DQN
    config = recipe("algo=rainbow").algorithm_config
    assert (config.double, config.dueling, config.noisy, config.prioritized) == (True,) * 4
    assert (config.n_step, config.distributional) == (3, "c51")


def test_the_network_on_the_command_line_wins():
    assert recipe("algo=dqn").network.config.sizes == (256, 256)
    assert recipe("algo=dqn", "network=mlp").network.config.sizes == (64, 64)


SWITCHES = {
    "plain": {},
    "double": {"double": True},
    "dueling": {"dueling": True},
    "noisy": {"noisy": True},
    "n_step": {"n_step": 3},
    "prioritized": {"prioritized": True},
    "c51": {"distributional": "c51", "n_atoms": 21, "v_min": -2.0, "v_max": 2.0},
    "qr": {"distributional": "qr", "n_atoms": 5},
    "soft": {"tau": 0.2, "target_update_interval": 1},
    "boltzmann": {"exploration": "boltzmann"},
}
SWITCHES["all"] = {
    key: value for name in list(SWITCHES)[1:7] for key, value in SWITCHES[name].items()
}


def learned(probe: str, **options):
    """Return a DQN after it has learned in a probe."""
    made = recipe("algo=dqn", f"env=tests.learning.probes:{probe}-v0", "preset=none", "device=cpu")
    algo = {
        **{"gamma": 0.5, "batch_size": 64, "buffer_size": 2048, "learning_starts": 64},
        **{"train_freq": 16, "gradient_steps": 4, "target_update_interval": 64},
        **{"learning_rate": Schedule("linear", 0.02, 0.0), "exploration_fraction": 0.5},
        **options,
    }
    parts = build_parts(changed(made, algo, {"sizes": (16,)}, num_envs=8))
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, seed=1)
    for update in range(80):
        algorithm.anneal(update / 80)
        algorithm.update(
            collector.collect(
                lambda obs, _: algorithm.act(obs, (), explore=True), algorithm.horizon
            )
        )
    parts.env.close()
    return algorithm


@torch.no_grad()
def values(algorithm, *shown: float) -> list[float]:
    return algorithm.policy.value(torch.tensor(shown).unsqueeze(1)).tolist()


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_learns_a_delayed_reward(switch):
    algorithm = learned("DelayedReward", **SWITCHES[switch])
    assert values(algorithm, 0.0, 1.0) == pytest.approx([0.5, 1.0], abs=0.08)


@pytest.mark.parametrize("switch", ["plain", "all"])
def test_it_learns_which_action_is_right(switch):
    algorithm = learned("RewardByBoth", **SWITCHES[switch])
    action = algorithm.act(torch.tensor([[0.0], [1.0]]), (), explore=False).action
    assert action.tolist() == [0, 1]


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_time_limit_is_not_an_end(n_step):
    algorithm = learned("EndlessReward", n_step=n_step, gamma=0.8, target_update_interval=16)
    # 1 / (1 - gamma); cut at the limit, the mean over its five steps would be 2.3
    assert values(algorithm, 0.0) == pytest.approx([5.0], abs=0.3)
