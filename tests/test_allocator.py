"""What is freed is used again without a page fault."""

import os
import platform
import subprocess
import sys

import pytest

from rlrun.accel.allocator import VARIABLES

PROBE = """
import resource, torch
from torch import nn
from rlrun.accel.allocator import keep_freed_memory
{call}
torch.set_num_threads(1)
obs = torch.zeros(512, 256)
layers = nn.Sequential(*(nn.Linear(256, 256) for _ in range(4)))
def steps(count):
    for _ in range(count):
        layers(obs).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
begun = steps(60)
print((steps(60) - begun) / 60)
"""


PAGES = os.name == "posix" and os.sysconf("SC_PAGE_SIZE") == 4096
GLIBC = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not PAGES, reason="glibc on pages of 4 kB"
)


def faults(call: str, **variables: str) -> float:
    plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-c", PROBE.format(call=call)]
    done = subprocess.run(
        command, env={**plain, **variables}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@GLIBC
def test_pages_that_were_used_do_not_fault_again():
    # a library that gives everything back at once
    strict = "import ctypes; c = ctypes.CDLL(None); c.mallopt(-1, 131072); c.mallopt(-3, 131072)"
    assert faults(strict) > 500
    assert faults(f"{strict}; keep_freed_memory()") < 20


@GLIBC
def test_a_user_who_tuned_malloc_is_left_alone():
    assert faults("keep_freed_memory()", MALLOC_TRIM_THRESHOLD_="131072") > 500
