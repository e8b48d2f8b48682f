"""What the processor can do, in PyTorch's words."""

from typing import Any

import torch


def abilities() -> dict[str, Any]:
    """Return names like `avx512_bf16` and what holds of them; empty where PyTorch cannot tell."""
    known: Any = getattr(torch.cpu, "get_capabilities", dict)
    found: dict[str, Any] = known()
    return found
