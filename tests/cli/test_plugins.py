"""Packages that plug in badly: each is named in one message, and harms no other command."""

import sys

import pytest

from rlrun.cli import main
from rlrun.plugins import absent
from tests.cli.test_extending import install

PPO = ["train", "algo=ppo", "env=CartPole-v1", "preset=none"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def package(place, monkeypatch, name, points, code="", files=()):
    """Install a package of one module, which raises what `code` says, and YAML files."""
    module = place / name / f"{name}_rl"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text(code)
    for file in files:
        path = module / "conf" / f"{file}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name: {path.stem}\n")
    found = {"rlrun.configs": {name: f"{name}_rl"}, **points}
    install(place / name, f"{name}-rl", {"entry-points": found})
    monkeypatch.syspath_prepend(place / name)


def said(capsys, *words):
    assert main(list(words)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("raise RuntimeError('no such driver')", "RuntimeError: no such driver"),
        ("import nowhere_rl", "ModuleNotFoundError: No module named 'nowhere_rl'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_is_named_and_harms_nothing_else(
    code, what, tmp_path, monkeypatch, capsys
):
    points = {"rlrun.networks": {"bad": "bad_rl:Net"}}
    package(tmp_path, monkeypatch, "bad", points, code, ["network/bad"])
    error = said(capsys, *PPO, "network=bad")
    assert f"network.name: 'bad' of the package bad-rl cannot be imported: {what}" in error
    assert "`python -c 'import bad_rl'` shows where" in error
    assert main(["list", "networks"]) == 0
    shown = capsys.readouterr().out
    assert f"'bad' of the package bad-rl cannot be imported: {what}" in shown
    assert "\n  gru " in shown
    assert main([*PPO, "network=gru", "--cfg"]) == 0


def test_a_plugin_is_not_imported_to_be_recommended(tmp_path, monkeypatch, capsys):
    points = {"rlrun.algos": {"bad": "bad_rl:Algo"}}
    package(tmp_path, monkeypatch, "bad", points, "raise RuntimeError", ["algo/bad"])
    error = said(capsys, "train", "algo=sac", "network=gru", "env=Pendulum-v1", "preset=none")
    assert "gru has a memory, which sac cannot train" in error


def test_a_name_that_is_taken_is_refused(tmp_path, monkeypatch, capsys):
    points = {"rlrun.networks": {"mlp": "one_rl:Net", "both": "one_rl:Net"}}
    package(tmp_path, monkeypatch, "one", points, "", ["network/both"])
    points = {"rlrun.networks": {"both": "two_rl:Net"}}
    package(tmp_path, monkeypatch, "two", points, "", ["preset/one/two"])
    taken = said(capsys, *PPO, "network=mlp")
    assert "network.name: 'mlp' is offered by rlrun and one-rl; one must take another" in taken
    both = said(capsys, *PPO, "network=both")
    assert "network.name: 'both' is offered by one-rl and two-rl" in both
    assert main(["list", "networks"]) == 0
    assert "'mlp' is offered by rlrun and one-rl" in capsys.readouterr().out
    assert main([*PPO, "network=gru", "--cfg"]) == 0


def test_a_yaml_file_whose_name_is_taken_is_refused(tmp_path, monkeypatch, capsys):
    package(tmp_path, monkeypatch, "one", {}, "", ["network/gru"])
    error = said(capsys, *PPO, "network=gru")
    file = tmp_path / "one" / "one_rl" / "conf" / "network" / "gru.yaml"
    assert f"network: 'gru' is taken already; {file} of a plug-in" in error
    assert main([*PPO, "network=mlp", "--cfg"]) == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("pathlib:Path", "pathlib:Path is no subclass of rlrun.nets.torso.Torso"),
        ("odd_rl:Bare", "odd_rl:Bare has no `Config` that is a dataclass"),
        ("odd_rl:Half", "odd_rl:Half does not define forward"),
        ("odd_rl:Gone", "cannot be imported: AttributeError"),
    ],
)
def test_a_class_that_cannot_be_built_says_why(value, reason, tmp_path, monkeypatch, capsys):
    code = """
from dataclasses import dataclass
from rlrun.nets.torso import Torso
class Bare(Torso):
    def __init__(self, config, space): ...
    def forward(self, obs): ...
class Half(Bare):
    Config = dataclass(type("Config", (), {}))
    forward = Torso.forward
"""
    monkeypatch.delitem(sys.modules, "odd_rl", raising=False)
    points = {"rlrun.networks": {"odd": value}}
    package(tmp_path, monkeypatch, "odd", points, code, ["network/odd"])
    assert reason in said(capsys, *PPO, "network=odd")


def test_an_algorithm_without_its_yaml_file_says_so(tmp_path, monkeypatch, capsys):
    package(tmp_path, monkeypatch, "dry", {"rlrun.algos": {"dry": "dry_rl:Algo"}})
    error = said(capsys, "train", "algo=dry", "env=CartPole-v1")
    assert "algo: 'dry' of the package dry-rl comes without its YAML file: algo/dry.yaml" in error


def test_an_environments_module_that_fails_is_one_message(tmp_path, monkeypatch, capsys):
    package(tmp_path, monkeypatch, "world", {}, "raise OSError('no licence')")
    error = said(capsys, "train", "env=world_rl:World-v0")
    assert "world_rl:World-v0: its module cannot be imported: OSError: no licence" in error
    (tmp_path / "lonely_rl.py").write_text("")
    error = said(capsys, "train", "env=lonely_rl:World-v0")
    assert "it lies in this folder; have Python search it: PYTHONPATH=. rlrun" in error


@pytest.mark.parametrize("note", [None, 3, [], {"algo": 3}, {"other": "x"}])
def test_a_strange_note_about_packages_is_passed_over(note):
    assert absent({"algo": {"name": "calm"}, "network": 3}, note) == []


def test_a_note_about_packages_cannot_write_to_the_terminal():
    (problem,) = absent({"algo": {"name": "calm"}}, {"algo": "\x1b[2Jx"})
    assert problem.key == "algo.name"
    assert r"the package '\x1b[2Jx', which" in problem.message
