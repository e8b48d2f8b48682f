"""The script behind `make results`: figures to a table, rows that name what exists."""

import importlib.util
import shlex
from pathlib import Path

import pytest
import yaml

from rlrun.conf_dir import choices, conf_dir
from tests.recipes import recipe

PATH = conf_dir().parent / "scripts" / "results.py"
ROWS = yaml.safe_load((conf_dir().parent / "docs" / "results.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def results(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("results", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DOCS", tmp_path)
    (tmp_path / "results.yaml").write_text("", encoding="utf-8")
    return module


ROW = {"name": "ppo/Taxi-v4", "command": "rlrun train x=1", "target": 8, "published": "9 (book)"}


def test_a_row_by_hand(results):
    figures = {
        "10": {"mean_reward": 9.0, "steps": 4000},
        "2": {"mean_reward": 5.0, "steps": 3000},
        "3": {"mean_reward": 13.0, "steps": 4000},
    }
    assert results.cells(ROW, figures) == [
        "Taxi-v4", "ppo", "4,000", "9.0 ± 4.0", "5.0, 13.0, 9.0", "8", "9 (book)"
    ]  # fmt: skip


def test_a_rate_by_hand(results):
    row = {**ROW, "target": 0.95, "metric": "success_rate", "seeds": 3}
    figures = {"0": {"success_rate": 1.0, "steps": 10}, "1": {"success_rate": 0.898, "steps": 10}}
    cells = results.cells(row, figures)
    assert (cells[1], cells[3]) == ("ppo (success rate)", "0.949 ± 0.072 (short)")
    assert cells[4] == "1.000, 0.898"
    assert "seed=0,1,2 -m" in results.page([row], {"ppo/Taxi-v4": figures})


def test_a_row_that_falls_short_says_so(results):
    figures = {"0": {"mean_reward": 7.9, "steps": 10}}
    assert results.cells(ROW, figures)[3] == "7.9 ± 0.0 (short)"


def test_figures_gather_and_a_new_one_replaces_its_own(results):
    results.record("ppo/Taxi-v4", 0, {"mean_reward": 1.0, "steps": 2})
    results.record("a2c/Taxi-v4", 0, {"mean_reward": 3.0, "steps": 2})
    results.record("ppo/Taxi-v4", 1, {"mean_reward": 4.0, "steps": 2})
    results.record("ppo/Taxi-v4", 0, {"mean_reward": 5.0, "steps": 2})
    held = results.recorded()
    assert {seed: each["mean_reward"] for seed, each in held["ppo/Taxi-v4"].items()} == {
        "0": 5.0,
        "1": 4.0,
    }
    assert held["a2c/Taxi-v4"]["0"]["mean_reward"] == 3.0


def test_the_page_shows_rows_with_figures_and_their_commands(results):
    figures = {"ppo/Taxi-v4": {"0": {"mean_reward": 8.0, "steps": 10}}}
    text = results.page([ROW, {**ROW, "name": "a2c/Taxi-v4"}], figures)
    assert text.count("Taxi-v4") == 1
    assert "rlrun train x=1 seed=0,1,2,3,4 -m" in text


@pytest.mark.parametrize(
    ("wanted", "found"),
    [([], ["a/x", "a/y", "b/x"]), (["a"], ["a/x", "a/y"]), (["b/x", "a/y"], ["a/y", "b/x"])],
)
def test_rows_are_chosen_by_name_or_algorithm(results, wanted, found):
    rows = [{"name": name} for name in ("a/x", "a/y", "b/x")]
    assert [row["name"] for row in results.choose(rows, wanted)] == found


def test_an_unknown_row_is_refused(results):
    with pytest.raises(SystemExit, match="no row 'c'; there are a/x"):
        results.choose([{"name": "a/x"}], ["c"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_every_row_is_a_run_with_a_preset(row):
    assert row["command"].startswith("rlrun train ")
    words = shlex.split(row["command"])[2:]
    made = recipe(*words)
    algo, _, env = row["name"].partition("/")
    preset = f"{made.run.algo['name']}/{made.run.env.name}"
    assert algo.partition("-")[0] == made.run.algo["name"]  # dqn-qr is a dqn
    assert env == made.run.env.name
    assert preset in choices("preset", [conf_dir()])
    assert Path(made.run.output_dir) == Path("runs")
