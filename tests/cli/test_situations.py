"""Situations of real users, by the commands: each ends with the right value, or with a message that has a way out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

OF_ARTISTS = ("--queries", "sample:1", "--draws", 8, "--method", "trak", "--unit-column", "artist", "--out", "scores")
PROGRAM = [sys.executable, "-c", "from whence.cli.app import main; main()"]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with twelve images of three artists and two licences, a configuration, and a trained run of them."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for n in range(12):
        pixels = np.random.default_rng(n).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(f"data/{n:02}.png")
    table({n: ("anna", "ben", "cleo")[n % 3] for n in range(12)})
    Path("c.toml").write_text(
        "[model]\nchannels = [8]\nattention = 0\ntimesteps = 20\n[training]\nsteps = 4\nbatch_size = 4\n"
        "[sampler]\nmethod = 'ddim'\nsteps = 3\n"
    )
    return tmp_path


def table(artists: dict[int, str]) -> None:
    rows = [f"{n:02}.png,{artist},{('free', 'paid')[n % 2]}" for n, artist in artists.items()]
    Path("data/metadata.csv").write_text("\n".join(["file_name,artist,licence", *rows]) + "\n")


@pytest.fixture
def run(place, whence) -> str:
    assert whence("train", "data", "--config", "c.toml", "--out", "run").code == 0
    return "run"


def units_of(scores: str) -> set[str]:
    return {unit for units in pq.read_table(f"{scores}/examples.parquet").to_pydict()["units"] for unit in units}


def test_contributors_that_changed_are_in_no_scores_table_or_share(whence, run, recwarn):
    arguments = ["attribute", run, "data", "--queries", "sample:2", "--draws", 8, "--width", 64, "--out", "scores"]
    for method in ("trak", "d-trak"):
        assert whence(*arguments, "--method", method, "--unit-column", "artist").code == 0
    assert units_of("scores/trak") == {"anna", "ben", "cleo"}
    table({n: ("anna", "bertha", "cleo")[n % 3] for n in range(12)})
    again = whence(*arguments, "--method", "trak", "--unit-column", "artist")
    assert again.code == 0
    assert units_of("scores/trak") == units_of("scores/d-trak") == {"anna", "bertha", "cleo"}
    assert "Note: Units changed since these scores were made; they have the new ones: d-trak." in again.err
    assert whence("export", "scores/d-trak", "--to", "t.csv").code == 0
    assert "bertha" in Path("t.csv").read_text()
    assert "ben" not in Path("t.csv").read_text()
    assert whence("credit", "compute", "scores", "--out", "credit").code == 0
    assert whence(*arguments, "--method", "trak", "--unit-column", "licence").code == 0
    assert units_of("scores/trak") == {"free", "paid"}
    assert whence("credit", "compute", "scores", "--out", "credit").code == 0
    shares = Path("credit/sum-trak/shares.csv").read_text()
    assert "free" in shares
    assert "anna" not in shares


def test_a_run_of_few_timesteps_draws_as_its_settings_say(whence, run):
    arguments = ["attribute", run, "data", "--queries", "sample:1", "--draws", 8, "--width", 64]
    assert whence(*arguments, "--out", "own").code == 0
    assert facts("own")["sampler"]["steps"] == 3
    assert whence(*arguments, "--out", "ddpm", "--sampler", "ddpm", "--sampler-steps", 20).code == 0
    assert (facts("ddpm")["sampler"]["method"], facts("ddpm")["sampler"]["steps"]) == ("ddpm", 20)
    refused = whence(*arguments, "--out", "many", "--sampler-steps", 50)
    assert refused.code == 1
    assert "50 sampling steps were asked for; the model has 20 timesteps. Ask for at most as many" in refused.err


def facts(scores: str) -> dict:
    return json.loads(Path(f"{scores}/pictures/manifest.json").read_text())["facts"]


@pytest.mark.parametrize("command", [["train", "data"], ["ensemble", "train", "data", "--unit-column", "artist"]])
def test_results_are_not_written_into_the_data(whence, place, command):
    refused = whence(*command, "--config", "c.toml", "--out", "data/run")
    assert refused.code == 1
    assert "data/run is inside of the data data" in refused.err
    assert not Path("data/run").exists()


def test_text_that_looks_like_a_formula_is_text_in_a_table(whence, run, place):
    table({n: ("=1+1", "@ben", "-cleo")[n % 3] for n in range(12)})
    assert whence("attribute", run, "data", *OF_ARTISTS).code == 0
    assert whence("credit", "compute", "scores", "--out", "credit").code == 0
    written = "".join(path.read_text() for path in Path("credit").rglob("*.csv"))
    assert "'=1+1" in written
    assert ",=1+1" not in written
    assert "\n=1+1" not in written.replace('"', "")


def test_a_name_of_any_length_gives_a_statement(whence, run, place):
    long = "界" * 300
    table({n: (long, "ben", "cleo")[n % 3] for n in range(12)})
    assert whence("attribute", run, "data", *OF_ARTISTS).code == 0
    assert whence("credit", "compute", "scores", "--out", "credit").code == 0
    ended = whence("credit", "statement", "credit", "--unit", long)
    assert ended.code == 0, ended.err


def test_look_alikes_are_listed(whence, run, place):
    table({n: ("José Li", "Jose-Li", "cleo")[n % 3] for n in range(12)})
    assert whence("attribute", run, "data", *OF_ARTISTS).code == 0
    assert whence("credit", "compute", "scores", "--out", "credit").code == 0
    told = whence("credit", "audit", "credit").out
    assert "Contributors whose names look alike: 'Jose-Li', 'José Li'. If they are one, name it once." in told


FOLDERS = {
    "LoRA weights": (["pytorch_lora_weights.safetensors"], "the LoRA weights on top of it: --adapter {}"),
    "checkpoint of a trainer": (["unet/config.json", "optimizer.bin"], "Give {}/unet, with the folder scheduler/"),
    "folder of checkpoints": (["checkpoint-500/x", "checkpoint-900/x"], "such as {}/checkpoint-500"),
    "something else": (["notes.txt"], "Give the folder that save_pretrained"),
}


@pytest.mark.parametrize(("files", "message"), FOLDERS.values(), ids=FOLDERS)
def test_folders_of_trainers_are_told_apart(whence, place, files, message):
    for name in files:
        file = Path("model", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    refused = whence("attribute", "model", "data", "--queries", "data", "--out", "scores")
    assert refused.code == 1
    assert message.format("model") in refused.err


def test_a_place_where_nothing_can_be_made_is_named(whence, place):
    refused = whence("train", "data", "--config", "c.toml", "--out", "/proc/run")
    assert refused.code == 1
    assert "/proc" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.slow  # Short commands on such consoles and with such pipes are in test_output.py.
def test_a_long_command_ends_well_on_an_ascii_console_with_a_closed_pipe(place, run):
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = [
        "attribute",
        "run",
        "data",
        "--queries",
        "sample:1",
        "--draws",
        "8",
        "--width",
        "64",
        "--workers",
        "1",
        "--out",
        "scores",
    ]
    process = subprocess.Popen([*PROGRAM, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process.stderr:
        errors = process.stderr.read().decode("ascii")
    assert (process.wait(), "Traceback" in errors) == (0, False), errors
    assert units_of("scores/tangent-squared")


def test_files_that_are_no_images_are_told_of_data_and_of_queries(whence, run, place):
    Path("queries").mkdir()
    Image.open("data/00.png").save("queries/a.png")
    Path("queries/b.doc").write_text("x")
    Path("data/notes.doc").write_text("x")
    told = whence("attribute", run, "data", "--queries", "queries", "--draws", 8, "--width", 64, "--out", "scores").out
    assert "Note: " in told
    assert "notes.doc" in told
    assert "Note on the queries: " in told
    assert "b.doc" in told


@pytest.mark.parametrize("told", [("data", "--unit-column", "artist"), ()], ids=["by the data", "by the scores"])
def test_a_renamed_contributor_is_in_no_share_page_or_table(whence, run, told, recwarn):
    assert whence("attribute", run, "data", *OF_ARTISTS).code == 0
    first = ("credit", "compute", "scores", "data", "--unit-column", "artist", "--out", "credit")
    assert whence(*first).code == 0
    for unit in ("anna", "ben"):
        assert whence("credit", "statement", "credit", "--unit", unit).code == 0
    assert whence("report", "credit").code == 0
    assert whence("credit", "audit", "credit").code == 0
    Path("credit/statements/notes.txt").write_text("mine")
    table({n: ("anna", "bertha", "cleo")[n % 3] for n in range(12)})
    if not told:
        assert whence("attribute", run, "data", *OF_ARTISTS).code == 0
    again = whence("credit", "compute", "scores", *told, "--out", "credit")
    assert again.code == 0, again.err
    assert "Note: The shares in credit changed, so pages of the old ones were removed; write them again" in again.err
    shown = Path("credit/sum-trak/shares.csv").read_text()
    assert "bertha" in shown
    assert "ben," not in shown
    assert [path.name for path in Path("credit/statements").iterdir()] == ["notes.txt"]
    assert not Path("credit/report.html").exists()
    assert whence("report", "credit").code == 0
    page = Path("credit/report.html").read_text()
    assert "bertha" in page
    assert ">ben<" not in page
    assert whence("credit", "statement", "credit", "--unit", "bertha").code == 0
    assert "There is no contributor 'ben'" in whence("credit", "statement", "credit", "--unit", "ben").err
    assert whence("credit", "audit", "credit").code == 0
    assert "bertha" in Path("credit/audit.csv").read_text()
    assert Path("credit/data").exists() == bool(told)
