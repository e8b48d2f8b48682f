"""Draws the figures of `make sizes`: one picture for each part that was measured."""

from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator
from plotting import plt, save

COLOURS = ("#2f6fb3", "#d9822b", "#3f9b6b")
PARTS = {
    "act": "#2f6fb3",
    "environment": "#d9822b",
    "store": "#3f9b6b",
    "update": "#8a6bbd",
}
"""Parts of a step that are drawn; what else there is takes less than a hundredth of it."""
WIDE = (8, 3.2)
Row = dict[str, Any]


def draw(figures: dict[str, Any], folder: Path) -> None:
    """Draw every part there are figures of into `folder`."""
    for part, picture in PICTURES.items():
        if part in figures:
            picture(figures[part]["rows"], folder / f"sizes_{part}.svg")


def envs(rows: list[Row], target: Path) -> None:
    """Draw steps a second, and where the time of a step goes, over the number of environments."""
    figure, (left, *rights) = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    names = {"sync": "Gymnasium's", "torch": "batched"}
    for colour, right, (kind, points) in zip(
        COLOURS, rights, by(rows, "kind").items(), strict=False
    ):
        sizes = [row["num_envs"] for row in points]
        curve(left, sizes, points, "steps_per_second", colour, names[kind])
        for part, shade in PARTS.items():
            spent = [row["microseconds"][part] for row in points]
            right.loglog(sizes, spent, marker=".", lw=1.2, color=shade, label=part)
        right.set_title(f"microseconds of a step, {names[kind]}", fontsize=10)
        right.set_ylim(0.05, 1000)
    rights[1].legend(fontsize=7, frameon=False)
    left.set_title("PPO on CartPole, steps a second", fontsize=10)
    left.legend(fontsize=8, frameon=False)
    for axes in (left, *rights):
        axes.set_xlabel("environments")
        ticks(axes, rows, "num_envs")
    left.set_yticks([2_000, 5_000, 10_000, 20_000, 50_000, 100_000], minor=False)
    left.yaxis.set_major_formatter("{x:,.0f}")
    left.yaxis.set_minor_formatter(NullFormatter())
    save(figure, target)


def replay(rows: list[Row], target: Path) -> None:
    """Draw resident bytes, and their ratio to those expected, over the size of the memory."""
    figure, (left, right) = plt.subplots(1, 2, figsize=WIDE, layout="constrained")
    for colour, (kind, points) in zip(COLOURS, by(rows, "kind").items(), strict=False):
        sizes = [row["buffer_size"] for row in points]
        left.loglog(sizes, [row["expected"] / 1e6 for row in points], color=colour, lw=1, ls="--")
        left.loglog(sizes, [row["resident"] / 1e6 for row in points], "o", color=colour, ms=4)
        ratios = [row["resident"] / row["expected"] for row in points]
        right.semilogx(sizes, ratios, marker=".", color=colour, lw=1.2, label=kind)
    left.set_title("megabytes: resident (dots), expected (lines)", fontsize=10)
    right.set_title("resident / expected", fontsize=10)
    right.set_ylim(0.8, 1.5)
    right.axhline(1.0, color="#999999", lw=0.8, ls="--")
    right.legend(fontsize=7, frameon=False)
    for axes in (left, right):
        axes.set_xlabel("buffer_size")
    save(figure, target)


def width(rows: list[Row], target: Path) -> None:
    """Draw the time of a gradient step over the width, beside a line of fourfold per doubling."""
    figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
    for colour, (algo, points) in zip(COLOURS, by(rows, "algo").items(), strict=False):
        sizes = [row["width"] for row in points]
        curve(axes, sizes, points, "milliseconds", colour, algo.upper())
        last = points[-1]["milliseconds"]
        guide = [last * (size / sizes[-1]) ** 2 for size in sizes[-3:]]
        axes.loglog(sizes[-3:], guide, color="#999999", lw=0.8, ls="--")
    ticks(axes, rows, "width")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("width of both hidden layers")
    axes.set_title("milliseconds of a gradient step, batch of 256", fontsize=10)
    axes.annotate(
        "dashed: four times for twice the width",
        (0.3, 0.03),
        xycoords="axes fraction",
        color="#777777",
        fontsize=8,
    )
    axes.legend(fontsize=8, frameon=False)
    save(figure, target)


def curve(
    axes: Axes, sizes: list[int], points: list[Row], key: str, colour: str, label: str
) -> None:
    """Draw medians over sizes, and their range as a band."""
    axes.loglog(sizes, [row[key] for row in points], marker=".", color=colour, lw=1.3, label=label)
    low, high = zip(*(row["range"] for row in points), strict=True)
    axes.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)


def ticks(axes: Axes, rows: list[Row], key: str) -> None:
    """Mark the sizes that were measured, as plain numbers."""
    axes.set_xticks(sorted({row[key] for row in rows}), minor=False)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_locator(NullLocator())


def by(rows: list[Row], key: str) -> dict[str, list[Row]]:
    """Return rows by the value of a key, which lie together."""
    return {name: list(found) for name, found in groupby(rows, lambda row: row[key])}


PICTURES = {"envs": envs, "replay": replay, "width": width}
