"""Whether a compiler is writing down what a function does, for all calls to come.

A branch on a flag would be written down as it stands at that moment; where that is wrong, code asks
here and computes with tensors instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_tracing: ContextVar[bool] = ContextVar("tracing", default=False)


def traced() -> bool:
    """Say whether a compiler is looking."""
    return torch.compiler.is_compiling() or _tracing.get()


@contextmanager
def tracing() -> Iterator[None]:
    """Let `traced` say yes inside."""
    token = _tracing.set(True)
    try:
        yield
    finally:
        _tracing.reset(token)
