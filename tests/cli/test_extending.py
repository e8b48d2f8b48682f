"""The package of docs/extending.md, installed as pip would, and used as its page says."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
        *("train", "algo=calm", "network=fourier", "env=my_rl.envs:Corridor-v0", *BRIEF),
        *("--cfg",),
        path=[site],
        cwd=tmp_path,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "waves: 32" in run.stdout
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
    away = rlrun(*trusted, path=[], cwd=tmp_path)
    assert away.returncode == 2
    for name in ("'calm'", "'fourier'"):
        reason = f"{name} comes from the package 'my-rl 0.1', which is not installed here"
        assert reason in away.stderr
    assert "Traceback" not in away.stderr


def test_listed_with_what_is_built_in(site, tmp_path):
    listed = rlrun("list", "algos", "networks", path=[site], cwd=tmp_path)
    assert listed.returncode == 0
    assert re.search(r"^  calm .*A2C with a penalty on large values\. \(my-rl 0\.1\)$", listed.stdout, re.M)
    assert re.search(r"^  fourier +Sines and cosines of the observation\. \(my-rl 0\.1\)$", listed.stdout, re.M)
    assert re.search(r"^  ppo ", listed.stdout, re.M)
    near = rlrun("train", "algo=clam", path=[site], cwd=tmp_path)
    assert near.returncode == 2
    assert "did you mean calm?" in near.stderr


def test_what_fails_is_named_and_harms_nothing_else(site, tmp_path):
    broken = tmp_path / "broken"
    (broken / "bad_rl" / "conf" / "network").mkdir(parents=True)
    (broken / "bad_rl" / "__init__.py").write_text("raise RuntimeError('no such driver')\n")
    (broken / "bad_rl" / "conf" / "network" / "bad.yaml").write_text("name: bad\n")
    points = {
        "rlrun.networks": {"bad": "bad_rl:Net", "mlp": "bad_rl:Net"},
        "rlrun.algos": {"path": "pathlib:Path"},
        "rlrun.configs": {"bad_rl": "bad_rl"},
    }
    install(broken, "bad-rl", {"entry-points": points})
    listed = rlrun("list", "networks", path=[broken], cwd=tmp_path)
    assert listed.returncode == 0
    assert "package bad-rl cannot be imported: RuntimeError: no such driver" in listed.stdout
    chosen = rlrun("train", "algo=ppo", "network=bad", path=[broken], cwd=tmp_path)
    assert chosen.returncode == 2
    assert "network.name: 'bad' of the package bad-rl cannot be imported" in chosen.stderr
    taken = rlrun("train", "algo=ppo", "network=mlp", path=[broken], cwd=tmp_path)
    assert taken.returncode == 2
    assert "network.name: 'mlp' is offered by rlrun and bad-rl" in taken.stderr
    other = rlrun("train", "algo=ppo", "network=gru", "--cfg", path=[broken], cwd=tmp_path)
    assert (other.returncode, other.stderr) == (0, "")
    assert not (tmp_path / "runs").exists()
