"""Every test starts from the same random numbers, on one thread, whatever ran before it."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_start():
    torch.set_num_threads(1)
    torch.manual_seed(0)
