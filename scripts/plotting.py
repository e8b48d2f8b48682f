"""How the pictures of the documentation are drawn: SVG that is the same for the same numbers."""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "rlrun"

import matplotlib.pyplot as plt  # noqa: E402 - after the choice of backend
from matplotlib.figure import Figure  # noqa: E402


def save(figure: Figure, target: Path) -> None:
    """Write a figure, without a date and without the frame's upper and right side."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)
