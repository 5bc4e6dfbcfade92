"""Rows of examples: of those in memory, and of those on disk, whose other ids are not read."""

import numpy as np
import pytest
import torch

from whence.data import pixel_rows
from whence.diffusion import example_checks
from whence.diffusion.examples import Examples
from whence.diffusion.repeated import Repeated
from whence.errors import NotFiniteError


@pytest.fixture
def examples():
    """Nine grey pictures whose ids are not in order, with a condition of their own and one that they share."""
    pixels = torch.arange(9 * 4, dtype=torch.uint8).reshape(9, 1, 2, 2)
    shared = Repeated(torch.arange(6.0).reshape(2, 3), torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 0]))
    return Examples(tuple("hcaibdgef"), pixels, {"own": torch.arange(9.0), "shared": shared})


@pytest.mark.parametrize("rows", [[2, 0, 7], range(1, 8, 3), range(3, 6)], ids=["list", "steps", "consecutive"])
def test_many_pixels_are_copied_into_a_file_and_are_the_same(examples, rows, monkeypatch):
    small = examples.select(rows)
    files, real = [], pixel_rows.tempfile.TemporaryFile
    monkeypatch.setattr(pixel_rows.tempfile, "TemporaryFile", lambda: files.append(real()) or files[-1])
    monkeypatch.setattr(pixel_rows, "LARGE", 8)
    large = examples.select(rows)
    assert torch.equal(large.values, small.values)
    assert torch.equal(large.values, examples.values[list(rows)])
    assert large.ids == tuple(examples.ids[n] for n in rows)
    assert len(files) == (rows != range(3, 6))


def test_a_block_on_disk_is_that_of_all(examples, tmp_path):
    examples.write(tmp_path / "set")
    every, block = Examples.read(tmp_path / "set"), Examples.read_files(tmp_path / "set", range(4, 7))
    assert block.ids == every.ids[4:7] == tuple("efg")
    assert np.array_equal(block.values, every.values[4:7])
    for name in ("own", "shared"):
        assert torch.equal(block.conditions_of(range(3))[name], every.conditions_of(range(4, 7))[name])


@pytest.mark.parametrize("place", [0, 2, 6])
def test_a_value_that_is_not_finite_is_found_in_every_block(monkeypatch, place):
    monkeypatch.setattr(example_checks, "ROWS", 3)
    values = torch.zeros(7, 1, 2, 2)
    example_checks.require_finite_values(Examples(tuple("abcdefg"), values))
    values[place, 0, 1, 1] = torch.nan
    with pytest.raises(NotFiniteError, match=rf"values of '{'abcdefg'[place]}' are not finite \(1 of 7 examples\)"):
        example_checks.require_finite_values(Examples(tuple("abcdefg"), values))


def test_pixels_are_not_looked_at_for_nan(examples, monkeypatch):
    """They can't be, and a copy of all of them might not fit into memory."""
    monkeypatch.setattr(torch.Tensor, "isfinite", None)
    example_checks.require_finite_values(Examples(examples.ids, examples.values))
