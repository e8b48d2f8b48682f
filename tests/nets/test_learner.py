from functools import partial

import pytest
import torch
from torch import nn

from rlrun.accel.compiler import compiled
from rlrun.checkpoint import join_state, split_state
from rlrun.nets.learner import Learner, flatten, mean_metrics
from rlrun.types import Diverged

RATES = [0.1, 0.1, 0.03, 0.03, 0.01]


def network() -> nn.Sequential:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def data(steps: int = 5):
    generator = torch.Generator().manual_seed(1)
    return [20 * torch.randn(16, 3, generator=generator) for _ in range(steps)]


def loss_of(net):
    def loss(batch):
        error = (net(batch) - batch[:, :2]).square().mean()
        return error, {"error": error.detach()}

    return loss


def learned(learner: Learner, net: nn.Module, batches, rates=RATES) -> None:
    for rate, batch in zip(rates, batches, strict=True):
        learner.learning_rate = rate
        learner.minimize(loss_of(net), batch)


@pytest.mark.parametrize("max_grad_norm", [None, 0.5, 1e6])
@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_flat_steps_equal_those_of_plain_torch(kind, max_grad_norm):
    net, plain = network().double(), network().double()
    learner = Learner(net.parameters(), optimizer=kind, epsilon=1e-5, max_grad_norm=max_grad_norm)
    if kind == "adam":
        optimizer = torch.optim.Adam(plain.parameters(), eps=1e-5)
    else:
        optimizer = torch.optim.RMSprop(plain.parameters(), alpha=0.99, eps=1e-5)
    for rate, batch in zip(RATES, data(), strict=True):
        batch = batch.double()
        learner.learning_rate = optimizer.param_groups[0]["lr"] = rate
        metrics = learner.minimize(loss_of(net), batch)
        loss, _ = loss_of(plain)(batch)
        optimizer.zero_grad()
        loss.backward()
        limit = float("inf") if max_grad_norm is None else max_grad_norm
        norm = nn.utils.clip_grad_norm_(plain.parameters(), limit)
        optimizer.step()
        assert norm > 1  # so that a limit of 1/2 binds
        torch.testing.assert_close(metrics["train/grad_norm"], norm)
        torch.testing.assert_close(metrics["train/loss"], loss.detach())
        assert metrics["error"] == metrics["train/loss"]
        for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("max_grad_norm", [None, 0.5])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e38])
@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_a_gradient_that_is_not_finite_stops_before_anything_moves(
    bad, max_grad_norm, kind, backend
):
    net = network()
    learner = Learner(net.parameters(), optimizer=kind, max_grad_norm=max_grad_norm)
    learned(learner, net, data())
    if backend is not None:
        learner.transform(partial(compiled, backend=backend))
    before, _ = split_state({"net": net.state_dict(), "optimizer": learner.state_dict()})

    def loss(batch):
        error = (net(batch) * bad).mean()
        return error, {}

    with pytest.raises(Diverged, match="gradient"):
        learner.minimize(loss, data()[0])
    after, _ = split_state({"net": net.state_dict(), "optimizer": learner.state_dict()})
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_modules_parameters_are_views_of_one_vector():
    net = network()
    learner = Learner(net.parameters())
    assert learner.flat.numel() == sum(parameter.numel() for parameter in net.parameters())
    learner.flat.data.zero_()
    assert all((parameter == 0).all() for parameter in net.parameters())
    net.load_state_dict(network().state_dict())  # a checkpoint is seen by the optimizer too
    expected = torch.cat([parameter.reshape(-1) for parameter in network().parameters()])
    assert torch.equal(learner.flat, expected)


def test_flatten_keeps_values_and_shapes():
    first, second = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.tensor(5.0))
    flat = flatten([first, second])
    assert flat.tolist() == [1, 1, 1, 1, 1, 1, 5]
    assert (first.shape, second.shape) == ((2, 3), ())


def test_frozen_and_unused_parameters_stay():
    net = network()
    net[0].requires_grad_(False)
    spare = nn.Parameter(torch.ones(2))
    learner = Learner([*net.parameters(), spare])
    learned(learner, net, data())
    assert torch.equal(net[0].weight, network()[0].weight)
    assert spare.tolist() == [1.0, 1.0]
    assert not torch.equal(net[2].weight, network()[2].weight)


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_a_restored_learner_continues_as_if_never_stopped(kind):
    net, other = network(), network()
    learner = Learner(net.parameters(), optimizer=kind)
    learned(learner, net, data())
    state = join_state(*split_state(learner.state_dict()))
    other.load_state_dict(net.state_dict())
    restored = Learner(other.parameters(), optimizer=kind)
    restored.load_state_dict(state)
    learned(learner, net, data(2), [0.1, 0.1])
    learned(restored, other, data(2), [0.1, 0.1])
    assert torch.equal(learner.flat, restored.flat)


def test_an_empty_state_is_that_of_a_fresh_optimizer():
    net, other = network(), network()
    learner, fresh = Learner(net.parameters()), Learner(other.parameters())
    assert all((tensor == 0).all() for tensor in fresh.state_dict().values())
    learned(learner, net, data())
    net.load_state_dict(network().state_dict())
    learner.load_state_dict({})
    learned(learner, net, data(2), [0.1, 0.1])
    learned(fresh, other, data(2), [0.1, 0.1])
    assert torch.equal(learner.flat, fresh.flat)


def test_a_loaded_state_keeps_the_learning_rate():
    learner = Learner(network().parameters())
    learner.learning_rate = 0.25
    learner.load_state_dict({})
    assert learner.learning_rate == 0.25


def test_mean_metrics_by_hand():
    one, two, three, four = torch.arange(1.0, 5.0)
    means = mean_metrics([{"a": one, "b": two}, {"a": four, "b": three}])
    assert {key: value.item() for key, value in means.items()} == {"a": 2.5, "b": 2.5}
    assert mean_metrics([]) == {}


def test_adam_is_one_fused_kernel_however_many_layers(monkeypatch):
    calls, fused = [], torch._fused_adam_
    monkeypatch.setattr(
        torch, "_fused_adam_", lambda *lists, **options: (calls.append(1), fused(*lists, **options))
    )
    net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(9)), nn.Linear(3, 2))
    learned(Learner(net.parameters()), net, data(2), RATES[:2])
    assert len(calls) == 2
