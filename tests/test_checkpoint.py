import json
import shutil
from pathlib import Path

import pytest
import torch

from rlrun import checkpoint
from rlrun.checkpoint import committed, join_state, load, load_newest, point, pointed, prune, save
from rlrun.config import ConfigError

FILES = ["policy.json", "policy.safetensors", "resume/state.json", "resume/state.safetensors"]
EVERY_FILE = [*FILES, "manifest.json"]


def policy_state(value: float = 1.0):
    return {"linear.weight": torch.full((2, 3), value), "linear.bias": torch.arange(3)}


def resume_state():
    return {"optimizer": {"moment": torch.ones(4).double()}, "clock": {"steps": 7}, "best": None}


def store(folder: Path, step: int, value: float = 1.0) -> Path:
    return save(folder, step, {"config": {"seed": 3}}, policy_state(value), resume_state())


def same(state, other) -> bool:
    if isinstance(state, torch.Tensor):
        return state.dtype == other.dtype and torch.equal(state, other)
    if isinstance(state, dict):
        return state.keys() == other.keys() and all(same(state[key], other[key]) for key in state)
    return bool(state == other)


def test_round_trip(tmp_path):
    path = store(tmp_path, 100_000)
    saved = load(path, with_resume=True)
    assert path == tmp_path / "step-000100000"
    assert (saved.step, saved.path) == (100_000, path)
    assert saved.description["config"] == {"seed": 3}
    assert same(saved.policy, policy_state())
    assert same(saved.resume, resume_state())


def test_every_kind_of_tensor_and_number_survives(tmp_path):
    base = torch.arange(12.0)
    state = {
        "transposed": base.view(3, 4).T,
        "view": base[2:5],
        "same memory": base[2:5],
        "scalar": torch.tensor(0.1, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "deep": {"er": {"float": 0.1, "int": 2**60, "word": "a/b", "none": None, "list": [1, 2.5]}},
    }
    saved = load(save(tmp_path, 1, {}, state, {}), with_resume=True)
    assert same(state, saved.policy)
    assert not saved.policy["parameter"].requires_grad


def test_split_and_join_are_inverse():
    state = {"a": {"b": {"t": torch.ones(2), "x": 1}}, "y": "z"}
    tensors, scalars = checkpoint.split_state(state)
    assert set(tensors) == {"a/b/t"}
    assert scalars == {"a/b/x": 1, "y": "z"}
    assert same(join_state(tensors, scalars), state)
    tensors["a/b/t"].add_(1)
    assert state["a"]["b"]["t"].tolist() == [1.0, 1.0]


def test_a_checkpoint_is_safetensors_and_json_and_nothing_else(tmp_path):
    path = store(tmp_path, 1)
    names = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert names == set(EVERY_FILE)
    for name in names:
        data = (path / name).read_bytes()
        if name.endswith(".json"):
            assert isinstance(json.loads(data), dict)
        else:  # the length of a JSON header, then the header
            header = data[8 : 8 + int.from_bytes(data[:8], "little")]
            assert isinstance(json.loads(header), dict)
    assert set(json.loads((path / "manifest.json").read_text())["files"]) == set(FILES)


def test_evaluation_opens_nothing_under_resume(tmp_path):
    path = store(tmp_path, 1)
    shutil.rmtree(path / "resume")
    saved = load(path, with_resume=False)
    assert same(saved.policy, policy_state())
    assert saved.resume == {}
    with pytest.raises(ConfigError, match=r"resume/state.json is missing"):
        load(path, with_resume=True)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, truncate, empty, flip])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, name, damage):
    store(tmp_path, 1, 1.0)
    newer = store(tmp_path, 2, 2.0)
    damage(newer / name)
    saved, warnings = load_newest(tmp_path, with_resume=True)
    assert saved.step == 1
    assert same(saved.policy, policy_state(1.0))
    assert len(warnings) == 1
    assert str(newer) in warnings[0]
    assert f"{name} is missing or does not match" in warnings[0]


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "{}", '{"format": 1}', '{"format": 1, "files": []}', '{"format": 99}', "\xff"],
)
def test_a_damaged_manifest_falls_back_to_the_one_before(tmp_path, text):
    store(tmp_path, 1)
    manifest = store(tmp_path, 2) / "manifest.json"
    manifest.unlink()
    if text is not None:
        manifest.write_bytes(text.encode("latin-1"))
    saved, warnings = load_newest(tmp_path, with_resume=True)
    assert saved.step == 1
    assert len(warnings) == 1


@pytest.mark.parametrize("name", EVERY_FILE)
def test_no_flipped_bit_goes_unnoticed(tmp_path, name):
    file = store(tmp_path, 100) / name
    whole = file.read_bytes()
    refused = 0
    for place in range(len(whole)):
        file.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        try:
            saved = load(file.parent if "/" not in name else file.parents[1], with_resume=True)
        except ConfigError:
            refused += 1
        else:
            assert saved.step == 100
            assert same(saved.policy, policy_state())
            assert same(saved.resume, resume_state())
    assert refused == len(whole) or (name == "manifest.json" and refused > len(whole) / 2)


def test_without_a_whole_checkpoint_there_is_no_silent_fresh_start(tmp_path):
    with pytest.raises(ConfigError, match="no usable checkpoint"):
        load_newest(tmp_path, with_resume=True)
    truncate(store(tmp_path, 1) / "policy.json")
    with pytest.raises(ConfigError, match=r"no usable checkpoint[^$]*policy\.json is missing or"):
        load_newest(tmp_path, with_resume=True)


@pytest.mark.parametrize("writes", range(5))
def test_a_save_killed_at_any_write_leaves_nothing_that_is_read(tmp_path, monkeypatch, writes):
    store(tmp_path, 1, 1.0)
    done, write = [], checkpoint._write

    def dying(path: Path, data: bytes) -> None:
        if len(done) == writes:
            write(path, data[: len(data) // 2])
            raise KeyboardInterrupt
        done.append(path)
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", dying)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a killed process cleans up nothing
        with pytest.raises(KeyboardInterrupt):
            store(tmp_path, 2, 2.0)
    assert [path.name for path in tmp_path.glob(".tmp-*")] != []
    assert [path.name for path in committed(tmp_path)] == ["step-000000001"]
    saved, warnings = load_newest(tmp_path, with_resume=True)
    assert (saved.step, warnings) == (1, [])
    assert pointed(tmp_path, "last") == saved.path
    store(tmp_path, 2, 2.0)
    assert same(load_newest(tmp_path, with_resume=True)[0].policy, policy_state(2.0))


@pytest.mark.parametrize("broken", ["_write", "_sync", "_fingerprint"])
def test_a_full_disk_costs_only_the_new_checkpoint(tmp_path, monkeypatch, broken):
    store(tmp_path, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, broken, full)
        with pytest.raises(OSError, match="No space left"):
            store(tmp_path, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"step-000000001", "last"}
    assert load_newest(tmp_path, with_resume=True)[0].step == 1


def test_the_manifest_is_written_last_and_the_name_given_after_that(tmp_path, monkeypatch):
    order: list[str] = []
    write, rename = checkpoint._write, Path.rename
    monkeypatch.setattr(
        checkpoint, "_write", lambda path, data: (order.append(path.name), write(path, data))
    )
    monkeypatch.setattr(
        Path, "rename", lambda self, to: (order.append(f"-> {to.name}"), rename(self, to))
    )
    store(tmp_path, 5)
    assert order[:4] == ["policy.safetensors", "policy.json", "state.safetensors", "state.json"]
    assert order[4:6] == ["manifest.json", "-> step-000000005"]
    assert len(order) == 7  # and then the hint


def test_only_committed_names_are_read_and_order_is_by_number(tmp_path):
    for step in (10_000_000_000, 2_000_000_000, 3):
        store(tmp_path, step)
    whole = tmp_path / "step-000000003"
    for name in ("step-000000030.tmp", "step-x", ".tmp-40-7", "step-"):
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "step-000000050").write_text("a file")
    (tmp_path / "last").write_text("step-000000003\n")  # a hint decides nothing
    names = [path.name for path in committed(tmp_path)]
    assert names == ["step-000000003", "step-2000000000", "step-10000000000"]
    assert load_newest(tmp_path, with_resume=False)[0].step == 10_000_000_000


def test_the_same_step_again_replaces(tmp_path):
    store(tmp_path, 1, 1.0)
    store(tmp_path, 1, 2.0)
    assert len(committed(tmp_path)) == 1
    assert same(load_newest(tmp_path, with_resume=True)[0].policy, policy_state(2.0))


def test_hints(tmp_path):
    first, second = store(tmp_path, 1), store(tmp_path, 2)
    assert pointed(tmp_path, "last") == second
    assert pointed(tmp_path, "best") is None
    point(tmp_path, "best", first)
    assert pointed(tmp_path, "best") == first
    for word in ("../..", "step-000000009", "", "."):
        (tmp_path / "best").write_text(word)
        assert pointed(tmp_path, "best") is None
    (tmp_path / "best").write_bytes(b"\xff\xfe")
    assert pointed(tmp_path, "best") is None


@pytest.mark.parametrize(("keep", "left"), [(3, [1, 4, 5, 6]), (0, [1, 5, 6]), (10, range(1, 7))])
def test_prune_keeps_the_newest_and_best_and_last(tmp_path, keep, left):
    paths = [store(tmp_path, step) for step in range(1, 7)]
    point(tmp_path, "best", paths[0])
    prune(tmp_path, keep)
    assert [int(path.name[5:]) for path in committed(tmp_path)] == list(left)
    point(tmp_path, "last", paths[0])
    point(tmp_path, "best", paths[-1])
    prune(tmp_path, 2)
    assert [int(path.name[5:]) for path in committed(tmp_path)] == [1, 5, 6]
