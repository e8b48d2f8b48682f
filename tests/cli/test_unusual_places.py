"""Runs whose output, folder or reader is not the usual one."""

import shutil

import pytest

from rlrun.cli import main
from tests.cli.test_verbs import runs, train


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_eval_of_a_checkpoint_that_was_copied_writes_where_it_is_called(tmp_path, capsys):
    assert train() == 0
    (run,) = runs(tmp_path)
    (saved,) = (run / "checkpoints").glob("step-*")
    shutil.copytree(saved, tmp_path / "apart" / "inner" / "copy")
    assert main(["eval", "apart/inner/copy", "episodes=1e0"]) == 0
    assert (tmp_path / "eval.json").exists()
    assert not list((tmp_path / "apart").rglob("eval.json"))
