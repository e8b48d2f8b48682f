"""One thread for small networks, every core where a gradient step is long enough to pay."""

import pytest
import torch
from torch import nn

from rlrun.accel import accelerator, threads
from rlrun.accel.accelerator import Accelerator
from rlrun.accel.operations import Operations
from rlrun.accel.threads import ThreadChoice, at_first, choice, cores
from rlrun.build import build_parts
from rlrun.cli import main
from rlrun.nets.learner import Learner
from tests.contract.test_algorithms import fitting
from tests.recipes import changed, trained
from tests.test_accel import Watched


class Linear:
    """An algorithm with one learner of one linear layer, 3 numbers to 2."""

    steady, runner, device = True, "sync", torch.device("cpu")

    def __init__(self) -> None:
        self.layer = nn.Linear(3, 2)
        self.learner = Learner(self.layer.parameters())
        self.seen: list[int] = []

    def parts(self):
        return {"learner": self.learner}

    def loss(self, rows):
        self.seen.append(torch.get_num_threads())
        return self.layer(rows).square().mean(), {}

    def step(self, rows: int = 5) -> torch.Tensor:
        self.learner.minimize(self.loss, torch.ones(rows, 3))
        return self.learner.flat


STEP = 120
"""Operations of a step on 5 rows: 2 * 5 * 3 * 2 forward, as many for the weight's gradient."""


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 4)


@pytest.mark.parametrize(("worth", "expected"), [(STEP, 4), (STEP + 1, 1)])
def test_threads_by_the_operations_of_a_step(worth, expected, monkeypatch, four_cores):
    monkeypatch.setattr(threads, "WORTH_THREADS", worth)
    algorithm, said = Linear(), []
    chooser = ThreadChoice(algorithm, said.append)
    assert not chooser.decide()
    algorithm.step()
    algorithm.step(rows=50)  # only the first step is counted
    assert torch.get_num_threads() == 1
    assert chooser.decide()
    algorithm.step()
    assert algorithm.seen == [1, 1, expected]
    assert torch.get_num_threads() == 1  # acting needs no more
    assert len(said) == (expected == 4)


def test_counting_changes_nothing(four_cores):
    torch.manual_seed(3)
    plain = Linear()
    torch.manual_seed(3)
    watched = Linear()
    ThreadChoice(watched, print)
    plain.learner.learning_rate = watched.learner.learning_rate = 0.1
    for _ in range(2):
        assert torch.equal(plain.step(), watched.step())


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_run_is_counted_and_is_the_same(name, tmp_path, monkeypatch, four_cores):
    found = []
    monkeypatch.setattr(ThreadChoice, "_choose", lambda chooser: found.append(chooser._operations))
    made = changed(fitting(name), accel="off")
    one, _ = trained(tmp_path / "one", changed(made, threads=1))
    assert not found
    auto, _ = trained(tmp_path / "auto", changed(made, threads="auto"))
    assert found
    assert found[0] > 1000
    for mine, theirs in zip(parameters(one), parameters(auto), strict=True):
        assert torch.equal(mine, theirs)


def test_what_counts_as_an_operation():
    x, weight = torch.ones(5, 3), torch.ones(3, 2, requires_grad=True)
    image, kernel = torch.ones(1, 1, 4, 4), torch.ones(2, 1, 3, 3)
    gru = nn.GRU(3, 4)
    packed = nn.utils.rnn.pack_sequence([torch.ones(2, 3), torch.ones(1, 3)])
    for function, expected in (
        (lambda: x @ weight, 2 * 5 * 3 * 2 * 2),
        (lambda: torch.addmm(torch.ones(2), x, weight.detach()), 2 * 5 * 3 * 2),
        (lambda: nn.functional.conv2d(image, kernel), 2 * (2 * 2 * 2) * 9),
        (lambda: gru(packed), 2 * 3 * (12 * 3 + 12 * 4) * 3),  # 3 rows, 3 gates of 4
        (lambda: x + x, 0),
    ):
        with Operations() as counted:
            function()
        assert counted.total == expected
    with Operations() as counted, torch.no_grad():
        x @ weight
    assert counted.total == 2 * 5 * 3 * 2


def parameters(algorithm) -> list[torch.Tensor]:
    return [part.flat for part in algorithm.parts().values() if isinstance(part, Learner)]


def test_what_was_asked_for_is_compiled_after_the_choice(monkeypatch, four_cores):
    monkeypatch.setattr(threads, "WORTH_THREADS", STEP)
    monkeypatch.setattr(accelerator, "has_compiler", lambda: True)
    algorithm, watched = Linear(), Watched()
    chooser = ThreadChoice(algorithm, print)
    asked = Accelerator("compile", algorithm, watched, 0, print, chooser)
    asked.consider(0.0)
    assert watched.told == 0
    algorithm.step()
    compiled_on = []

    def fast(guarded, graph, say, same_draws):
        return lambda function: (
            lambda rows: compiled_on.append((graph, torch.get_num_threads())) or function(rows)
        )

    monkeypatch.setattr(accelerator, "fast", fast)
    asked.consider(0.1)
    assert watched.told == 1
    algorithm.step()
    assert compiled_on == [("compile", 4)]


def test_where_there_is_nothing_to_choose(monkeypatch, four_cores):
    algorithm = Linear()
    assert choice("auto", algorithm, print) is not None
    assert choice(2, algorithm, print) is None
    algorithm.runner = "async"
    assert choice("auto", algorithm, print) is None
    algorithm.runner, algorithm.device = "sync", torch.device("cuda")
    assert choice("auto", algorithm, print) is None
    algorithm.device = torch.device("cpu")
    monkeypatch.setattr(threads, "cores", lambda: 1)
    assert choice("auto", algorithm, print) is None


def test_a_run_begins_with_one_thread_or_those_asked_for():
    assert (at_first("auto"), at_first(3)) == (1, 3)
    for asked, expected in ((2, 2), ("auto", 1)):
        build_parts(changed(fitting("ppo"), threads=asked)).env.close()
        assert torch.get_num_threads() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/gone\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
    ],
)
def test_cores_within_the_control_groups(files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: range(8), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores(tmp_path) == expected


@pytest.mark.parametrize("word", ["0", "many", "1.5"])
def test_other_words_are_refused(word, capsys):
    assert main(["train", "algo=ppo", "env=CartPole-v1", f"threads={word}"]) == 2
    assert "threads" in capsys.readouterr().err


def test_counting_never_fails_and_knows_keywords():
    rows, weight = torch.ones(5, 3), torch.ones(2, 3)
    with Operations() as counted:
        nn.functional.linear(rows, weight=weight)
        torch.matmul(rows, other=weight.T)
    assert counted.total == 2 * (2 * 5 * 3 * 2)
    with Operations() as counted:
        nn.functional.linear(input=rows, weight=weight)
        torch.einsum("bf,of->bo", rows, weight)  # not counted, not refused
    assert counted.total == 2 * 5 * 3 * 2


def test_attention_is_scores_and_a_weighted_sum():
    query, key = torch.ones(1, 4, 8), torch.ones(1, 6, 8)
    with Operations() as counted:
        nn.functional.scaled_dot_product_attention(query, key, key)
    assert counted.total == 2 * (2 * 4 * 6 * 8)
