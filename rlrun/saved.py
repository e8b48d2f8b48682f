"""What an earlier rlrun did not write into the configuration of a run, and what it did instead.

A new key of the configuration gets a row here, so that `eval` and `resume` go on as the run began.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

ADDED: tuple[tuple[str, str, Any, str], ...] = (
    # group or "" for the top, key, value, and the name in the group that has such a key, if not all
    ("", "precision", "float32", ""),
    ("env", "wrappers", [], ""),
    ("env", "drop", [], ""),
    ("env", "success", "info", ""),
    ("network", "spectral_norm", False, "mlp"),
    ("algo", "sequence", {"burn_in": 8, "length": 16}, "dqn"),
    ("algo", "loss", "huber", "dqn"),
    ("algo", "n_fragments", 1, "trpo"),
    *(("algo", "n_step", 1, name) for name in ("sac", "td3", "ddpg", "crossq")),
)


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved configuration with the keys it lacks; other faults in it stay."""
    whole: dict[str, Any] = deepcopy(dict(values))
    for group, key, value, name in ADDED:
        place = whole.get(group) if group else whole
        if isinstance(place, dict) and name in ("", place.get("name")):
            place.setdefault(key, deepcopy(value))
    return whole
