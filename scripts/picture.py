"""Draws the README's picture: the return over training of every seed in a sweep's folder.

python scripts/picture.py runs/ppo/CartPole-v1/<sweep> docs/images/cartpole.svg

Needs matplotlib (`pip install matplotlib`).
"""

import json
import sys
from pathlib import Path

from plotting import plt, save


def curve(path: Path) -> tuple[list[int], list[float]]:
    """Return steps and mean training returns of one run."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "rollout/ep_rew_mean" in row]
    return [row["step"] for row in rows], [row["rollout/ep_rew_mean"] for row in rows]


def main() -> None:
    """Draw the picture."""
    sweep, target = Path(sys.argv[1]), Path(sys.argv[2])
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    files = sorted(sweep.glob("*/metrics.jsonl"))
    for path in files:
        steps, returns = curve(path)
        axes.plot([step / 1000 for step in steps], returns, color="#2f6fb3", alpha=0.55, lw=1.3)
    axes.axhline(475, color="#999999", lw=0.8, ls="--")
    axes.annotate("solved: 475", (0, 475), (2, 480), color="#777777", fontsize=8)
    axes.set_xlabel("thousand environment steps")
    axes.set_ylabel("mean return of 100 episodes")
    axes.set_title(f"rlrun train algo=ppo env=CartPole-v1, {len(files)} seeds", fontsize=10)
    axes.set_ylim(0, 510)
    save(figure, target)


if __name__ == "__main__":
    main()
