"""A certificate or run that was tampered with is refused, for the right reason, even when it is sealed again."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from whence import artefacts, images
from whence.config import Config
from whence.data import read
from whence.data.pixels import decode
from whence.diffusion.families.unet import NETWORK_FILE
from whence.engine import Engine
from whence.ensemble import Codebook, train_ensemble
from whence.ensemble.model import member_name, member_path
from whence.errors import ProofError, WhenceError
from whence.proof import Certificate, parse_proof, verify

Change = Callable[[dict[str, Any]], object]


def put(*path: Any) -> Change:
    """Set the field at a path, whose last element is the value, or is called with the old value."""
    *steps, last, value = path

    def change(fields: dict[str, Any]) -> None:
        for step in steps:
            fields = fields[step]
        fields[last] = value(fields[last]) if callable(value) else value

    return change


def picture(change: Callable[[np.ndarray], np.ndarray], rehash: bool = False) -> Change:
    """Change the pixels of the embedded picture."""

    def apply(fields: dict[str, Any]) -> None:
        old = decode(base64.b64decode(fields["picture"]["png"]), "picture", channels=1)
        new = change(old.astype(int)).clip(0, 255).astype(np.uint8)
        fields["picture"]["png"] = base64.b64encode(images.png(new)).decode()
        if rehash:
            fields["picture"]["pixels"] = artefacts.digest(new.tobytes())

    return apply


def other_hash(text: str) -> str:
    return ("0" if text[0] != "0" else "1") + text[1:]


def flip_bit(word: str) -> str:
    return ("1" if word[0] == "0" else "0") + word[1:]


def add_chunk(png: str) -> str:
    """A harmless text chunk behind the header."""
    data, chunk = base64.b64decode(png), b"tEXtSoftware\0x"
    packed = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    return base64.b64encode(data[:33] + packed + data[33:]).decode()


def pop(*path: Any) -> Change:
    *steps, last = path

    def change(fields: Any) -> None:
        for step in steps:
            fields = fields[step]
        fields.pop(last)

    return change


def _rename_unit(fields: dict[str, Any]) -> None:
    fields["units"][0]["unit"] = "u9"


def _add_unit(fields: dict[str, Any]) -> None:
    fields["units"].append(fields["units"][0] | {"unit": "u5"})


def _add_survivor(fields: dict[str, Any]) -> None:
    survivors = [one["member"] for one in fields["survivors"]]
    fields["survivors"].append(fields["survivors"][0] | {"member": min(set(range(6)) - set(survivors))})


def _drop_unit_with_its_images(fields: dict[str, Any]) -> None:
    gone = fields["units"].pop(0)["ids"]
    fields["near"] = [one for one in fields["near"] if one["of"] not in gone]
    mentioned = {*fields["units"][0]["ids"], *(one["id"] for one in fields["near"])}
    fields["examples"] = [one for one in fields["examples"] if one["id"] in mentioned]


#: What is changed, how, and the reason that is given by a forger's certificate: sealed again, with the words and the
#: root that belong to it.
FORGERIES: dict[str, tuple[Change, str]] = {
    "picture pixel": (picture(lambda old: old + 40 * (np.indices(old.shape).sum(0) == 3)), "not the one whose hash"),
    "picture hash": (put("picture", "pixels", other_hash), "not the one whose hash is stated"),
    "picture size": (put("picture", "size", [1, 8, 4]), "training images"),
    "picture with a further chunk": (put("picture", "png", add_chunk), "not a PNG of pixels alone"),
    "picture that is none": (put("picture", "png", "aGVsbG8="), "not a PNG"),
    "picture not in base64": (put("picture", "png", "é"), "can't be read"),
    "sample name": (put("sample", "00/2"), "sample"),
    "sampler field": (put("sampler", "eta", 1.0), "sampler is malformed"),
    "sampler field of another type": (put("sampler", "clip", "yes"), "sampler is malformed: clip"),
    "sampler method": (put("sampler", "method", "heun"), "sampler is malformed"),
    "sampler batch": (put("sampler", "batch_size", 10**12), "draws in batches of 4"),
    "sampler field missing": (pop("sampler", "clip"), "not complete"),
    "unit removed": (_drop_unit_with_its_images, r"The members without the units are \["),
    "unit added": (_add_unit, "does not lead to the root"),
    "unit twice": (lambda f: f["units"].append(f["units"][0]), "A unit is listed twice"),
    "unit renamed": (_rename_unit, "'u9', does not lead to the root"),
    "code word bit": (put("units", 0, "word", flip_bit), "does not lead to the root"),
    "code word length": (put("units", 0, "word", lambda word: word + "0"), "does not lead to the root"),
    "image of the unit left out": (pop("units", 0, "ids", 0), "does not lead to the root"),
    "image of the unit not shown": (pop("examples", 0), "is not shown to be in the training data"),
    "survivor added": (_add_survivor, "The members without the units are"),
    "survivor dropped": (pop("survivors", 0), "The members without the units are"),
    "survivor renumbered": (put("survivors", 0, "member", 1), "not the one that the ensemble was sealed with"),
    "member fingerprint": (put("survivors", 0, "fingerprint", other_hash), "not the one that the ensemble was sealed"),
    "member weights": (put("survivors", 0, "run", "files", NETWORK_FILE, other_hash), "not the one that the ensemble"),
    "member record": (put("survivors", 0, "run", "files", "record/00000000.safetensors", other_hash), "not the one"),
    "member examples": (put("survivors", 0, "run", "files", "examples.parquet", other_hash), "not the one"),
    "member seed": (put("survivors", 0, "run", "made", "training", "seed", 1), "not the one that the ensemble"),
    "member of other data": (put("survivors", 0, "run", "inputs", "data", other_hash), "not the one that the ensemble"),
    "ensemble fingerprint": (put("root_of", "ensemble", other_hash), "not for the published"),
    "ensemble's seed": (put("ensemble", "made", "config", "training", "seed", 4), "the root is of"),
    "ensemble's settings": (put("ensemble", "made", "config", "all of them"), "settings are malformed"),
    "ensemble's number of members": (put("ensemble", "made", "members", 7), "ensemble has 7 members"),
    "ensemble's codebook": (put("ensemble", "parts", "codebook", other_hash), "the root is of"),
    "data renamed": (put("examples", 0, "id", "x"), "is not shown to be in the training data"),
    "data pixels": (put("examples", 0, "fingerprint", other_hash), "does not lead to the root"),
    "data's units": (put("examples", -1, "units", ["u1"]), "does not lead to the root"),
    "Merkle node": (put("examples", 0, "place", "path", 1, other_hash), "does not lead to the root"),
    "Merkle node of a unit": (put("units", 0, "place", "path", 0, other_hash), "does not lead to the root"),
    "Merkle path too short": (pop("examples", 0, "place", "path", 0), "too short|does not lead"),
    "Merkle index": (put("examples", 0, "place", "index", lambda index: index ^ 1), "does not lead to the root"),
    "Merkle index beyond the leaves": (put("examples", 0, "place", "index", 10**9), "There is no leaf"),
    "leaf count": (put("root_of", "images", "leaves", 41), "not for the published"),
    "Merkle root": (put("root_of", "images", "root", other_hash), "not for the published"),
    "unit tree": (put("root_of", "units", "root", other_hash), "not for the published"),
    "size of the images": (put("root_of", "size", [1, 4, 16]), "not for the published"),
    "near-duplicate that is the unit's": (lambda f: f["near"][0].update(id=f["near"][0]["of"]), "which can't be"),
    "near-duplicate called identical": (put("near", 0, "identical", True), "what their fingerprints say"),
    "near-duplicate at no distance": (put("near", 0, "distance", 0.0), "what their fingerprints say"),
    "foreign image": (lambda f: f["near"].clear(), "has nothing to do with the units"),
    "image twice": (lambda f: f["examples"].append(f["examples"][0]), "A training image is listed twice"),
    "format": (put("format", "hence"), "format"),
    "version": (put("version", 2), "version"),
    "kind": (put("kind", "absence"), "malformed"),
    "unknown kind": (put("kind", "licence"), "kind"),
    "no kind": (pop("kind"), "kind"),
    "extra field": (lambda f: f.update(note="x"), "note"),
    "extra field inside": (lambda f: f["picture"].update(note="x"), "picture.note"),
    "field missing": (pop("survivors", 0, "run", "made"), "made"),
    "no units": (put("units", []), "units"),
    "no survivors": (put("survivors", []), "survivors"),
    "null": (put("root_of", None), "root_of"),
    "number as text": (put("survivors", 0, "member", "0"), "survivors.0.member"),
    "negative number": (put("survivors", 0, "member", -1), "survivors.0.member"),
    "huge number": (put("survivors", 0, "member", 10**40), "survivors.0.member"),
    "hash in capitals": (put("picture", "floats", "A" * 64), "picture.floats"),
}


def reasons(text: str, root: str, run: Path | None = None) -> list[str]:
    """Why a document is refused; empty if it is not."""
    try:
        return verify(parse_proof(text), root=root, run=run).reasons
    except WhenceError as error:
        return [str(error)]


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_certificate_is_refused_without_the_run(name, fields, certificate, forge):
    change, reason = FORGERIES[name]
    change(fields)
    found = reasons(forge(fields), certificate.root)
    assert any(re.search(reason, one) for one in found), found


@pytest.mark.parametrize("name", FORGERIES)
def test_a_changed_certificate_is_refused_without_root_or_run(name, fields):
    FORGERIES[name][0](fields)
    assert reasons(json.dumps(fields), fields["root"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("statement", "No image was ever used."), "statement in words"),
        (put("proven", 0, "Everything."), "statement in words"),
        (put("not_proven", []), "statement in words"),
        (put("environment", {"machine": "another"}), "changed later"),
        (put("picture", "floats", other_hash), "changed later"),
        (put("root", other_hash), "The parts of the root give"),
        (put("fingerprint", other_hash), "changed later"),
    ],
)
def test_edited_words_and_hashes_are_refused(change, reason, fields, certificate):
    change(fields)
    found = reasons(json.dumps(fields), certificate.root)
    assert any(reason in one for one in found), found


#: What only the run can tell: another picture, noise or sampler is as good a claim until it is drawn again.
CLAIMS: dict[str, tuple[Change, str]] = {
    "another picture": (picture(lambda old: 255 - old, rehash=True), r"differs by up to \d+ of 255 grey levels"),
    "one grey level": (
        picture(lambda old: old + np.where(old < 255, 1, -1), rehash=True),
        "by up to 1 .*allowed: none",
    ),
    "another sample": (put("sample", "0/1"), "differs by up to"),
    "sampler steps": (put("sampler", "steps", 3), "differs by up to"),
    "too many sampler steps": (put("sampler", "steps", 10**9), "timesteps"),
    "sampler clip": (put("sampler", "method", "ddim"), "differs by up to"),
    "near-duplicate hidden": (lambda f: f.update(near=f["near"][1:]), "are not those that are listed"),
    "near-duplicate further away": (put("near", 0, "distance", 9.0), "are not those that are listed"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_false_claim_is_refused_by_the_run(name, fields, certificate, forge, run):
    change, reason = CLAIMS[name]
    change(fields)
    mentioned = {one["id"] for one in fields["near"]} | {id for unit in fields["units"] for id in unit["ids"]}
    fields["examples"] = [one for one in fields["examples"] if one["id"] in mentioned]
    text = forge(fields)
    assert not reasons(text, certificate.root), "without the run it can't be told"
    found = reasons(text, certificate.root, run)
    assert any(re.search(reason, one) for one in found), found


def test_within_the_bound_a_picture_passes_but_not_as_the_same(fields, certificate, forge, run):
    picture(lambda old: old + np.where(old < 255, 1, -1), rehash=True)(fields)
    put("picture", "floats", other_hash)(fields)
    found = verify(parse_proof(forge(fields)), root=certificate.root, run=run)
    [drawn] = [check for check in found.checks if check.name == "picture drawn again"]
    assert drawn.ok
    assert "differs by up to 1 of 255 grey levels (1 allowed): not bit for bit" in drawn.detail


# Tampering with the run. `sealed`: whether the forger seals every manifest again.


def weights(path: Path, member: int, change: float = 1.0) -> None:
    file = member_path(path, member) / NETWORK_FILE
    tensors = {name: tensor.clone() for name, tensor in artefacts.read_tensors(file).items()}
    next(iter(tensors.values())).view(-1)[0] += change
    artefacts.write_tensors(file, tensors)


def record(path: Path, member: int) -> None:
    """Another example in the first place of the first batch."""
    file = member_path(path, member) / "record" / "00000000.safetensors"
    columns = {name: tensor.clone() for name, tensor in artefacts.read_tensors(file).items()}
    columns["rows"][0, 0] = (columns["rows"][0, 0] + 1) % 5
    artefacts.write_tensors(file, columns)


def record_cut(path: Path, member: int) -> None:
    """One file of the record with a step too few."""
    file = member_path(path, member) / "record" / "00000002.safetensors"
    artefacts.write_tensors(file, {name: tensor[1:] for name, tensor in artefacts.read_tensors(file).items()})


def _id_of_u1(path: Path) -> str:
    columns = artefacts.read_table(path / "data" / "examples.parquet")
    return next(id for id, units in zip(columns["id"], columns["units"], strict=True) if units == ["u1"])


def examples(path: Path, member: int) -> None:
    """An image of u1 among the examples of a member that may not see it."""
    file = member_path(path, member) / "examples.parquet"
    columns = artefacts.read_table(file)
    columns["id"][0] = _id_of_u1(path)
    artefacts.write_table(file, columns)


def pixels(path: Path, member: int) -> None:
    file = path / "data" / "pixels.safetensors"
    changed = artefacts.read_tensors(file)["pixels"].clone()
    changed[1] = 255 - changed[1]
    artefacts.write_tensors(file, {"pixels": changed})


def exchange(path: Path, member: int) -> None:
    """An image of u1 exchanged wherever the data set is stated, after the members were trained."""
    pixels(path, member)
    data = dataclasses.replace(read(path / "data"))
    columns = artefacts.read_table(path / "data" / "examples.parquet")
    artefacts.write_table(path / "data" / "examples.parquet", columns | {"fingerprint": list(data.fingerprints)})
    for folder in (path / "data", path):
        raw = json.loads((folder / "manifest.json").read_text())
        raw["inputs"]["data"] = data.fingerprint
        (folder / "manifest.json").write_text(json.dumps(raw))


def codebook(path: Path, member: int) -> None:
    book = Codebook.read(path / "codebook")
    bits = torch.from_numpy(book.bits[:, ::-1].copy())
    artefacts.write_tensors(path / "codebook" / "codebook.safetensors", {"bits": bits})


def data_id(path: Path, member: int) -> None:
    columns = artefacts.read_table(path / "data" / "examples.parquet")
    columns["id"][1] = "renamed"
    artefacts.write_table(path / "data" / "examples.parquet", columns)


def lost(path: Path, member: int) -> None:
    (member_path(path, member) / "record" / "00000000.safetensors").unlink()


RUNS = {"weights": weights, "record": record, "examples": examples, "pixels": pixels, "codebook": codebook}
RUNS |= {"data id": data_id}


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "ens")


@pytest.mark.parametrize("change", [*RUNS.values(), lost])
def test_a_changed_file_of_the_run_is_refused(change, copy, certificate):
    change(copy, certificate.members[0])
    found = verify(certificate, root=certificate.root, run=copy)
    assert not found.ok
    assert re.search("is damaged: its SHA-256|is missing", found.reasons[0])


@pytest.mark.parametrize("change", RUNS.values())
def test_a_member_alone_sealed_again_is_refused(change, copy, certificate, reseal):
    change(copy, certificate.members[0])
    for inner in ("data", "codebook", member_name(certificate.members[0])):
        reseal(copy / inner)
    found = verify(certificate, root=certificate.root, run=copy)
    assert re.search("than .* was made with", found.reasons[0]), found.reasons


@pytest.mark.parametrize("change", RUNS.values())
def test_a_run_sealed_again_is_not_the_one_of_the_root(change, copy, certificate, reseal_all):
    change(copy, certificate.members[0])
    reseal_all(copy)
    found = verify(certificate, root=certificate.root, run=copy)
    assert "is another ensemble than the root is of" in found.reasons[0]


def test_a_new_certificate_for_a_changed_run_is_refused_by_the_published_root(copy, certificate, reseal_all, issue):
    weights(copy, certificate.members[0])
    reseal_all(copy)
    new = issue(copy)
    assert verify(new, run=copy).ok, "without the root nothing tells it from an honest one"
    found = verify(new, run=copy, root=certificate.root)
    assert f"not for the published {certificate.root}" in found.reasons[0]


#: A holder who cheats before publishing the root: everything is sealed well, and the run contradicts itself.
CHEATS = {
    "record of another batch": (record, "The record of member .* is not of its seed: step 0 has another batch"),
    "record too short": (record_cut, "is not of 6 batches of 8 examples"),
    "examples of the unit": (examples, "hold '.*', an image of the units"),
    "images exchanged": (exchange, "Member . was trained on other images than the codebook gives it"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_holder_who_published_a_false_run_is_refused(name, copy, certificate, reseal_all, issue):
    change, reason = CHEATS[name]
    change(copy, certificate.members[0])
    reseal_all(copy)
    new = issue(copy)
    found = verify(new, run=copy, root=new.root)
    assert len(found.reasons) == 1
    assert any(re.search(reason, one) for one in found.reasons), found.reasons


def test_images_exchanged_behind_their_fingerprints_are_refused(copy, certificate, reseal_all, issue):
    pixels(copy, 0)
    reseal_all(copy)
    with pytest.raises(ProofError, match="the ensemble was trained on"):
        issue(copy)


def test_a_member_with_another_seed_than_its_ensemble_gives_is_refused(copy, certificate, reseal, reseal_all, issue):
    folder = member_path(copy, certificate.members[0])
    made = json.loads((folder / "manifest.json").read_text())["made"]
    made["training"]["seed"] += 1
    reseal(folder, made=made)
    reseal_all(copy)
    new = issue(copy)
    found = verify(new, root=new.root)
    assert "was trained with other settings or another seed" in found.reasons[0]


def test_another_ensemble_is_refused(tmp_path, tiny_data, tiny_config: Config, certificate: Certificate):
    other = tiny_config.updated("training", seed=9)
    train_ensemble(tiny_data, tmp_path / "other", members=6, config=other, engine=Engine(1))
    found = verify(certificate, root=certificate.root, run=tmp_path / "other")
    assert "is another ensemble" in found.reasons[0]


@pytest.mark.parametrize("place", ["nowhere", "data"])
def test_what_is_no_ensemble_is_refused(place, run, certificate):
    found = verify(certificate, root=certificate.root, run=run / place)
    assert not found.ok


def test_the_table_has_at_least_twenty_kinds():
    assert len(FORGERIES) + len(CLAIMS) + len(RUNS) + len(CHEATS) > 20
