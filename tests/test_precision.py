"""Learning in bfloat16: nearly the gradients of float32, and everything that is kept is float32."""

from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from rlrun.accel import precision
from rlrun.accel.compiler import compiled
from rlrun.build import build_parts
from rlrun.cli import main
from rlrun.config import ConfigError
from rlrun.data.collector import Collector
from rlrun.nets.learner import Learner, differentiate
from tests.contract.test_algorithms import fitting
from tests.recipes import ALGORITHMS, changed, recipe

UPDATES = 3


def learners_of(algorithm) -> list[Learner]:
    return [part for part in algorithm.parts().values() if isinstance(part, Learner)]


def deep(name: str) -> bool:
    parts = build_parts(fitting(name))
    parts.env.close()
    return bool(learners_of(parts.algorithm))


DEEP = [name for name in ALGORITHMS if deep(name)]


class Paired:
    """Notes each gradient together with float32's at the very same point, with the same draws."""

    def __init__(self, monkeypatch, made) -> None:
        self.pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.metrics: list[dict[str, torch.Tensor]] = []
        monkeypatch.setattr("rlrun.nets.learner.differentiate", self.both)
        self.algorithm = learn(made, None)

    def both(self, loss_fn, parameters, batch, precision):
        state = torch.get_rng_state()
        _, exact, _ = differentiate(loss_fn, parameters, batch)
        torch.set_rng_state(state)
        loss, found, metrics = differentiate(loss_fn, parameters, batch, precision)
        self.pairs.append((found.clone(), exact))
        self.metrics.append({"loss": loss, **metrics})
        return loss, found, metrics


def learn(made, backend):
    """Return an algorithm after some updates, whose losses a backend compiles if given."""
    parts = build_parts(made)
    algorithm = parts.algorithm
    for learner in learners_of(algorithm) if backend else ():
        learner.transform(partial(compiled, backend=backend))
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, 0)
    act = partial(algorithm.act, explore=True)
    torch.manual_seed(0)
    while min(each.updates for each in learners_of(algorithm)) < UPDATES:
        algorithm.anneal(0.1)
        algorithm.update(collector.collect(act, algorithm.horizon))
    parts.env.close()
    return algorithm


def assert_lowered(pairs) -> None:
    for found, exact in pairs:
        assert found.dtype == torch.float32
        assert (found - exact).norm() <= 0.2 * exact.norm()
    assert any(not torch.equal(found, exact) for found, exact in pairs)


@pytest.mark.parametrize("name", DEEP)
def test_gradients_are_near_those_of_float32_and_not_the_same(name, monkeypatch):
    paired = Paired(monkeypatch, changed(fitting(name), precision="bfloat16"))
    assert_lowered(paired.pairs)
    for learner in learners_of(paired.algorithm):
        held = [learner.flat, *learner.parameters, *learner.optimizer.state.values()]
        assert {each.dtype for each in held} == {torch.float32}
    kept = {each.dtype for row in paired.metrics for each in row.values()}
    assert torch.bfloat16 not in kept


@pytest.mark.parametrize("name", DEEP)
def test_float32_is_exact(name, monkeypatch):
    paired = Paired(monkeypatch, fitting(name))
    assert all(torch.equal(found, exact) for found, exact in paired.pairs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dqn", {"distributional": "c51", "dueling": True, "noisy": True, "double": True}),
        ("dqn", {"distributional": "qr", "prioritized": True}),
        ("sac", {"use_sde": True}),
    ],
)
def test_switches_learn_in_bfloat16(name, options, monkeypatch):
    paired = Paired(monkeypatch, changed(fitting(name), options, precision="bfloat16"))
    assert_lowered(paired.pairs)


@pytest.mark.parametrize("network", ["gru", "lstm", "transformer", "mlp_layer_norm", "impala_cnn"])
def test_networks_learn_in_bfloat16(network, monkeypatch):
    env = ("env=tests.envs.tiny:Spaces-v0", "env.kwargs.obs='seen and felt'", "device=cpu")
    made = recipe("algo=ppo", f"network={network}", *env, "preset=none", "precision=bfloat16")
    made = changed(made, {"n_steps": 8, "batch_size": 32, "n_epochs": 2})
    assert_lowered(Paired(monkeypatch, made).pairs)


@pytest.mark.parametrize(("name", "network"), [("ppo", {}), ("dqn", {"spectral_norm": True})])
def test_one_graph_computes_in_bfloat16_too(name, network):
    whole = changed(fitting(name), None, network)
    lowered = changed(fitting(name), None, network, precision="bfloat16")
    runs = learn(whole, "aot_eager"), learn(lowered, "aot_eager"), learn(lowered, None)
    moments = [learners_of(run)[0].optimizer.state["exp_avg"] for run in runs]
    exact, found, eager = moments
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() <= 0.2 * exact.norm()
    assert (found - eager).norm() < 0.5 * (found - exact).norm()


@pytest.mark.parametrize("name", ["q_learning", "value_iteration"])
def test_without_a_network_it_is_refused(name):
    with pytest.raises(ConfigError, match=f"precision: {name} trains no network"):
        build_parts(changed(fitting(name), precision="bfloat16"))


def test_a_device_without_it_is_refused(monkeypatch):
    parts = build_parts(fitting("ppo"))
    parts.env.close()
    algorithm = parts.algorithm
    algorithm.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: emulated)
    with pytest.raises(ConfigError, match="Tesla T4 cannot do bfloat16; use float32"):
        precision.learn_in("bfloat16", algorithm)
    assert algorithm.learner.precision == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: True)
    precision.learn_in("bfloat16", algorithm)
    assert algorithm.learner.precision == torch.bfloat16


@pytest.mark.parametrize(
    ("kind", "device", "able", "doubtful"),
    [
        ("bfloat16", "cpu", {"avx512_bf16": False}, True),
        ("bfloat16", "cpu", {"amx_bf16": True}, False),
        ("bfloat16", "cuda", {}, False),
        ("float32", "cpu", {}, False),
    ],
)
def test_a_processor_that_is_slow_at_it_is_warned_of(kind, device, able, doubtful, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    found = precision.doubt(kind, torch.device(device))
    assert [each.key for each in found] == ["precision"] * doubtful


@pytest.mark.parametrize(
    "words", [("algo=ppo", "env=CartPole-v1"), ("algo=sac", "env=Pendulum-v1")], ids=str
)
def test_a_run_from_the_command_line(words, tmp_path, capsys):
    short = ("total_timesteps=256", "final_eval_episodes=2", "device=cpu", "accel=off")
    sizes = ("preset=none", "network.sizes=[16,16]", "eval_num_envs=2", "eval_max_steps=50")
    starts = ("algo.learning_starts=64", "num_envs=1") if "algo=sac" in words else ()
    place = f"output_dir={tmp_path}"
    assert main(["train", *words, *short, *sizes, *starts, place, "precision=bfloat16"]) == 0
    saved = next(tmp_path.rglob("policy.safetensors"))
    assert {each.dtype for each in load_file(saved).values() if each.is_floating_point()} == {
        torch.float32
    }
