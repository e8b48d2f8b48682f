"""The packages that environments come from: one row each, and nothing about them elsewhere."""

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Family:
    """The environments of one package.

    `prefixes` are the beginnings of their ids and `module` what registers them when it is imported,
    or through its function `register`; a family without a module comes with Gymnasium. `words`
    tell in a message about a missing package that it is this one. `base` is the YAML in `conf/env`
    that the environments start from.
    """

    title: str
    extra: str
    prefixes: tuple[str, ...] = ()
    module: str = ""
    register: str = ""
    words: tuple[str, ...] = ()
    base: str = "_base"

    @property
    def fix(self) -> str:
        """The command that installs the package."""
        return f"pip install 'rlrun[{self.extra}]'"


ROADS = (
    *("highway-", "merge-", "exit-", "intersection-", "roundabout-", "two-way-", "u-turn-"),
    *("parking-", "racetrack-", "lane-keeping-"),
)
FAMILIES = (
    Family(
        *("Atari", "atari", ("ALE/",), "ale_py"),
        words=("ale_py", "ale-py", "opencv", "cv2"),
        base="_atari",
    ),
    Family("MinAtar", "minatar", ("MinAtar/",), "minatar.gym", "register_envs", ("minatar",)),
    Family(
        *("MiniGrid", "minigrid", ("MiniGrid-", "BabyAI-"), "minigrid"),
        words=("minigrid",),
        base="_minigrid",
    ),
    Family("highway-env", "highway", ROADS, "highway_env", words=("highway_env",)),
    Family(
        *("gym-anytrading", "trading", ("stocks-", "forex-"), "gym_anytrading"),
        words=("gym_anytrading",),
    ),
    Family("PettingZoo", "pettingzoo", ("pettingzoo/",), "pettingzoo"),
    Family("Box2D", "box2d", words=("Box2D", "box2d", "swig")),
    Family("MuJoCo", "mujoco", words=("mujoco", "MuJoCo")),
    Family("classic control", "classic-control", words=("pygame",)),
)


def family_of(name: str) -> Family | None:
    """Return the family whose ids begin as this one does, None where there is none."""
    name = name.rpartition(":")[2]
    return next((family for family in FAMILIES if name.startswith(family.prefixes)), None)


def families_near(name: str) -> list[Family]:
    """Return the families whose ids begin almost as this one, which may be misspelt, does."""
    return [family for family in FAMILIES if any(_near(name, each) for each in family.prefixes)]


def family_named(message: str) -> Family | None:
    """Return the family whose package a message says is missing, None where it names none."""
    return next((each for each in FAMILIES if any(word in message for word in each.words)), None)


def _near(name: str, prefix: str) -> bool:
    start = name[: len(prefix)].lower()
    return bool(get_close_matches(start, [prefix.lower()], cutoff=0.7))
