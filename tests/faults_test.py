"""The table of faults names only tests that exist."""

import ast
import pathlib
import re

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_TABLE = (_REPOSITORY / "docs" / "faults.md").read_text()


def test_every_test_of_the_table_exists():
    named = re.findall(r"`(\w+_test)::(\w+)`", _TABLE)
    assert len(named) > 30
    for module, test in named:
        tree = ast.parse((_REPOSITORY / "tests" / f"{module}.py").read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert test in functions, f"docs/faults.md names {module}::{test}"


def test_every_row_names_a_test():
    rows = [line for line in _TABLE.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| what goes wrong")]
    assert [row for row in rows if "_test::" not in row.split("|")[3]] == []
