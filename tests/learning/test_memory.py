"""Every network with memory learns, with every algorithm that can train one, what others cannot."""

import pytest

from rlrun.data.sequences import SequenceConfig
from rlrun.functional.schedules import Schedule
from tests.recipes import changed, recipe, trained

STEPS = {"ppo": 6_000, "a2c": 12_000, "reinforce": 12_000, "dqn": 4_000}
SMALL = {
    "gru": ("network.hidden=16",),
    "lstm": ("network.hidden=16",),
    "transformer": ("network.width=16", "network.window=4"),
    "mlp": (),
}


def score(folder, algo, network, *words):
    """Train on the task and return the share of right answers, deterministic."""
    env = ("env=tests.envs.recall:Recall-v0", "device=cpu", "preset=none", "num_envs=8")
    made = recipe(f"algo={algo}", *env, f"network={network}", *SMALL[network], *words)
    learn = {
        "n_steps": 16,
        "batch_size": 64,
        "learning_rate": Schedule.constant(0.003 if network == "transformer" else 0.01),
        "gamma": 0.9,
        "train_freq": 32,
        "gradient_steps": 4,
        "target_update_interval": 256,
        "exploration_fraction": 0.5,
        "sequence": SequenceConfig(burn_in=2, length=6),
    }
    made = changed(
        made, learn, total_timesteps=STEPS[algo], final_eval_episodes=40, log_every=10_000
    )
    _, rows = trained(folder, made)
    return rows[-1]["eval/mean_reward"]


@pytest.mark.parametrize(
    ("algo", "network", "shared"),
    [
        ("ppo", "gru", "true"),
        ("ppo", "gru", "false"),
        ("ppo", "lstm", "true"),
        ("ppo", "transformer", "true"),
        ("a2c", "gru", "true"),
        ("a2c", "transformer", "false"),
        ("reinforce", "lstm", "false"),
        ("reinforce", "transformer", "true"),
        ("dqn", "gru", "true"),
    ],
)
def test_remembers(algo, network, shared, tmp_path):
    assert score(tmp_path / "run", algo, network, f"network.shared={shared}") >= 0.95


def test_without_memory_it_is_a_guess(tmp_path):
    assert score(tmp_path / "run", "ppo", "mlp") <= 0.75
