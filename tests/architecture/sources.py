"""Reads the source of the package as syntax trees: who imports whom, and how large things are."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rlrun"


@cache
def trees() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name."""
    return {module_name(path): parse(path) for path in sorted(PACKAGE.rglob("*.py"))}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """Return the modules a module imports anywhere in its text, also inside functions.

    `from rlrun import checkpoint` names the module `rlrun.checkpoint` where that is one of `known`.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides its layer"
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names}
            found |= inner & known
            if inner - known:
                found.add(module)
    return found
