import pytest
import torch
from gymnasium import spaces

from rlrun.checkpoint import join_state, split_state
from rlrun.data.recent import Recent
from rlrun.inspection.plan import bytes_in
from rlrun.types import EnvSpec, Fragment

BOX = spaces.Box(-1.0, 1.0, (3,))


def built(count: int, space: spaces.Space = BOX) -> Recent:
    return Recent(count, EnvSpec("recent", 2, space, spaces.Discrete(9)), torch.device("cpu"))


def fragment(number: float, *, named=False) -> Fragment:
    """Return four steps of two environments, everywhere `number`."""
    obs = torch.full((4, 2, 3), number)
    seen = {"a/b": obs, "c": obs[..., 0] + 0.5} if named else obs
    flat = torch.full((4, 2), number)
    odd = flat % 2 == 1
    action = flat.long()
    return Fragment(seen, action, flat, seen, odd, ~odd, (), {"log_prob": -flat})


def numbers(joined: Fragment) -> list[float]:
    """Return which fragments a joined one is made of, if all columns agree."""
    found = joined.reward[0, ::2].tolist()
    wide = torch.tensor(found).repeat_interleave(2).expand(4, -1)
    assert torch.equal(joined.reward, wide)
    assert torch.equal(joined.action, wide.long())
    assert torch.equal(joined.extra["log_prob"], -wide)
    assert torch.equal(joined.terminated, wide % 2 == 1)
    assert torch.equal(joined.truncated, wide % 2 == 0)
    for seen in (joined.obs, joined.next_obs):
        if isinstance(seen, dict):
            assert torch.equal(seen["c"], wide + 0.5)
            seen = seen["a/b"]
        assert torch.equal(seen, wide.unsqueeze(-1).expand(-1, -1, 3))
    return found


@pytest.mark.parametrize("named", [False, True])
def test_the_newest_fragments_stand_side_by_side(named):
    space = spaces.Dict({"a/b": BOX, "c": spaces.Box(-1.0, 1.0, ())}) if named else BOX
    recent = built(3, space)
    found = [numbers(recent.join(fragment(number, named=named))) for number in range(5)]
    assert found == [[0], [1, 0], [2, 1, 0], [3, 2, 1], [4, 3, 2]]


def test_what_is_kept_does_not_change_with_the_collectors_tensors():
    recent, first = built(2), fragment(1)
    recent.join(first)
    for column in (first.obs, first.action, first.reward, first.extra["log_prob"]):
        column.fill_(7)
    first.terminated.fill_(False)
    first.truncated.fill_(True)
    assert numbers(recent.join(fragment(2))) == [2, 1]


def test_one_fragment_is_handed_on_as_it_is():
    recent, only = built(1), fragment(1)
    assert recent.join(only) is only
    assert recent.join(only) is only
    assert recent.state_dict() == {}


@pytest.mark.parametrize(("count", "expected"), [(4, [9, 3, 2, 1]), (2, [9, 3]), (1, [9])])
@pytest.mark.parametrize("named", [False, True])
def test_it_goes_through_a_checkpoint(count, expected, named):
    space = spaces.Dict({"c": spaces.Box(-1.0, 1.0, ()), "a/b": BOX}) if named else BOX
    before, after = built(4, space), built(count, space)
    for number in (1, 2, 3):
        before.join(fragment(number, named=named))
    after.load_state_dict(join_state(*split_state(before.state_dict())))
    assert numbers(after.join(fragment(9, named=named))) == expected
    after.load_state_dict({})  # an earlier run has none
    assert numbers(after.join(fragment(8, named=named))) == [8]


@pytest.mark.parametrize("named", [False, True])
def test_what_it_will_take_is_known(named):
    space = spaces.Dict({"a/b": BOX, "c": spaces.Box(-1.0, 1.0, ())}) if named else BOX
    recent = built(3, space)
    for number in (1.0, 2.0, 3.0):
        recent.join(fragment(number, named=named))
    assert bytes_in(recent.state_dict()) == recent.full_bytes(steps=4)
