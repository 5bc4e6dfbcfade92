"""The command `whence ensemble export`, on landscapes of a tiny ensemble."""

import sys
from pathlib import Path

import pytest

from whence.cli.app import main
from whence.engine import Engine
from whence.ensemble.make_landscape import landscape
from whence.universe import Universe


@pytest.fixture
def export(monkeypatch, capsys):
    """Run the command; its exit code, output and errors."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["whence", "ensemble", "export", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_all_landscapes_in_one_file(ensemble, export, tmp_path: Path):
    code, _, err = export(ensemble.path, tmp_path / "u.ctf")
    assert code == 1
    assert f"First: whence ensemble landscape {ensemble.path} --samples 0/0" in err
    drawn = landscape(ensemble, ["0/0", "0/2"], placebos=1, engine=Engine(1))
    code, out, _ = export(ensemble.path, "--format", "ctf", tmp_path / "u.ctf")
    assert code == 0
    assert "holds 2 pictures (0/0, 0/2), each without each of 10 units" in out
    universe = Universe.open(tmp_path / "u.ctf")
    assert universe.units == ensemble.codebook.units
    assert universe.config.format == "MULTIFILE"
    for k, one in enumerate(drawn):
        rounding = one.factual.numel() ** 0.5 / 255
        assert universe.distances(k) == pytest.approx(one.distances.numpy(), abs=rounding)


def test_another_format_is_refused(ensemble, export, tmp_path):
    code, _, err = export(ensemble.path, "--format", "zip", tmp_path / "u.ctf")
    assert code == 2
    assert "--format" in err
    assert not (tmp_path / "u.ctf").exists()
