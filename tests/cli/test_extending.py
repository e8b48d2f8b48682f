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
BLOCK = re.compile(r"```(?:python|yaml|toml)\n# (\S+\.(?:py|yaml|toml))\n(.*?)```", re.S)
BRIEF = ["total_timesteps=64", "num_envs=2", "final_eval_episodes=2", "device=cpu", "accel=off"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder on the path of Python that holds the package and what pip writes about it."""
    place = tmp_path_factory.mktemp("site")
    blocks = BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
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
    run = rlrun(
        *("train", "algo=calm", "network=fourier", "env=Corridor", *BRIEF),
        *("--config-dir", str(site / "mine")),
        path=[site],
        cwd=tmp_path,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "preset  calm/Corridor\n" in run.stdout
    (folder,) = tmp_path.glob("runs/calm/Corridor/*")
    assert '"train/penalty"' in (folder / "metrics.jsonl").read_text()

    refused = rlrun("eval", str(folder), "episodes=2", path=[site], cwd=tmp_path)
    assert refused.returncode == 2
    assert "add --trust-code if you trust it" in refused.stderr
    trusted = ("eval", str(folder), "episodes=2", "--trust-code")
    played = rlrun(*trusted, path=[site], cwd=tmp_path)
    assert (played.returncode, played.stderr) == (0, "")


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
        ("rlrun train --config-dir mine env=Corr", "Corr", ["Corridor"]),
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
