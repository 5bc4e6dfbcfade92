"""The contents of the package: every public name can be imported, and type checkers see the same names."""

import ast
from pathlib import Path

import whence


def test_every_public_name_can_be_imported():
    for name in whence.__all__:
        assert getattr(whence, name) is not None


def test_type_checkers_see_the_same_names_from_the_same_modules():
    tree = ast.parse(Path(whence.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = {alias.name: node.module for node in block.body for alias in node.names}
    assert imports == whence._HOMES
    assert all(alias.name == alias.asname for node in block.body for alias in node.names)
