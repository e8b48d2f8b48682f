"""The table at the end of a sweep."""

import io

from rich.console import Console

from rlrun.sweep_table import Job, Row, print_table, summarise


def test_a_swept_list_is_shown_as_it_was_written():
    out = io.StringIO()
    rows = [Row({"network.sizes": "[64,64]"}, [1.0, 3.0], 0), Row({"env": "[bold]x"}, [], 2)]
    print_table(Console(file=out, width=100), rows)
    shown = out.getvalue()
    assert "[64,64]" in shown
    assert "[bold]x" in shown
    assert "2.00" in shown
    assert "0 (2 failed)" in shown


def test_what_was_stopped_has_not_failed():
    jobs = [Job(str(code), None, {"seed": str(code)}, code=code) for code in (130, 143, 1, None)]
    (row,) = summarise(jobs)
    assert row.cells([]) == ["-", "-"]
    assert row.seeds == "0 (1 failed, 2 stopped)"
    done = Job("done", None, {"seed": "9"}, code=0, result={"eval/mean_reward": 2.0})
    (row,) = summarise([done])
    assert (row.cells([]), row.seeds) == (["2.00", "-"], "1")
