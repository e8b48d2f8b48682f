import pytest
import torch
from torch import Tensor

from rlrun.functional.returns import (
    DOUBLING,
    decayed_sum,
    discounted_return,
    explained_variance,
    generalized_advantage,
    same_shape,
    temporal_difference,
    v_trace_advantage,
)


def column(*values: float) -> Tensor:
    return torch.tensor(values).unsqueeze(1)


def flags(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.bool).unsqueeze(1)


REWARD, VALUE, NEXT_VALUE = column(1, 0, 2), column(0.5, 1, 0.25), column(1, 4, 0.25)
TERMINATED, TRUNCATED = flags(0, 0, 1), flags(0, 1, 0)


def advantage(terminated: Tensor, truncated: Tensor) -> list[float]:
    result = generalized_advantage(REWARD, VALUE, NEXT_VALUE, terminated, truncated, 0.5, 0.5)
    assert result.shape == (3, 1)
    return result.flatten().tolist()


def test_advantage_by_hand():
    # delta = 1 + 1/2 - 1/2, 0 + 4/2 - 1, 2 - 1/4; only the first step reaches on, by 1/4
    assert advantage(TERMINATED, TRUNCATED) == [1.25, 1.0, 1.75]


def test_a_time_limit_taken_for_an_end_would_give_another_answer():
    assert advantage(TERMINATED | TRUNCATED, TRUNCATED)[1] == -1.0


def test_a_recursion_that_runs_over_a_time_limit_would_give_another_answer():
    assert advantage(TERMINATED, flags(0, 0, 0))[1] == 1.4375


def test_environments_do_not_mix():
    beside = torch.cat([column(5, 6, 7), REWARD], 1)
    both = generalized_advantage(
        beside,
        VALUE.expand(3, 2),
        NEXT_VALUE.expand(3, 2),
        torch.cat([flags(1, 0, 0), TERMINATED], 1),
        torch.cat([flags(0, 0, 0), TRUNCATED], 1),
        0.5,
        0.5,
    )
    assert both[:, 1].tolist() == [1.25, 1.0, 1.75]
    # delta = 5 - 1/2 and cut, 6 + 2 - 1, 7 + 1/8 - 1/4; the second reaches on by 1/4
    assert both[:, 0].tolist() == [4.5, 7 + 6.875 / 4, 6.875]


def test_advantage_with_lambda_zero_is_the_temporal_difference():
    result = generalized_advantage(REWARD, VALUE, NEXT_VALUE, TERMINATED, TRUNCATED, 0.5, 0.0)
    assert result.flatten().tolist() == [1.0, 1.0, 1.75]


@pytest.mark.parametrize("wrong", range(5))
def test_advantage_refuses_shapes_that_would_broadcast(wrong):
    tensors = [REWARD, VALUE, NEXT_VALUE, TERMINATED, TRUNCATED]
    tensors[wrong] = tensors[wrong].squeeze(1)
    with pytest.raises(ValueError, match="shapes differ"):
        generalized_advantage(*tensors, 0.5, 0.5)


def test_temporal_difference_by_hand():
    # 1 + 1/2 - 1/2, 0 + 4/2 - 1, and at the end of the task 2 - 1/4
    result = temporal_difference(REWARD, VALUE, NEXT_VALUE, TERMINATED, 0.5)
    assert result.flatten().tolist() == [1.0, 1.0, 1.75]
    with pytest.raises(ValueError, match="shapes differ"):
        temporal_difference(REWARD, VALUE.squeeze(1), NEXT_VALUE, TERMINATED, 0.5)


def traced(weight: Tensor, done=TERMINATED | TRUNCATED) -> list[float]:
    result = v_trace_advantage(column(1, 1, 1.75), done, weight, 0.5, 0.5)
    assert result.shape == (3, 1)
    return result.flatten().tolist()


def test_v_traces_advantage_by_hand():
    # a step's own weight does not matter, that of the next one does
    assert traced(column(0.25, 1, 0.5)) == [1.25, 1.0, 1.75]
    assert traced(column(1, 0.5, 1)) == [1 + 1 / 8, 1.0, 1.75]
    # nothing comes over an episode's end, and all of it where none is
    assert traced(column(1, 1, 0.5), done=flags(0, 0, 1)) == [
        1 + (1 + 0.875 / 4) / 4,
        1 + 0.875 / 4,
        1.75,
    ]


def test_v_traces_advantage_for_the_policy_that_acted_is_the_usual_one():
    assert traced(column(1, 1, 1)) == advantage(TERMINATED, TRUNCATED)
    reward, value, next_value = (torch.randn(3 * DOUBLING, 2) for _ in range(3))
    terminated, truncated = (torch.rand(3 * DOUBLING, 2) < 0.1 for _ in range(2))
    usual = generalized_advantage(reward, value, next_value, terminated, truncated, 0.9, 0.8)
    delta = temporal_difference(reward, value, next_value, terminated, 0.9)
    found = v_trace_advantage(delta, terminated | truncated, torch.ones_like(usual), 0.9, 0.8)
    assert torch.equal(found, usual)


def test_v_traces_advantage_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="shapes differ"):
        traced(torch.ones(3))


def test_discounted_return_reaches_to_the_fragments_end_and_bootstraps_there():
    none = flags(0, 0, 0)
    # 3 + 4/2, 2 + 5/2, 1 + 4.5/2; what stands in the other rows of the bootstrap is not used
    result = discounted_return(column(1, 2, 3), none, 0.5, column(100, 100, 4))
    assert result.flatten().tolist() == [3.25, 4.5, 5.0]


def test_discounted_return_is_cut_and_bootstrapped_where_an_episode_ended():
    # 3, 2 + 8/2, 1 + 6/2
    result = discounted_return(column(1, 2, 3), flags(0, 1, 0), 0.5, column(100, 8, 0))
    assert result.flatten().tolist() == [4.0, 6.0, 3.0]


def test_discounted_return_leaves_its_arguments_alone():
    done = flags(0, 1, 0)
    discounted_return(column(1, 2, 3), done, 0.5, column(0, 0, 0))
    assert done.flatten().tolist() == [False, True, False]


@pytest.mark.parametrize("wrong", range(3))
def test_discounted_return_refuses_shapes_that_would_broadcast(wrong):
    tensors = [REWARD, TERMINATED, VALUE]
    tensors[wrong] = tensors[wrong].squeeze(1)
    with pytest.raises(ValueError, match="shapes differ"):
        discounted_return(tensors[0], tensors[1], 0.5, tensors[2])


def test_values_of_the_last_step_alone_are_refused():
    reward, done = torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool)
    last = torch.ones(2)  # [N] would be added to every step
    with pytest.raises(ValueError, match="shapes differ"):
        discounted_return(reward, done, 0.5, last)
    with pytest.raises(ValueError, match="shapes differ"):
        generalized_advantage(reward, reward, last, done, done, 0.5, 0.5)


def test_decayed_sum_by_hand():
    result = decayed_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 0.25, 0.75]))
    assert result.tolist() == [2.5, 3.0, 4.0]
    with pytest.raises(ValueError, match="shapes differ"):
        decayed_sum(torch.zeros(3), torch.zeros(3, 1))


def test_explained_variance_by_hand():
    target = torch.tensor([1.0, 3.0, 2.0, 4.0])
    # residuals 0, 1, -1, 0: variance 1/2 against 5/4
    off = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert explained_variance(off, target).item() == pytest.approx(0.6)
    assert explained_variance(off + 7, target).item() == pytest.approx(0.6)
    assert explained_variance(target, target).item() == 1.0
    assert explained_variance(target, torch.ones(4)).isnan()
    with pytest.raises(ValueError, match="shapes differ"):
        explained_variance(target, target.unsqueeze(1))


def test_same_shape_names_the_shapes():
    same_shape(torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"\(2, 1\), \(2,\)"):
        same_shape(torch.zeros(2, 1), torch.zeros(2))


@pytest.mark.parametrize("steps", [1, 5, DOUBLING - 1, DOUBLING, 33, 64, 100])
def test_a_decayed_sum_is_its_recursion(steps):
    torch.manual_seed(steps)
    term = torch.randn(steps, 3, dtype=torch.float64)
    decay = 0.97 * (torch.rand(steps, 3) > 0.2).double()
    expected, running = [], torch.zeros(3, dtype=torch.float64)
    for now, fade in zip(term.flip(0), decay.flip(0), strict=True):
        running = now + fade * running
        expected.append(running)
    torch.testing.assert_close(decayed_sum(term, decay), torch.stack(expected).flip(0))
