"""The scripts behind `make sizes`: what is run, how it is summed up, where it is kept."""

import importlib
import json

import pytest

from rlrun import bench
from rlrun.bench import Timing
from rlrun.conf_dir import conf_dir
from rlrun.launch import prepare
from rlrun.nets.learner import Learner

SCRIPTS = conf_dir().parent / "scripts"


@pytest.fixture
def sizes(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("sizes")


@pytest.fixture
def plots(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("sizes_plots")


@pytest.mark.parametrize("kind", ["sync", "torch"])
def test_an_update_sees_as_many_steps_in_as_many_minibatches_at_every_size(sizes, kind):
    for num_envs in (1, 64, 4096):
        case = sizes.envs_case(kind, num_envs)
        run = prepare([*case.words, "preset=none"], []).recipe.run
        assert run.num_envs * run.algo["n_steps"] == 4096
        assert (run.algo["batch_size"], run.algo["n_epochs"]) == (1024, 4)
        assert run.env.vectorization == kind
        assert case.steps % 4096 == 0
        assert case.warm_up == 4096


def test_gradient_steps_are_counted_by_hand(sizes):
    # 512 / 128 = 4 updates: of 256 steps and 20 epochs of one batch, or of 8 steps and 8 batches
    ppo, ppo_gradients = sizes.width_case("ppo", 128)
    assert (ppo.steps, ppo_gradients) == (4 * 256, 4 * 20)
    sac, sac_gradients = sizes.width_case("sac", 128)
    assert (sac.steps, sac_gradients) == (4 * 8, 4 * 8)
    assert sizes.width_case("sac", 1024)[1] == 8


@pytest.mark.parametrize(("algo", "loss"), [("ppo", "loss"), ("sac", "critic_loss")])
def test_the_gradient_steps_counted_are_those_taken(sizes, algo, loss, monkeypatch):
    taken = []
    minimize = Learner.minimize

    def counting(learner, loss_fn, batch):
        taken.append(loss_fn.__name__)
        return minimize(learner, loss_fn, batch)

    monkeypatch.setattr(Learner, "minimize", counting)
    case, gradients = sizes.width_case(algo, 512)
    counts = []
    for repeats in (1, 2):
        taken.clear()
        bench.measure(case, ["network.sizes=[4]"], repeats)
        counts.append(taken.count(loss))
    assert counts[1] - counts[0] == gradients


def test_times_of_the_parts_are_medians_a_step(sizes):
    timings = [Timing(100, seconds, {"act": seconds / 2}) for seconds in (1.0, 4.0, 2.0)]
    row = sizes.speed(timings)
    assert row["steps_per_second"] == 50
    assert row["range"] == [25, 100]
    assert row["microseconds"] == {"act": 10_000.0}  # half of 2 s, over 100 steps


def test_memory_without_files_is_read(sizes, tmp_path):
    status = tmp_path / "status"
    status.write_text("VmRSS:\t 9000 kB\nRssAnon:\t 1234 kB\nRssFile:\t 5 kB\n", encoding="utf-8")
    assert sizes.anonymous(status) == 1234 * 1024
    status.write_text("VmRSS:\t 9000 kB\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="no RssAnon"):
        sizes.anonymous(status)


def test_a_part_replaces_its_own_figures_alone(sizes, tmp_path):
    store = tmp_path / "sizes.json"
    sizes.record("envs", [{"num_envs": 1}], store)
    sizes.record("width", [{"width": 32}], store)
    sizes.record("envs", [{"num_envs": 4}], store)
    figures = json.loads(store.read_text(encoding="utf-8"))
    assert figures["envs"]["rows"] == [{"num_envs": 4}]
    assert figures["width"]["rows"] == [{"width": 32}]
    assert set(figures["envs"]) == {"machine", "torch", "load", "rows"}


def test_the_processor_is_named(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    machine = importlib.import_module("machine")
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    processors = tmp_path / "cpuinfo"
    processors.write_text("processor\t: 0\nmodel name\t: Abacus 3\n\n", encoding="utf-8")
    assert machine.describe(processors) == "Abacus 3, 2 cores"
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "wood")
    assert machine.describe(tmp_path / "none") == "wood, 2 cores"


def test_rows_of_one_kind_are_one_curve(plots):
    rows = [{"kind": "sync", "n": 1}, {"kind": "sync", "n": 4}, {"kind": "torch", "n": 1}]
    assert plots.by(rows, "kind") == {"sync": rows[:2], "torch": rows[2:]}


def test_every_part_there_are_figures_of_becomes_a_picture(plots, tmp_path):
    figures = json.loads((SCRIPTS.parent / "docs" / "sizes.json").read_text(encoding="utf-8"))
    plots.draw({"width": figures["width"]}, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["sizes_width.svg"]
    first = (tmp_path / "sizes_width.svg").read_bytes()
    assert first.startswith(b"<?xml")
    plots.draw({"width": figures["width"]}, tmp_path)
    assert (tmp_path / "sizes_width.svg").read_bytes() == first
