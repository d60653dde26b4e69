"""The tables of faults name only tests that exist."""

import ast
import pathlib
import re

import pytest

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_PAGES = sorted((_REPOSITORY / "docs").glob("faults*.md"))


def _functions(module):
    tree = ast.parse((_REPOSITORY / "tests" / f"{module}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_test_of_the_tables_exists(page):
    text = page.read_text()
    named = re.findall(r"`(\w+_test)(?:\.py)?::(test_\w+)", text)
    assert len(named) > 20
    for module, test in named:
        assert test in _functions(module), f"{page.name} names {module}::{test}"
    # Names after the first of a cell go without the file.
    everywhere = set().union(
        *(_functions(path.stem) for path in (_REPOSITORY / "tests").glob("*_test.py"))
    )
    assert set(re.findall(r"(?:\.\.\.|::)(test_\w+)", text)) <= everywhere


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_row_names_a_test(page):
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| what goes wrong")]
    cells = [row.split("|")[3].strip() for row in rows]
    assert [cell for cell in cells if "test_" not in cell and cell != "the same"] == []
