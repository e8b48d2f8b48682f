"""Loops over pixels that Numba compiles, where it is installed."""

from collections.abc import Callable
from typing import Any, TypeAlias

Loop: TypeAlias = Callable[..., Any]


def compiled(*loops: Loop) -> tuple[Loop, ...] | None:
    """Return the functions compiled, kept on disk where there is a place; None without Numba."""
    try:
        import numba
    except ImportError:
        return None
    try:
        return tuple(numba.njit(cache=True)(loop) for loop in loops)
    except RuntimeError:  # nowhere to keep what it compiles
        return tuple(numba.njit(loop) for loop in loops)
