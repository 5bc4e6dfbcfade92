import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from whence.cli import app
from whence.cli.output import plain, protect_output

PROGRAM = [sys.executable, "-c", "from whence.cli.app import main; main()"]
PRINTS = "from whence.cli.output import protect_output; import sys; protect_output(); "


@given(st.text())
def test_plain_text_is_ascii(text):
    assert plain(text).isascii()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_every_character_reaches_a_console_of_any_encoding(stream):
    script = PRINTS + f"print('Jos\\xe9 \\xb1 0.1 \\u2192 \\u754c \\ud800', file=sys.{stream})"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert getattr(ended, stream) == b"Jose +/- 0.1 -> ? ?\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_work_goes_on_after_the_reader_has_gone(tmp_path, stream):
    script = (
        PRINTS
        + f"""
import time
for n in range(300):
    print('x' * 1000, file=sys.{stream}, flush=True)
open({str(tmp_path / "done")!r}, "w").close()
"""
    )
    process = subprocess.Popen([sys.executable, "-c", script], **{stream: subprocess.PIPE})
    getattr(process, stream).read(10)
    getattr(process, stream).close()
    assert process.wait() == 0
    assert (tmp_path / "done").exists()


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no full device")
def test_errors_that_cannot_be_written_stop_nothing(tmp_path):
    script = PRINTS + f"print('x', file=sys.stderr, flush=True); open({str(tmp_path / 'done')!r}, 'w').close()"
    with FULL.open("w") as full:
        ended = subprocess.run([sys.executable, "-c", script], stderr=full, check=False)
    assert (ended.returncode, (tmp_path / "done").exists()) == (0, True)


@pytest.mark.skipif(not FULL.exists(), reason="there is no full device")
def test_a_full_standard_output_is_named():
    with FULL.open("w") as full:
        ended = subprocess.run([*PROGRAM, "methods"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: standard output: No space left on device.")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("columns", ["0", "-5", "1", "19", "x", "", "\u00b2"])
def test_a_width_that_nothing_fits_is_ignored(columns, monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "argv", ["whence", "train"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert (ended.value.code, "Missing argument" in capsys.readouterr().err) == (2, True)


def test_a_sensible_width_is_kept(monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("COLUMNS", "20")
    protect_output()
    assert os.environ["COLUMNS"] == "20"


def test_a_command_prints_on_an_ascii_console():
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run([*PROGRAM, "methods"], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("CUDA")],
    ids=["python", "cpu", "gpu"],
)
def test_short_memory_is_a_message_with_a_way_out(error, monkeypatch, capsys):
    def fail() -> None:
        raise error

    monkeypatch.setattr(app, "command_line", lambda: fail)
    monkeypatch.setattr(app, "protect_output", lambda: None)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 1
    assert "the memory is not enough" in capsys.readouterr().err


def test_a_network_that_no_memory_holds_is_refused_by_the_plan(tmp_path, monkeypatch, capsys):
    """The allocator's own words are not shown, and --plan is not advised where it was given."""
    for channels, told in ((10**6, "GiB more were asked for"), (10**10, "the memory is not enough")):
        (tmp_path / "c.toml").write_text(f"[model]\nchannels = [{channels}]\n")
        words = [
            "whence",
            "train",
            "digits",
            "--config",
            str(tmp_path / "c.toml"),
            "--out",
            str(tmp_path / "x"),
            "--plan",
        ]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            app.main()
        error = capsys.readouterr().err
        assert (ended.value.code, told in error, "smaller model.channels" in error) == (1, True, True), error
        assert "alloc" not in error
        assert "--plan" not in error


def test_other_errors_are_not_hidden(monkeypatch):
    def fail() -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(app, "command_line", lambda: fail)
    monkeypatch.setattr(app, "protect_output", lambda: None)
    with pytest.raises(RuntimeError, match="something else"):
        app.main()
