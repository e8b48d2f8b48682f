"""Counts the work of a gradient step: multiplications and additions in products of matrices."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

FACTORS = {
    **{"linear": (0, 1), "conv2d": (0, 1), "matmul": (0, 1), "bmm": (0, 1), "mm": (0, 1)},
    **{"addmm": (1, 2), "baddbmm": (1, 2)},
}
"""From functions that are products to the places of their two factors among the arguments."""
CELLS = ("gru", "lstm")


class Operations(TorchFunctionMode):
    """Adds up, while entered, what is called, and what its gradient will take.

    That is as much again for each factor that has a gradient. `torch.utils.flop_counter` counts
    more, and loads the compiler to do so, which takes longer than a short run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, and count it if it is a product."""
        found = func(*args, **(kwargs or {}))
        name = func.__name__
        if name in FACTORS:
            self.total += _product(name, found, *(args[place] for place in FACTORS[name]))
        elif name in CELLS:
            self.total += _cell(args)
        return found


def _product(name: str, found: Tensor, one: Tensor, other: Tensor) -> int:
    summed = other[0].numel() if name == "conv2d" else one.shape[-1]
    gradients = one.requires_grad + other.requires_grad if found.requires_grad else 0
    return 2 * found.numel() * summed * (1 + gradients)


def _cell(args: tuple[Any, ...]) -> int:
    rows = args[0].numel() // args[0].shape[-1]
    weights = [part for each in args if isinstance(each, list | tuple) for part in each]
    matrices = [part for part in weights if isinstance(part, Tensor) and part.ndim == 2]
    return sum(2 * rows * each.numel() * (3 if each.requires_grad else 1) for each in matrices)
