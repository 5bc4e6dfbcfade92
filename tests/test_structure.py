"""The limits of CONTRIBUTING: what fits on a screen, and a call that a reader can hold in mind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "whence"
FILES = sorted(SOURCE.rglob("*.py"))
LINES, PARAMETERS, FILE_LINES = 60, 12, 250


def functions(file: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_function_fits_a_screen_and_has_few_parameters(file):
    assert len(file.read_text("utf-8").splitlines()) <= FILE_LINES
    for function in functions(file):
        arguments = function.args
        count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
        assert function.end_lineno - function.lineno < LINES, function.name
        assert count <= PARAMETERS or "cli" in file.relative_to(SOURCE).parts, function.name
