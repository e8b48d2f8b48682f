"""CUDA graphs as far as a machine without CUDA can tell: what is asked of the compiler, when."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from rlrun.accel import accelerator, compiler
from rlrun.accel.accelerator import WORTH_ACTING, WORTH_COMPILING, Accelerator
from rlrun.accel.compiler import check_accel, compiled, compiled_steps, hold_still, kept
from rlrun.accel.rewrites import Rewrites
from rlrun.cli import main
from rlrun.config import ConfigError
from tests.test_accel import Told, Watched


@pytest.fixture
def asked(monkeypatch):
    """Return the options that the compiler is given, call by call; it compiles nothing."""
    found: list[dict] = []

    def compile_(function, *, backend, fullgraph, options, dynamic=None):
        found.append(options)
        assert (backend, fullgraph) == ("inductor", True)
        torch._TorchCompileInductorWrapper("default", options, None)  # refuses unknown ones
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    return found


@pytest.mark.parametrize(("make", "same_draws"), [(compiled, True), (compiled_steps, False)])
def test_what_the_compiler_is_asked_for(make, same_draws, asked):
    make(lambda batch: batch)
    make(lambda batch: batch, graph="cuda_graph")
    plain, recorded = asked
    for options in asked:
        assert isinstance(options.pop("post_grad_custom_post_pass"), Rewrites)
    assert plain == {"fallback_random": same_draws, "cpp_wrapper": True}
    # with cpp_wrapper nothing would be recorded
    assert recorded == {
        "fallback_random": same_draws,
        "triton.cudagraphs": True,
        "triton.cudagraph_skip_dynamic_graphs": True,
    }


def replaying(memory: Tensor):
    """Return a function whose results are in the same memory at every call, as of a replay."""

    def call(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        memory.copy_(batch)
        return memory, {"twice": memory.mul(1)}

    return call


def test_results_outlive_the_next_replay():
    memory = torch.zeros(2)
    raw, safe = replaying(memory), kept(replaying(memory))
    one, two = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    lost, _ = raw(one)
    raw(two)
    assert lost.tolist() == [3.0, 4.0]
    held, metrics = safe(one)
    safe(two)
    assert held.tolist() == [1.0, 2.0]
    assert metrics["twice"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("make", [compiled, compiled_steps])
def test_only_recorded_graphs_have_their_results_copied(make, asked):
    memory, batch = torch.zeros(1), torch.ones(1)
    assert make(replaying(memory))(batch)[0] is memory
    assert make(replaying(memory), graph="cuda_graph")(batch)[0] is not memory


def test_parameters_are_said_to_stay_where_they_are():
    parameter = torch.nn.Parameter(torch.zeros(2))
    hold_still([parameter])
    assert parameter._dynamo_static_input_type == "unguarded"


class OnCuda(Watched):
    """A collector that says it is on a GPU, and keeps what it is told."""

    device = torch.device("cuda")

    def transform(self, transform) -> None:
        super().transform(transform)
        self.given = transform


@pytest.mark.parametrize(
    ("mode", "collector", "kind"),
    [
        ("auto", OnCuda, "compile"),
        ("auto", Watched, "compile"),
        ("compile", OnCuda, "compile"),
        ("cuda_graph", OnCuda, "cuda_graph"),
    ],
)
def test_what_is_recorded_is_what_was_asked_for(mode, collector, kind, monkeypatch):
    monkeypatch.setattr(accelerator, "has_compiler", lambda: True)
    told, watched, said = Told(), collector(), []
    given = Accelerator(mode, told, watched, 2 * WORTH_ACTING, said.append)
    given.consider(0.0)
    told.learner.updates += WORTH_COMPILING
    given.consider(0.5)
    assert watched.told == 1
    on_cuda = collector is OnCuda
    keywords = {"graph": kind} if on_cuda else {"same_draws": True, "say": said.append}
    assert told.learner._transform.keywords == keywords
    if on_cuda:
        assert watched.given.keywords == {"graph": kind}
    assert any(text.startswith(f"accel   {kind}: ") for text in said)
    still = hasattr(told.learner.parameters[0], "_dynamo_static_input_type")
    assert still == (kind == "cuda_graph")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_it_is_refused_without_cuda(device, monkeypatch):
    monkeypatch.setattr(compiler, "has_compiler", lambda: True)
    needs = pytest.raises(ConfigError, match=f"needs device=cuda, not {device}")
    with nullcontext() if device == "cuda" else needs:
        check_accel("cuda_graph", device)
    monkeypatch.setattr(compiler, "has_compiler", lambda: False)
    with pytest.raises(ConfigError, match="accel: "):
        check_accel("cuda_graph", device)


def test_the_command_says_so_and_makes_nothing(tmp_path, capsys):
    words = ["algo=ppo", "env=CartPole-v1", "accel=cuda_graph", f"output_dir={tmp_path}"]
    assert main(["train", *words, "device=cpu"]) == 2
    shown = capsys.readouterr().err
    assert "cuda_graph needs device=cuda, not cpu" in " ".join(shown.split())
    assert list(tmp_path.iterdir()) == []
