"""The package of docs/extending.md, installed as pip would, and used as its page says."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rlrun.cli import main
from rlrun.verbs.completion import suggest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"
SHELL = re.compile(r"```sh\n(.*?)```", re.S)
BLOCK = re.compile(r"```(?:python|yaml|toml)\n# (\S+\.(?:py|yaml|toml))\n(.*?)```", re.S)
BRIEF = ["total_timesteps=64", "num_envs=2", "final_eval_episodes=2", "device=cpu", "accel=off"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder on the path of Python that holds the package and what pip writes about it."""
    place = tmp_path_factory.mktemp("site")
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for name, text in blocks:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (place / "my_rl" / "__init__.py").touch()
    install(place, "my-rl", tomllib.loads((place / "pyproject.toml").read_text())["project"])
    return place


def install(place, name, project):
    info = place / f"{name.replace('-', '_')}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def rlrun(*words, path, cwd):
    places = os.pathsep.join(str(each) for each in (*path, ROOT))
    return subprocess.run(
        [sys.executable, "-m", "rlrun.cli", *words],
        env={**os.environ, "PYTHONPATH": places, "CI": "true"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_all_of_it_trains_is_listed_and_is_played(site, tmp_path):
    words = ["train", "algo=calm", "network=fourier", "env=Corridor", *BRIEF]
    run = rlrun(*words, "--config-dir", str(site / "mine"), path=[site], cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "preset  calm/Corridor\n" in run.stdout
    (folder,) = tmp_path.glob("runs/calm/Corridor/*")
    assert '"train/penalty"' in (folder / "metrics.jsonl").read_text()
    assert "waves: 32\n" in (folder / "config.yaml").read_text()
    trusted = ("eval", str(folder), "episodes=2", "--trust-code")
    played = rlrun(*trusted, path=[site], cwd=tmp_path)
    assert (played.returncode, played.stderr) == (0, "")
    listed = rlrun("list", "networks", path=[site], cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "fourier" in listed.stdout


def test_every_command_of_the_page_works(site, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").symlink_to(site / "mine")
    lines = [line for block in SHELL.findall(PAGE.read_text()) for line in block.splitlines()]
    commands = [line.split()[1:] for line in lines if line.startswith("rlrun ")]
    assert [words[0] for words in commands] == ["train", "eval", "list", "train", "train", "train"]
    for words in commands:
        if words[0] == "train":
            words += BRIEF
        if "RUN" in words:
            (run,) = tmp_path.glob("runs/ppo/*/*")
            words[words.index("RUN")] = str(run)
            bare = [word for word in words if word != "--trust-code"]
            assert main(bare) == 2
            assert "add --trust-code if you trust it" in capsys.readouterr().err
        assert main(words) == 0, words
    assert len(list(tmp_path.glob("runs/calm/my_rl.envs-Corridor-v0/*"))) == 1
    wide, sweep = sorted(tmp_path.glob("runs/calm/Corridor/*"), key=lambda run: "sweep" in run.name)
    assert "waves: 128\n" in (wide / "config.yaml").read_text()
    assert len(list(sweep.glob("00?_seed=?"))) == 3


def test_listed_with_what_is_built_in(site, monkeypatch, capsys):
    monkeypatch.syspath_prepend(site)
    assert main(["list", "algos", "networks", "presets", "--config-dir", str(site / "mine")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  calm .*A2C with a penalty on large values\. \(my-rl 0\.1\)$", shown, re.M)
    assert re.search(
        r"^  fourier +Sines and cosines of the observation\. \(my-rl 0\.1\)$", shown, re.M
    )
    assert re.search(r"^  ppo .*[^)]$", shown, re.M)
    assert re.search(r"^  rainbow .*a YAML file over another algorithm$", shown, re.M)
    assert re.search(r"^  calm/Corridor$", shown, re.M)
    assert main(["train", "algo=clam"]) == 2
    assert "did you mean calm?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "word", "expected"),
    [
        ("rlrun train algo=ca", "ca", ["calm"]),
        ("rlrun train algo=calm network=fou", "fou", ["fourier"]),
        ("rlrun train algo=calm algo.cal", "algo.cal", ["algo.calm="]),
        ("rlrun train algo=ppo algo.cal", "algo.cal", []),
        ("rlrun train --config-dir mine network=four", "four", ["fourier", "fourier_wide"]),
    ],
)
def test_completed_with_what_is_built_in(site, monkeypatch, line, word, expected):
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(site)
    assert suggest(line, word) == expected


@pytest.mark.parametrize("verb", ["eval", "resume"])
def test_a_saved_run_names_the_package_that_is_missing(site, verb, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as there:
        there.syspath_prepend(site)
        words = [*BRIEF, "algo.n_steps=16", f"output_dir={tmp_path}", "preset=none"]
        assert main(["train", "algo=calm", "network=fourier", "env=CartPole-v1", *words]) == 0
    (run,) = tmp_path.glob("calm/CartPole-v1/*")
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["packages"] == {"algo": "my-rl 0.1", "network": "my-rl 0.1"}
    (run / "manifest.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    capsys.readouterr()
    assert main([verb, str(run)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "rlrun: 2 problems in the configuration:"
    for line, name in zip(lines[1:], ("'calm'", "'fourier'"), strict=True):
        assert f"{name} comes from the package 'my-rl 0.1', which is not installed here" in line
