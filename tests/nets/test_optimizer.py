"""What the compiler makes of the optimizer: what all parameters share is computed once."""

import pytest
import torch

from rlrun.accel.compiler import has_compiler
from rlrun.nets.optimizer import Adam


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")
def test_powers_are_computed_once_and_not_for_every_part_of_a_loop():
    from torch._inductor.utils import run_and_get_code

    size = 1003  # whole vectors and a rest
    optimizer = Adam(torch.zeros(size), betas=(0.9, 0.999), epsilon=1e-8)
    torch._dynamo.reset()
    moved = torch.compile(optimizer.moved)
    values = torch.ones(size), torch.ones(size), torch.tensor(0.1).double(), torch.tensor(True)
    found, programs = run_and_get_code(moved, *values)
    assert torch.allclose(found, torch.full((size,), 0.9))
    # in the loop they would be there twice each, as the rest of a vector has code of its own
    assert "".join(programs).count("std::pow") == 2
