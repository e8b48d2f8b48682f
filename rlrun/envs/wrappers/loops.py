"""Loops over pixels that Numba compiles, where it is installed.

A loop calls no other, even for the few lines that two of them share: what is compiled with another
function in it is not found again on disk, and every process would compile it anew for a second.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

Loop: TypeAlias = Callable[..., Any]


def compiled(loop: Loop) -> Loop | None:
    """Return a function compiled, kept on disk where there is a place; None without Numba."""
    try:
        import numba
    except ImportError:
        return None
    try:
        made: Loop = numba.njit(cache=True)(loop)
    except RuntimeError:  # nowhere to keep what it compiles
        made = numba.njit(loop)
    return made


@cache
def compiled_once(loop: Loop) -> Loop | None:
    """Return what `compiled` does of a loop of a module, the same at each call."""
    return compiled(loop)
