"""Proofs about one image: who is there and who is not, and that neither can be turned into the other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whence import images
from whence.engine import Engine
from whence.ensemble import Ensemble, train_ensemble
from whence.errors import ConfigError, DataError
from whence.proof import Absence, Membership, commit, parse_proof, prove, read_proof, verify
from whence.proof.image_proof import image_fingerprint


@pytest.fixture(scope="session")
def root(run: Path) -> str:
    return commit(Ensemble.open(run)).root.hash


def test_every_training_image_is_shown_to_be_there(run, root, tiny_data):
    ensemble = Ensemble.open(run)
    for n in range(0, 40, 7):
        proof = prove(ensemble, tiny_data.pixels[n])
        assert isinstance(proof, Membership)
        assert [one.id for one in proof.examples] == [tiny_data.ids[n]]
        assert verify(proof, root=root, image=tiny_data.pixels[n]).verdict == "VERIFIED"


def test_other_images_are_shown_to_be_absent_between_neighbours_and_at_both_ends(run, root):
    ensemble, ends = Ensemble.open(run), set()
    for seed in range(200):
        pixels = np.random.default_rng(seed).integers(0, 256, (1, 8, 8), np.uint8)
        proof = prove(ensemble, pixels) if seed < 5 or _is_edge(ensemble, pixels) else None
        if proof is None:
            continue
        assert isinstance(proof, Absence)
        ends |= {"left"} if proof.left is None else {"right"} if proof.right is None else {"middle"}
        assert verify(proof, root=root, image=pixels).ok
        if len(ends) == 3:
            break
    assert ends == {"left", "middle", "right"}


def _is_edge(ensemble: Ensemble, pixels: np.ndarray) -> bool:
    fingerprint, known = image_fingerprint(pixels, (1, 8, 8)), ensemble.data.fingerprints
    return not min(known) < fingerprint < max(known)


def test_an_absence_proof_shows_no_id_and_no_unit(run):
    text = prove(Ensemble.open(run), np.zeros((1, 8, 8), np.uint8)).model_dump_json()
    assert "u1" not in text
    assert "units" in text
    assert set(json.loads(text)["left"]) == {"key", "value", "place"}


def test_an_image_that_is_there_twice_is_shown_twice(tmp_path, tiny_data, tiny_config):
    pixels = tiny_data.pixels.copy()
    pixels[1] = pixels[0]
    data = replace(tiny_data, pixels=pixels)
    ensemble = train_ensemble(data, tmp_path / "ens", members=6, config=tiny_config, engine=Engine(1))
    proof = prove(ensemble, pixels[0])
    assert {one.id for one in proof.examples} == set(data.ids[:2])
    assert verify(proof, root=proof.root, run=ensemble.path).ok


def test_files_and_pixels_are_the_same(run, root, tiny_data, tmp_path):
    images.write_png(tmp_path / "one.png", tiny_data.pixels[3])
    proof = prove(Ensemble.open(run), tmp_path / "one.png")
    proof.write(tmp_path / "proof.json")
    assert read_proof(tmp_path / "proof.json") == proof
    found = verify(tmp_path / "proof.json", root=root, image=tmp_path / "one.png", run=run)
    assert found.verdict == "VERIFIED"


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((1, 8, 9), np.uint8), "uint8 1x8x9"),
        (np.zeros((3, 8, 8), np.uint8), "uint8 3x8x8"),
        (np.zeros((1, 8, 8), np.float32), "float32"),
        (Path("nothing.png"), "nothing.png"),
    ],
)
def test_what_is_no_such_image_is_refused(pixels, message, run):
    with pytest.raises((DataError, FileNotFoundError), match=message):
        prove(Ensemble.open(run), pixels)


@pytest.fixture
def proofs(run, tiny_data) -> dict[str, dict]:
    ensemble = Ensemble.open(run)
    made = {"membership": prove(ensemble, tiny_data.pixels[0]), "absence": prove(ensemble, 255 - tiny_data.pixels[0])}
    return {name: proof.model_dump(mode="json") for name, proof in made.items()}


def _other(text: str) -> str:
    return ("0" if text[0] != "0" else "1") + text[1:]


TAMPERING = {
    "image": ("membership", lambda f: f.update(image=_other(f["image"])), "is another image"),
    "id": ("membership", lambda f: f["examples"][0].update(id="x"), "does not lead to the root"),
    "units": ("membership", lambda f: f["examples"][0].update(units=["x"]), "does not lead to the root"),
    "twice": ("membership", lambda f: f["examples"].append(f["examples"][0]), "is listed twice"),
    "place": ("membership", lambda f: f["examples"][0]["place"].update(index=0), "does not lead to the root"),
    "none": ("membership", lambda f: f.update(examples=[]), "examples"),
    "absent image": ("absence", lambda f: f.update(image="0" * 64), "on both sides of the key don't"),
    "no left": ("absence", lambda f: f.update(left=None), "don't stand beside each other"),
    "no right": ("absence", lambda f: f.update(right=None), "don't stand beside each other"),
    "left is right": ("absence", lambda f: f.update(left=f["right"]), "on both sides of the key don't"),
    "left key": ("absence", lambda f: f["left"].update(key="0"), "does not lead to the root"),
    "value": ("absence", lambda f: f["left"].update(value="0" * 64), "does not lead to the root"),
    "kind": ("absence", lambda f: f.update(kind="membership"), "examples"),
    "words": ("absence", lambda f: f.update(statement="It is."), "statement in words"),
    "size": ("absence", lambda f: f["root_of"].update(size=[1, 4, 4]), "The parts of the root give"),
    "extra": ("absence", lambda f: f.update(note=1), "note"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_a_tampered_proof_is_refused_with_the_reason(name, proofs, root):
    kind, change, reason = TAMPERING[name]
    change(proofs[kind])
    try:
        found = verify(parse_proof(json.dumps(proofs[kind])), root=root).reasons
    except Exception as error:
        found = [str(error)]
    assert any(reason in one for one in found), found


def test_another_image_root_or_run_is_refused(proofs, root, tmp_path):
    proof = parse_proof(json.dumps(proofs["absence"]))
    assert "the proof is about" in verify(proof, root=root, image=np.zeros((1, 8, 8), np.uint8)).reasons[0]
    assert "not for the published" in verify(proof, root="0" * 64).reasons[0]
    assert "does not exist" in verify(proof, root=root, run=tmp_path).reasons[0]
    for options in ({"retrain_one": True}, {"member": 0}):
        with pytest.raises(ConfigError, match="Only members of a certificate"):
            verify(proof, root=root, **options)


def test_without_the_image_it_is_said(proofs, root):
    found = verify(parse_proof(json.dumps(proofs["absence"])), root=root)
    assert found.verdict == "VERIFIED, except for what was not checked: image"
