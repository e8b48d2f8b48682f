"""Counts the work of a gradient step: multiplications and additions in products of matrices.

Those of dense layers, convolutions, recurrent networks and attention; what a network of one's own
does by other means, such as einsum, counts nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

FACTORS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), ("input", 0, "weight", 1)),
    **dict.fromkeys(("matmul", "__matmul__"), ("input", 0, "other", 1)),
    **dict.fromkeys(("bmm", "mm"), ("input", 0, "mat2", 1)),
    "addmm": ("mat1", 1, "mat2", 2),
    "baddbmm": ("batch1", 1, "batch2", 2),
    "scaled_dot_product_attention": ("query", 0, "key", 1),
}
"""From functions that are products to the names and places of their two factors."""
CELLS = ("gru", "lstm", "gru_cell", "lstm_cell")


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
            self.total += _product(name, found, args, kwargs or {})
        elif name in CELLS:
            self.total += _cell(args)
        return found


def _product(name: str, found: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    one_name, one_place, other_name, other_place = FACTORS[name]
    one = args[one_place] if one_place < len(args) else kwargs.get(one_name)
    other = args[other_place] if other_place < len(args) else kwargs.get(other_name)
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return 0  # called in a way that is not known; counting must never fail
    summed = other[0].numel() if name.startswith("conv") else one.shape[-1]
    if name == "scaled_dot_product_attention":
        summed = 2 * other.shape[-2]  # scores, and the sum of values weighted by them
    gradients = one.requires_grad + other.requires_grad if found.requires_grad else 0
    return 2 * found.numel() * summed * (1 + gradients)


def _cell(args: tuple[Any, ...]) -> int:
    rows = args[0].numel() // args[0].shape[-1]
    weights = [part for each in args if isinstance(each, list | tuple) for part in each]
    matrices = [part for part in weights if isinstance(part, Tensor) and part.ndim == 2]
    return sum(2 * rows * each.numel() * (3 if each.requires_grad else 1) for each in matrices)
