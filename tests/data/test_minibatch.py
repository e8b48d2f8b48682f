import pytest
import torch

from rlrun.data.minibatch import flat_rows, minibatches, undivided
from rlrun.types import History


def test_time_and_environments_become_rows():
    step = torch.arange(6).view(3, 2)
    rows = flat_rows(step=step, obs={"a": torch.stack([step, -step], -1)})
    assert rows["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert rows["obs"]["a"].tolist() == [[0, 0], [1, -1], [2, -2], [3, -3], [4, -4], [5, -5]]


def columns(count: int):
    number = torch.arange(count)
    return {"number": number, "obs": {"a": number * 2.0, "b": torch.stack([number, number], 1)}}


@pytest.mark.parametrize(
    ("size", "sizes"), [(4, [4, 4, 4]), (12, [12]), (5, [5, 5, 2]), (20, [12])]
)
def test_each_row_comes_once_and_columns_stay_together(size, sizes):
    batches = minibatches(columns(12), size)
    assert [len(batch["number"]) for batch in batches] == sizes
    number = torch.cat([batch["number"] for batch in batches])
    assert sorted(number.tolist()) == list(range(12))
    for batch in batches:
        assert torch.equal(batch["obs"]["a"], batch["number"] * 2.0)
        assert torch.equal(batch["obs"]["b"], batch["number"].unsqueeze(1).expand(-1, 2))


def test_a_dict_may_come_first():
    rows = columns(6)
    batches = minibatches({"obs": rows["obs"], "number": rows["number"]}, 3)
    assert all(torch.equal(batch["obs"]["a"], batch["number"] * 2.0) for batch in batches)


def test_the_order_is_random_and_the_seed_decides_it():
    def order(seed):
        torch.manual_seed(seed)
        return torch.cat([batch["number"] for batch in minibatches(columns(50), 10)]).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != list(range(50))


def test_every_row_is_equally_likely_to_come_first():
    firsts = [minibatches(columns(4), 1)[0]["number"].item() for _ in range(1000)]
    shares = torch.bincount(torch.tensor(firsts), minlength=4) / 1000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), rtol=0, atol=0.055)


def test_rows_keep_their_order_in_the_source():
    rows = columns(10)
    minibatches(rows, 5)
    assert rows["number"].tolist() == list(range(10))


def test_histories_keep_their_order_and_their_carry():
    steps, envs = 3, 4
    obs = torch.arange(steps * envs).view(steps, envs, 1)
    start = torch.zeros(steps, envs).bool()
    start[1, 2] = True
    history = History(obs, start, (torch.arange(envs) * 10,))
    rows = flat_rows(obs=history, action=obs.squeeze(-1))
    assert rows["action"].shape == (steps, envs)
    batches = minibatches(rows, 2 * steps)
    assert [batch["action"].shape for batch in batches] == [(3, 2), (3, 2)]
    whose = [int(n) for batch in batches for n in batch["action"][0]]
    assert sorted(whose) == [0, 1, 2, 3]
    for batch in batches:
        first = batch["action"][0]
        assert batch["action"].tolist() == [
            [int(n) + t * envs for n in first] for t in range(steps)
        ]
        assert torch.equal(batch["obs"].obs.squeeze(-1), batch["action"])
        assert torch.equal(batch["obs"].carry[0], first * 10)
        assert batch["obs"].start.sum(0).tolist() == [int(n == 2) for n in first]
    assert len(minibatches(rows, 1)) == envs  # at least one whole history


def test_of_a_fragment_beyond_counting_no_batch_is_suggested():
    (problem,) = undivided({"n_steps": 10**15 + 37, "batch_size": 10**9}, 1)
    assert problem.message.endswith("= 1000000000000037")
    (problem,) = undivided({"n_steps": 1021, "batch_size": 50}, 1)  # 1021 is prime
    assert problem.message.endswith("= 1021")
