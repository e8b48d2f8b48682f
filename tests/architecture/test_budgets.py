"""Sizes stay readable: a breach needs a written reason below, and a reason needs a breach."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, ROOT, parse

FILE_LINES, ALGORITHM_LINES, FUNCTION_LINES, NESTING, ARGUMENTS = 300, 200, 50, 4, 7
EXCUSED = {
    ("rlrun/evaluate.py", "evaluate", "arguments"): "all but four are keyword-only, and a class "
    "to carry them would be built at each of its two call sites and nowhere else",
    ("rlrun/evaluate.py", "_play", "arguments"): "the inside of `evaluate`, with its arguments",
}
"""From file, function and budget to the reason it may be exceeded."""

FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)


def breaches(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield file, function and budget for each budget that a file exceeds."""
    name = path.relative_to(ROOT).as_posix()
    lines = len(path.read_text(encoding="utf-8").splitlines())
    algorithm = name.startswith("rlrun/algos/")
    if lines > (ALGORITHM_LINES if algorithm else FILE_LINES):
        yield name, "", "lines"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for budget, (size, limit) in sizes(node).items():
                if size > limit:
                    yield name, node.name, budget


def sizes(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, tuple[int, int]]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    counted = [each for each in arguments if each.arg not in ("self", "cls")]
    return {
        "lines": ((node.end_lineno or 0) - node.lineno + 1, FUNCTION_LINES),
        "nesting": (depth(node), NESTING),
        "arguments": (len(counted), ARGUMENTS),
    }


def depth(node: ast.AST) -> int:
    """Return how deep blocks stand in each other; an `elif` is no deeper than its `if`."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and [child] == node.orelse
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not chained))
    return deepest


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_keeps_within_its_budgets(path):
    assert set(breaches(path)) - set(EXCUSED) == set()


def test_no_reason_outlives_its_breach():
    found = {breach for path in FILES for breach in breaches(path)}
    assert set(EXCUSED) - found == set()


def test_the_ruler_measures_what_it_says():
    text = "def f(self, a, b, *, c):\n if a:\n  pass\n elif b:\n  for x in c:\n   pass\n"
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert sizes(function) == {"lines": (6, 50), "nesting": (2, 4), "arguments": (3, 7)}
