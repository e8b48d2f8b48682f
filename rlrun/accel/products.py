"""Which library multiplies matrices in float32 on a processor.

PyTorch asks MKL, which keeps to AVX2 on processors of AMD; oneDNN uses the AVX-512 they have, and
takes half the time. PyTorch asks oneDNN only where it may round float32 to bfloat16. On processors
without units for that (AMX) oneDNN does not, and computes in float32 all the same; one product is
looked at before this is believed. A call of oneDNN takes some 15 us more, so small products stay.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from rlrun.accel.processor import abilities

WORTH_ONEDNN = 5_000_000
"""Multiplications and additions of a layer's product from which oneDNN pays: docs/performance.md"""
THIN = 8
"""A product with a side up to this is left out of account: compiled, a loop makes it."""


class ProductChoice:
    """Chooses for the gradient steps of one learner, by the first batch and the parameters.

    oneDNN makes and keeps code for every size, so batches of another size than the first stay with
    MKL. So does the first step itself, in which a compiler may work that refuses the setting.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._rows: int | None = None

    def __call__(self, batch: Any) -> AbstractContextManager[None]:
        """Return what to enter for a gradient step on a batch."""
        if self._rows is None:
            large = operations(self._parameters, batch) >= WORTH_ONEDNN
            self._rows = rows(batch) if large else 0
            return nullcontext()
        if self._rows and rows(batch) == self._rows:
            return through_onednn()
        return nullcontext()


def operations(parameters: Sequence[Tensor], batch: Any) -> float:
    """Return the multiplications and additions of a layer's product with a batch, on average.

    By shapes alone: `Operations` counts what is called, which a compiled step does not show. Layers
    are weights of more than `THIN` inputs and outputs; biases of stacked networks are `[K, 1, F]`.
    """
    layers = [each.numel() for each in parameters if each.ndim > 1 and min(each.shape[-2:]) > THIN]
    return 2 * rows(batch) * sum(layers) / max(len(layers), 1)


def rows(batch: Any) -> int:
    """Return the rows of a batch `[B, ...]`, or steps of one `[T, N, ...]`: those of a scalar each.

    That is the fewest numbers of all tensors that are as long as the first one.
    """
    tensors = [each for each in tree_leaves(batch) if isinstance(each, Tensor) and each.ndim]
    return min((each.numel() for each in tensors if len(each) == len(tensors[0])), default=0)


@contextmanager
def through_onednn() -> Iterator[None]:
    """Let oneDNN make the products of float32 matrices."""
    library: Any = torch.backends.mkldnn  # its stub lacks what is asked here
    backend = library.matmul
    before = backend.fp32_precision
    backend.fp32_precision = "bf16"
    try:
        yield
    finally:
        backend.fp32_precision = before


@cache
def onednn_is_faster() -> bool:
    """Say whether large float32 products are faster through oneDNN, and float32 still."""
    able = abilities()
    slow = "AMD" in able.get("cpu_name", "") and torch.backends.mkl.is_available()
    usable = torch.backends.mkldnn.is_available() and able.get("avx512_bw", False)
    return slow and usable and not able.get("amx_bf16", False) and _keeps_float32()


def _keeps_float32() -> bool:
    number = 1.0 + 2.0**-12  # bfloat16 has no such number: 1
    matrix = torch.full((256, 256), number)
    with through_onednn():
        product = matrix @ matrix
    return bool((product.double() / 256 - number**2).abs().max() < 2.0**-20)
