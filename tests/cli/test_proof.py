"""The commands around certificates, as a user runs them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from whence import images
from whence.cli.app import main

UNIT = "artist 2"


@pytest.fixture(scope="module")
def run(tiny_ensemble, tmp_path_factory) -> Path:
    return shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("proof") / "ens")


@pytest.fixture(scope="module")
def adapter_run(tiny_adapters, tmp_path_factory) -> Path:
    return shutil.copytree(tiny_adapters.path, tmp_path_factory.mktemp("adapters") / "ens")


@pytest.fixture
def whence(monkeypatch, capsys):
    """Run `whence ...` in this process; returns the exit code and what was printed."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["whence", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + (captured.err if code and not captured.out else "")

    return call


def test_the_story_from_root_to_verdict(whence, run, tmp_path):
    code, said = whence("ensemble", "root", run)
    assert code == 0
    root = said.split()[-1]
    cert = tmp_path / "cert.json"
    request = ("ensemble", "certify", run, "--sample", "0/3", "--without", "u1", "--out", cert, "--workers", 1)
    assert "Nothing was started" in whence(*request, "--plan")[1]
    assert not cert.exists()
    code, said = whence(*request)
    assert code == 0
    assert root in said
    assert "Not proven: " in said

    code, said = whence("verify", cert, "--run", run, "--root", root)
    assert code == 0
    assert said.splitlines()[-1] == "VERIFIED, except for what was not checked: retraining"
    assert "Nothing was started" in whence("verify", cert, "--run", run, "--retrain-one", "--plan")[1]
    assert "Nothing was started" in whence("verify", cert, "--plan")[1]

    code, said = whence("verify", cert, "--root", "0" * 64)
    assert code == 1
    assert said.splitlines()[-1].startswith("REFUSED: The document is for the root")

    fields = json.loads(cert.read_text())
    fields["statement"] = "VERIFIED"
    cert.write_text(json.dumps(fields))
    code, said = whence("verify", cert, "--root", root)
    assert code == 1
    assert said.splitlines()[-1] == "REFUSED: The statement in words is not what the fields say."
    assert "\nVERIFIED" not in said

    cert.write_text("not a certificate")
    code, said = whence("verify", cert)
    assert code == 1
    assert said.startswith("REFUSED: ")


def test_a_picture_of_adapters_from_root_to_verdict(whence, adapter_run, tmp_path):
    root, cert = whence("ensemble", "root", adapter_run)[1].split()[-1], tmp_path / "cert.json"
    request = ("ensemble", "certify", adapter_run, "--sample", "0/1", "--without", UNIT, "--out", cert, "--workers", 1)
    assert "Nothing was started" in whence(*request, "--plan")[1]
    code, said = whence(*request)
    assert code == 0
    assert "the prompt 'picture 2', guided by 2 away from 'ugly', by the mean of predictions" in " ".join(said.split())
    code, said = whence("verify", cert, "--run", adapter_run, "--root", root)
    assert code == 0
    assert said.splitlines()[-1] == "VERIFIED, except for what was not checked: retraining"
    assert "Nothing was started" in whence("verify", cert, "--run", adapter_run, "--retrain-one", "--plan")[1]


def test_an_opt_out_comes_with_its_certificate(whence, adapter_run, tmp_path):
    file, certificate = tmp_path / "opt-out.safetensors", tmp_path / "opt-out.json"
    code, said = whence("ensemble", "export", adapter_run, "--without", UNIT, "--format", "lora", file)
    assert code == 0
    assert f"The certificate: {certificate}" in said
    assert "Not proven: Anything about what the base saw" in said
    root = said.split()[-1]
    assert root == whence("ensemble", "root", adapter_run)[1].split()[-1]
    code, said = whence("verify", certificate, "--file", file, "--run", adapter_run, "--root", root, "--retrain-one")
    assert code == 0
    assert said.splitlines()[-1] == "VERIFIED"

    other = tmp_path / "other.safetensors"
    whence("ensemble", "export", adapter_run, "--without", "artist 1", "--format", "lora", other)
    code, said = whence("verify", certificate, "--file", other, "--root", root)
    assert code == 1
    assert said.splitlines()[-1].startswith(f"REFUSED: {other} has other tensors than those that are stated")


def test_where_nothing_is_left_out_there_is_no_certificate(whence, adapter_run, tmp_path):
    code, said = whence("ensemble", "export", adapter_run, "--format", "lora", tmp_path / "all.safetensors")
    assert code == 0
    assert "No unit is left out, so there is no certificate." in said
    assert [file.name for file in tmp_path.iterdir()] == ["all.safetensors"]


def test_one_image_is_proven_to_be_there_or_not(whence, run, tmp_path, tiny_data):
    for pixels, words in ((tiny_data.pixels[0], "is among the 40"), (255 - tiny_data.pixels[0], "is not among the 40")):
        image, proof = tmp_path / "image.png", tmp_path / "proof.json"
        images.write_png(image, pixels)
        code, said = whence("ensemble", "prove", run, "--image", image, "--out", proof)
        assert code == 0
        assert words in said
        root = said.split()[-1]
        code, said = whence("verify", proof, "--image", image, "--root", root)
        assert code == 0
        assert said.splitlines()[-1] == "VERIFIED"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("ensemble", "root", "nowhere"), "is not a Whence ensemble"),
        (("ensemble", "certify", "RUN", "--sample", "0/3", "--without", "x", "--out", "OUT"), "no unit 'x'"),
        (("ensemble", "certify", "RUN", "--sample", "9/3", "--without", "u1", "--out", "OUT"), "not been drawn yet"),
        (("ensemble", "prove", "RUN", "--image", "nothing.png", "--out", "OUT"), "nothing.png"),
        (("verify", "nothing.json"), "nothing.json can't be read"),
    ],
)
def test_bad_input_ends_with_a_message_and_writes_nothing(whence, run, tmp_path, command, text):
    names = {"RUN": run, "OUT": tmp_path / "out.json"}
    code, said = whence(*(names.get(word, word) for word in command))
    assert code == 1
    assert text in said
    assert not (tmp_path / "out.json").exists()
