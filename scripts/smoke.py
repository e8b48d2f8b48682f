"""Trains every algorithm for a moment through the command line, as a user would.

Run it as `make smoke`. One command an algorithm, taken from `conf/algo`; a command that fails, or a
run folder without its checkpoint, ends the script with exit code 1.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
RLRUN = [sys.executable, "-m", "rlrun.cli"]
TABULAR_ENV, BOX_ENV = "FrozenLake-v1", "Pendulum-v1"
ENVS = {
    "value_iteration": TABULAR_ENV,
    "policy_iteration": TABULAR_ENV,
    "q_learning": TABULAR_ENV,
    "sarsa": TABULAR_ENV,
    "expected_sarsa": TABULAR_ENV,
    "ddpg": BOX_ENV,
    "td3": BOX_ENV,
    "crossq": BOX_ENV,
}
SHORT = ["experiment=smoke", "preset=none"]
EXTRA = {"crossq": ["algo.learning_starts=1990"]}  # its wide critics are slow


def main() -> int:
    """Run every algorithm; return the exit code."""
    failed = []
    for path in sorted((ROOT / "conf" / "algo").glob("*.yaml")):
        name = path.stem
        with tempfile.TemporaryDirectory() as folder:
            words = [f"algo={name}", f"env={ENVS.get(name, 'CartPole-v1')}", *SHORT]
            words += EXTRA.get(name, [])
            command = [*RLRUN, "train", *words, f"output_dir={folder}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            manifests = list(Path(folder).rglob("checkpoints/step-*/manifest.json"))
            status = [
                json.loads(each.read_text())["status"]
                for each in Path(folder).glob("*/*/*/manifest.json")
            ]
        good = done.returncode == 0 and manifests and status == ["finished"]
        print(f"{'ok  ' if good else 'FAIL'}  rlrun train {' '.join(words)}", flush=True)
        if not good:
            failed.append(name)
            print(done.stdout[-2000:], done.stderr[-2000:], sep="\n")
    print(f"{len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
