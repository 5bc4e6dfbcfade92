"""`whence ensemble screen` on the tiny ensemble."""

import pytest
from typer.testing import CliRunner

from whence.cli.app import app
from whence.errors import ConfigError


def screen(ensemble, *words):
    return CliRunner().invoke(app, ["ensemble", "screen", str(ensemble.path), *words])


@pytest.mark.slow
def test_screen(ensemble):
    planned = screen(ensemble, "--sample", "0/0-1", "--plan")
    assert planned.exit_code == 0
    assert "2 pictures: 336 forward-mode evaluations in 1 process" in planned.output
    assert not (ensemble.path / "screens").exists()
    done = screen(ensemble, "--sample", "0/0-1", "--sample", "0/1", "--top", "3", "--workers", "1")
    assert done.exit_code == 0
    assert done.output.count("  3. ") == 2
    assert "  4. " not in done.output
    assert "Picture 0/1: estimated distance without the unit, to first order" in done.output
    assert "10 placebos, code words without a unit: median " in done.output
    assert "Drawn without clipping, as here, the picture itself is " in done.output
    assert f"Exactly: whence ensemble ablate {ensemble.path} --sample 0/0 --unit u" in done.output
    assert "6 members give a picture at most 5 independent numbers" in done.output
    assert "336 forward-mode evaluations; the exact landscapes of 10 units take 240 network evaluations" in done.output
    assert "all of it is there already" in screen(ensemble, "--sample", "0/0-1", "--plan").output


def test_a_wrong_name(ensemble):
    assert isinstance(screen(ensemble, "--sample", "three").exception, ConfigError)


@pytest.mark.parametrize("words", [["--top", "0", "--sample", "0/0"], []])
def test_bad_options(ensemble, words):
    assert screen(ensemble, *words).exit_code == 2
