"""The table at the end of a sweep."""

import io

from rich.console import Console

from rlrun.sweep_table import Row, print_table


def test_a_swept_list_is_shown_as_it_was_written():
    out = io.StringIO()
    rows = [Row({"network.sizes": "[64,64]"}, [1.0, 3.0], 0), Row({"env": "[bold]x"}, [], 2)]
    print_table(Console(file=out, width=100), rows)
    shown = out.getvalue()
    assert "[64,64]" in shown
    assert "[bold]x" in shown
    assert "2.00" in shown
    assert "0 (2 failed)" in shown
