"""Free memory is the tightest of the machine's and every control group's."""

import pytest
import torch

from rlrun.data.memory import free_memory

CPU = torch.device("cpu")


def machine(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return free_memory(CPU, root)


MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\n"}


def test_the_machine_alone(tmp_path):
    assert machine(tmp_path, MEMINFO) == 4000 * 1024


def test_version_2_and_the_groups_above(tmp_path):
    files = {
        **MEMINFO,
        "proc/self/cgroup": "0::/outer/inner\n",
        "sys/fs/cgroup/outer/memory.max": "1000000\n",
        "sys/fs/cgroup/outer/memory.current": "900000\n",
        "sys/fs/cgroup/outer/memory.stat": "anon 5\ninactive_file 50000\n",
        "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        "sys/fs/cgroup/outer/inner/memory.current": "7\n",
    }
    assert machine(tmp_path, files) == 150000


@pytest.mark.parametrize("path", ["/", "/docker/gone"])
def test_version_1_seen_from_inside_a_container(tmp_path, path):
    files = {
        **MEMINFO,
        "proc/self/cgroup": f"9:name=systemd:/\n5:memory:{path}\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000\n",
        "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 1000\n",
    }
    assert machine(tmp_path, files) == 1501000


def test_without_proc_it_is_what_the_machine_has(tmp_path):
    assert free_memory(CPU, tmp_path) > 2**20
