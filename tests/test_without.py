"""The script that takes one thing away knows it by the name it has."""

import importlib
import re

from rlrun.conf_dir import conf_dir


def test_what_is_taken_away_is_there(monkeypatch):
    monkeypatch.syspath_prepend(str(conf_dir().parent / "scripts"))
    without = importlib.import_module("without").WITHOUT
    assert set(without) == {"ahead", "denormals", "onednn", "powers", "thin"}
    for code in without.values():
        room, name = re.match(r"import (\S+) as room; room\.(\w+) = ", code).groups()
        assert callable(getattr(importlib.import_module(room), name))
