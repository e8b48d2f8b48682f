"""The scripts behind `make sizes`: what is run, how it is summed up, where it is kept."""

import importlib
import json

import pytest

from rlrun.bench import Timing
from rlrun.conf_dir import conf_dir
from rlrun.launch import prepare

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
    for num_envs in sizes.NUM_ENVS:
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


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_the_gradient_steps_counted_are_those_taken(sizes, algo, monkeypatch):
    from rlrun import bench
    from rlrun.nets.learner import Learner

    taken = []
    minimize = Learner.minimize

    def counting(learner, loss_fn, batch):
        taken.append(loss_fn.__name__)
        return minimize(learner, loss_fn, batch)

    case, gradients = sizes.width_case(algo, 512)
    bench.measure(bench.Case(case.words, case.steps, case.warm_up), [], 1)
    monkeypatch.setattr(Learner, "minimize", counting)
    bench.measure(bench.Case(case.words, case.steps, case.warm_up), [], 2)
    first = taken.count("loss" if algo == "ppo" else "critic_loss")
    taken.clear()
    bench.measure(bench.Case(case.words, case.steps, case.warm_up), [], 3)
    second = taken.count("loss" if algo == "ppo" else "critic_loss")
    assert second - first == gradients


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


def test_small_parts_are_drawn_together(plots):
    spent = {"act": 1.0, "environment": 2.0, "store": 3.0, "update": 4.0}
    drawn = plots.step_parts({**spent, "logging": 0.5, "other": 0.25})
    assert drawn == {**spent, "rest": 0.75}


def test_every_part_there_are_figures_of_becomes_a_picture(plots, tmp_path):
    figures = json.loads((SCRIPTS.parent / "docs" / "sizes.json").read_text(encoding="utf-8"))
    plots.draw({"width": figures["width"]}, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["sizes_width.svg"]
    first = (tmp_path / "sizes_width.svg").read_bytes()
    assert first.startswith(b"<?xml")
    plots.draw({"width": figures["width"]}, tmp_path)
    assert (tmp_path / "sizes_width.svg").read_bytes() == first
