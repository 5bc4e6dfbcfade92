"""What a certificate says, and that an honest one verifies: anywhere, with the run or without."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from whence import artefacts, images
from whence.config import SamplerConfig
from whence.data import Dataset
from whence.data.pixels import decode
from whence.engine import Engine
from whence.ensemble import Ensemble, ablate, sample, train_ensemble
from whence.ensemble.model import member_path
from whence.errors import ConfigError, DataError, NoSurvivorsError, ProofError
from whence.proof import certify, commit, read_proof, verify
from whence.proof.make_certificate import NEAREST, near_duplicates
from whence.proof.run_checks import member_data

#: The fields of a file, in their order.
FIELDS = [
    "fingerprint",
    "format",
    "version",
    "statement",
    "root",
    "root_of",
    "kind",
    "proven",
    "not_proven",
    "ensemble",
    "sample",
    "sampler",
    "picture",
    "units",
    "survivors",
    "examples",
    "near",
    "environment",
]


def test_it_holds_what_it_says(certificate, run):
    ensemble = Ensemble.open(run)
    [ablation] = ablate(ensemble, "0/2", ["u1", "u3"], engine=Engine(1))
    drawn = ablation.pictures["counterfactual"]
    embedded = decode(base64.b64decode(certificate.picture.png), "picture", channels=1)
    assert np.array_equal(embedded, images.to_pixels(drawn))
    assert certificate.picture.floats == artefacts.digest(drawn.numpy().tobytes())
    assert certificate.members == ensemble.codebook.survivors(["u1", "u3"])
    assert certificate.root == commit(ensemble).root.hash
    for survivor in certificate.survivors:
        manifest = artefacts.read_manifest(member_path(run, survivor.member), "model")
        assert survivor.run.files == manifest.files
        assert survivor.fingerprint == manifest.fingerprint
    assert {id for unit in certificate.units for id in unit.ids} == {
        id for id, units in zip(ensemble.data.ids, ensemble.data.units, strict=True) if units[0] in ("u1", "u3")
    }


def test_it_verifies_with_the_run_and_the_root(certificate, run):
    found = verify(certificate, run=run, root=certificate.root, retrain_one=True)
    assert found.verdict == "VERIFIED"
    assert "the same weights to the last bit" in found.checks[-1].detail
    assert "the same to the last bit" in found.checks[-2].detail


def test_what_was_not_checked_is_said(certificate, run):
    left = "VERIFIED, except for what was not checked: "
    assert verify(certificate).verdict == f"{left}published root; run"
    assert verify(certificate, root=certificate.root).verdict == f"{left}run"
    assert verify(certificate, run=run).verdict == f"{left}published root; retraining"


@pytest.fixture
def elsewhere(certificate, run, tmp_path):
    """The certificate's file and a copy of the run without pictures, which must be left as it was."""
    copy, file = shutil.copytree(run, tmp_path / "elsewhere"), tmp_path / "cert.json"
    for folder in ("samples", "ablations"):
        shutil.rmtree(copy / folder)
    certificate.write(file)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    yield file, copy
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_it_verifies_elsewhere_without_pictures(elsewhere, certificate):
    file, copy = elsewhere
    assert read_proof(file) == certificate
    assert verify(file, run=copy, root=certificate.root, retrain_one=True).verdict == "VERIFIED"


@pytest.mark.slow
def test_it_verifies_in_a_process_of_its_own(elsewhere, certificate, tmp_path):
    file, copy = elsewhere
    command = [sys.executable, "-c", "from whence.cli.app import main; main()", "verify", str(file)]
    command += ["--run", str(copy), "--root", certificate.root, "--retrain-one"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "VERIFIED"


def test_the_root_depends_on_nothing_but_the_ensemble(run, tmp_path):
    copy = Ensemble.open(shutil.copytree(run, tmp_path / "copy"))
    before = commit(copy).root
    sample(copy, count=1, seed=5, engine=Engine(1))
    assert commit(Ensemble.open(tmp_path / "copy")).root == before == commit(Ensemble.open(run)).root


def test_the_same_request_gives_the_same_certificate(certificate, run):
    assert certify(Ensemble.open(run), "0/2", ["u3", "u1", "u3"], engine=Engine(1)) == certificate


@pytest.mark.slow
def test_a_member_with_slightly_other_weights_is_likely_and_with_others_refused(
    run, tmp_path, certificate, reseal_all, issue
):
    """1e-6 is what rounding makes of a weight; 0.1 is not."""
    member, path = certificate.members[0], shutil.copytree(run, tmp_path / "ens")
    for change, ok in ((1e-6, True), (0.1, False)):
        file = member_path(path, member) / "unet" / "diffusion_pytorch_model.safetensors"
        tensors = {name: tensor + change for name, tensor in artefacts.read_tensors(file).items()}
        artefacts.write_tensors(file, tensors)
        reseal_all(path)
        new = issue(path)
        assert verify(new, root=new.root, run=path).ok, "without retraining the record is taken at its word"
        found = verify(new, root=new.root, run=path, member=member)
        assert found.ok == ok
        assert ("only equality to the last bit proves it" if ok else "not trained as its record says") in str(
            found.checks[-1]
        )
    assert verify(new, root=new.root, run=path, member=certificate.members[1]).ok


def test_near_duplicates_are_the_nearest_and_all_that_are_identical():
    source = np.random.default_rng(0)
    pixels = source.integers(0, 256, (30, 3, 4, 5), np.uint8)
    pixels[[7, 9, 11, 13, 15]] = pixels[2]
    ids, units = tuple(f"i{n}" for n in range(30)), tuple(("u",) if n < 4 else ("v",) for n in range(30))
    data, seen = Dataset(ids, pixels, units, (None,) * 30), np.arange(4, 30)
    found = near_duplicates(data, ["u"], seen)
    for n in range(4):
        norms = [np.linalg.norm((pixels[n].astype(float) - pixels[k]) / 255) for k in seen]
        expected = sorted(zip(norms, (ids[k] for k in seen), strict=True))[: 5 if n == 2 else NEAREST]
        mine = [one for one in found if one.of == ids[n]]
        assert [one.id for one in mine] == [id for _, id in expected]
        assert [one.distance for one in mine] == pytest.approx([norm for norm, _ in expected])
        assert [one.identical for one in mine] == [n == 2] * len(mine)


def test_near_duplicates_do_not_depend_on_the_chunk(monkeypatch, run):
    data = Ensemble.open(run).data
    whole = near_duplicates(data, ["u1"], np.arange(4, 40))
    monkeypatch.setattr("whence.proof.make_certificate.CHUNK", 64)
    assert near_duplicates(data, ["u1"], np.arange(4, 40)) == whole


def test_an_identical_image_that_remains_is_listed(tmp_path, tiny_data, tiny_config):
    pixels = tiny_data.pixels.copy()
    pixels[2:10] = pixels[1]
    data = replace(tiny_data, pixels=pixels)
    config = tiny_config.updated("training", steps=1)
    ensemble = train_ensemble(data, tmp_path / "ens", members=6, config=config, engine=Engine(1))
    sample(ensemble, count=1, engine=Engine(1))
    made = certify(ensemble, "0/0", ["u1"], engine=Engine(1))
    seen = set().union(*(member_data(commit(ensemble), m).ids for m in made.members))
    identical = {one.id for one in made.near if one.of == data.ids[1] and one.identical}
    assert identical == seen & set(data.ids[2:10])
    assert f"{len(identical)} of them identical to the last pixel" in " ".join(made.not_proven)
    assert verify(made, root=made.root, run=ensemble.path).ok


@pytest.mark.parametrize(
    ("name", "units", "error", "message"),
    [
        ("0/2", ["nobody"], DataError, "no unit 'nobody'"),
        ("0/2", [], DataError, "No unit"),
        ("0/2", [f"u{k}" for k in range(10)], NoSurvivorsError, "None of the 6 members"),
        ("0/99", ["u1"], Exception, "has not been drawn yet"),
        ("zero", ["u1"], ConfigError, "SEED/INDEX"),
    ],
)
def test_what_cannot_be_certified_is_refused(name, units, error, message, run):
    with pytest.raises(error, match=message):
        certify(Ensemble.open(run), name, units, engine=Engine(1))


def test_pictures_drawn_in_other_batches_are_not_certified(ensemble):
    sample(ensemble, count=1, seed=7, sampler=SamplerConfig(steps=2, batch_size=2), engine=Engine(1))
    with pytest.raises(ConfigError, match="drawn in batches of 2"):
        certify(ensemble, "7/0", ["u1"], engine=Engine(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "abc"}, "64 hexadecimal digits"),
        ({"retrain_one": True}, "give the run directory"),
        ({"member": 1, "run": "."}, "Member 1 did not make the picture"),
        ({"image": np.zeros((1, 8, 8), np.uint8)}, "this is a certificate"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, certificate):
    with pytest.raises(ConfigError, match=message):
        verify(certificate, **options)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ProofError, match="can't be read"):
        verify(tmp_path / "none.json")


def test_the_file_is_plain_json(certificate, tmp_path):
    certificate.write(tmp_path / "cert.json")
    fields = json.loads((tmp_path / "cert.json").read_text())
    assert fields["kind"] == "certificate"
    assert fields["sample"] == "0/2"
    assert fields["fingerprint"] == certificate.fingerprint
    assert list(fields) == FIELDS, "certificates that were issued before have the same bytes when they are made again"
    assert list(fields["picture"]) == ["size", "png", "pixels", "floats"]
    assert list(fields["survivors"][0]["run"]) == ["kind", "inputs", "made", "files", "parts"]


def test_another_machine_may_differ_by_rounding(certificate, run, monkeypatch):
    """Other convolution kernels give other last bits, and the same picture to within the bound."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    found = verify(certificate, run=run, root=certificate.root)
    assert found.ok
