"""The limits of CONTRIBUTING: what fits on a screen, and a call that a reader can hold in mind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "whence"
FILES = sorted(SOURCE.rglob("*.py"))
#: Folders in the package, and its own files.
ROOMS = sorted({file.relative_to(SOURCE).parts[0] for file in FILES})
LINES, PARAMETERS, FILE_LINES = 60, 12, 250


def functions(file: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("room", ROOMS)
def test_files_are_short_functions_fit_a_screen_and_have_few_parameters(room):
    files = [file for file in FILES if file.relative_to(SOURCE).parts[0] == room]
    assert {file.name for file in files if len(file.read_text("utf-8").splitlines()) > FILE_LINES} == set()
    for name, function in ((f"{one.name}: {own.name}", own) for one in files for own in functions(one)):
        arguments = function.args
        count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
        assert function.end_lineno - function.lineno < LINES, name
        assert count <= PARAMETERS or room == "cli", name
