"""Certificates of adapters: honest ones verify; a document, a file or a run that was changed is refused."""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from whence import artefacts, images
from whence.data.pixels import decode
from whence.diffusion.adapters.adapter import FILE_NAMES
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.ensemble import Ensemble, ablate, train_ensemble
from whence.ensemble.model import member_name, member_path
from whence.ensemble.opt_out import opt_out
from whence.errors import ConfigError, WhenceError
from whence.proof import Certificate, certify, certify_adapter, commit, parse_proof, read_proof, verify

WEIGHTS = FILE_NAMES[0]
UNIT = "artist 2"


@pytest.fixture(params=["picture", "adapter"])
def certificate(request, prompt_certificate, adapter_certificate):
    """Each of the two kinds."""
    return prompt_certificate if request.param == "picture" else adapter_certificate


@pytest.fixture
def fields(certificate) -> dict[str, Any]:
    """The certificate as JSON values that a test may change."""
    return copy.deepcopy(certificate.model_dump(mode="json"))


@pytest.fixture(scope="session")
def files(adapters, tmp_path_factory) -> dict[str, Path]:
    """The LoRA files."""
    folder = tmp_path_factory.mktemp("files")
    for name, adapter in adapters.items():
        adapter.write(folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in adapters}


@pytest.fixture
def changed_run(adapter_run, tmp_path) -> Path:
    """A copy of the run that a test may change."""
    return shutil.copytree(adapter_run, tmp_path / "ens")


def seal_all(reseal: Callable, path: Path) -> None:
    """Seal a whole ensemble of adapters again, from the inside out."""
    for name in ("data", "codebook", "encoding", *(member_name(m) for m in range(6)), "."):
        reseal(path / name)


# Honest certificates.


def test_a_picture_holds_what_it_depends_on(prompt_certificate, adapter_run):
    ensemble = Ensemble.open(adapter_run)
    [ablation] = ablate(ensemble, "0/1", [UNIT], engine=Engine(1))
    drawn = ablation.pictures["counterfactual"]
    embedded = decode(base64.b64decode(prompt_certificate.picture.png), "picture", channels=3)
    assert np.array_equal(embedded, images.to_pixels(drawn))
    assert prompt_certificate.picture.floats == artefacts.digest(drawn.numpy().tobytes())
    assert prompt_certificate.prompt.model_dump() == {"text": "picture 2", "negative": "ugly", "guidance": 2.0}
    assert prompt_certificate.combine == "predictions"
    assert prompt_certificate.base.model_dump() == ensemble.manifest.inputs["base"]
    assert prompt_certificate.members == ensemble.codebook.survivors([UNIT])
    assert prompt_certificate.root == commit(ensemble).root.hash
    assert "picture 1" not in prompt_certificate.model_dump_json(), "prompts of other pictures are not shown"


def test_an_adapter_holds_the_hashes_of_its_file(adapter_certificates, adapters, files):
    for name, certificate in adapter_certificates.items():
        assert certificate.file == artefacts.file_digest(files[name])
        tensors = load_file(files[name])
        assert {key: one.floats for key, one in certificate.tensors.items()} == {
            key: artefacts.digest(tensor.numpy().tobytes()) for key, tensor in tensors.items()
        }
        assert {key: one.size for key, one in certificate.tensors.items()} == {
            key: tuple(tensor.shape) for key, tensor in tensors.items()
        }
        assert (certificate.rank, certificate.error) == (adapters[name].rank, adapters[name].error)
    assert "ΔW, exactly, of these adapters" in adapter_certificates["whole"].statement
    assert "cut to rank 3 with an error of" in adapter_certificates["cut"].statement


def test_it_says_that_it_is_relative_to_the_base(certificate):
    words = " ".join(certificate.not_proven)
    for part in (
        "It saw what it saw",
        "autoencoder, the text encoder",
        "caption of another image",
        "rank and strength",
    ):
        assert part in words
    assert "this base" in " ".join(certificate.proven) or "and the base too" in " ".join(certificate.proven)


def test_certificates_of_whole_networks_have_no_fields_of_adapters(run):
    made = certify(Ensemble.open(run), "0/2", ["u1"], engine=Engine(1))
    assert type(made) is Certificate
    assert not {"prompt", "combine", "base"} & made.model_dump().keys()


@pytest.mark.parametrize("name", ["0/1", "1/0"])
def test_a_picture_verifies_with_the_run_and_a_retrained_adapter(name, adapter_run, tmp_path):
    made = certify(Ensemble.open(adapter_run), name, [UNIT], engine=Engine(1))
    made.write(tmp_path / "cert.json")
    assert read_proof(tmp_path / "cert.json") == made
    found = verify(tmp_path / "cert.json", run=adapter_run, root=made.root, retrain_one=True)
    assert found.verdict == "VERIFIED"
    assert "the same weights to the last bit" in found.checks[-1].detail
    assert "the same to the last bit" in found.checks[-2].detail
    assert made.combine == ("weights" if name[0] == "1" else "predictions")


@pytest.mark.parametrize("name", ["whole", "cut"])
def test_an_adapter_verifies_with_file_run_and_a_retrained_member(name, adapter_certificates, files, adapter_run):
    made = adapter_certificates[name]
    found = verify(made, run=adapter_run, root=made.root, file=files[name], retrain_one=True)
    assert found.verdict == "VERIFIED"
    assert "the same tensors to the last bit" in found.checks[-2].detail
    assert verify(made, run=adapter_run, root=made.root).ok


def test_what_was_not_checked_is_said(adapter_certificate, prompt_certificate, files, adapter_run):
    left = "VERIFIED, except for what was not checked: "
    assert verify(prompt_certificate).verdict == f"{left}published root; run"
    assert verify(adapter_certificate).verdict == f"{left}published root; file; run"
    assert verify(adapter_certificate, file=files["whole"]).verdict == f"{left}published root; run"
    assert verify(adapter_certificate, run=adapter_run).verdict == f"{left}published root; file; retraining"


def test_the_same_request_gives_the_same_certificate(adapter_certificate, prompt_certificate, adapter_run):
    ensemble = Ensemble.open(adapter_run)
    assert certify_adapter(ensemble, opt_out(ensemble, [UNIT, UNIT])) == adapter_certificate
    assert certify(ensemble, "0/1", [UNIT], engine=Engine(1)) == prompt_certificate


def test_nothing_is_certified_where_nothing_is_left_out(adapter_run):
    ensemble = Ensemble.open(adapter_run)
    with pytest.raises(ConfigError, match="nothing can be certified"):
        certify_adapter(ensemble, opt_out(ensemble))


def test_another_machine_may_differ_by_rounding(certificate, adapter_run, monkeypatch):
    """Other convolution kernels give other last bits of a retrained member, and the same picture within the bound."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    found = verify(certificate, run=adapter_run, root=certificate.root, retrain_one=True)
    assert found.ok
    assert re.search("of the way that training moved them|to the last bit", found.checks[-1].detail)


def test_a_cut_file_is_compared_by_its_change_of_weights(adapter_certificates, files, adapter_run, monkeypatch):
    """Another machine may find the singular vectors with other signs: other tensors, the same ΔW."""
    svd = torch.linalg.svd

    def flipped(matrix):
        left, values, right = svd(matrix)
        return -left, values, -right

    monkeypatch.setattr(torch.linalg, "svd", flipped)
    found = verify(adapter_certificates["cut"], run=adapter_run, file=files["cut"])
    assert found.ok
    [again] = [check for check in found.checks if check.name == "file made again"]
    assert "of ΔW (1e-05 allowed): not bit for bit" in again.detail
    found = verify(adapter_certificates["cut"], run=adapter_run)
    assert "give the file with --file" in found.reasons[0]
    assert verify(adapter_certificates["whole"], run=adapter_run).ok, "nothing is cut, so nothing can differ"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrain_one": True}, "give the run directory"),
        ({"image": np.zeros((3, 16, 16), np.uint8)}, "this is a certificate"),
        ({"member": 0, "run": "."}, "Member 0 did not make the"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, certificate):
    with pytest.raises(ConfigError, match=message):
        verify(certificate, **options)


def test_a_file_belongs_to_an_adapter(prompt_certificate, files):
    with pytest.raises(ConfigError, match="--file belongs to the certificate of an adapter"):
        verify(prompt_certificate, file=files["whole"])


# Changed documents.

#: Fields about which only the run, or the file, can tell.
CLAIMS = {
    "sample",
    "sampler",
    "picture",
    "near",
    "prompt",
    "combine",
    "file",
    "tensors",
    "rank",
    "error",
    "environment",
}
#: Fields that a forger makes again from the others.
SEALS = {"statement", "proven", "not_proven", "fingerprint", "root"}


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value that is neither object nor list."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield path
    else:
        for key, inner in inside:
            yield from leaves(inner, (*path, key))


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, str):
        return ("1" if value[:1] == "0" else "0") + value[1:]
    return value + 1


@contextmanager
def changed(fields: dict[str, Any], path: tuple) -> Iterator[dict[str, Any]]:
    """The fields, which have another value at a path meanwhile."""
    inside, last = reduce(getitem, path[:-1], fields), path[-1]
    before, inside[last] = inside[last], other(inside[last])
    yield fields
    inside[last] = before


def reasons(text: str, **options: Any) -> list[str]:
    """Why a document is refused; empty if it is not."""
    try:
        return verify(parse_proof(text), **options).reasons
    except WhenceError as error:
        return [str(error)]


def test_every_field_that_is_changed_is_refused_without_root_or_run(fields):
    paths = list(leaves(fields))
    assert len(paths) > 200
    for path in paths:
        with changed(fields, path) as document:
            assert reasons(json.dumps(document)), path


def test_every_field_but_claims_is_refused_even_when_it_is_sealed_again(fields, certificate, forge):
    paths = [path for path in leaves(fields) if path[0] not in CLAIMS | SEALS]
    assert {path[0] for path in paths} == fields.keys() - CLAIMS - SEALS
    for path in paths:
        with changed(fields, path) as document:
            assert reasons(forge(document), root=certificate.root), path


#: What only the run can tell of a picture, and the reason that it gives.
PICTURE_CLAIMS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another sample": (lambda f: f.update(sample="0/0"), "differs by up to"),
    "another prompt": (lambda f: f["prompt"].update(text="blue"), "differs by up to"),
    "another negative prompt": (lambda f: f["prompt"].update(negative="blue"), "differs by up to"),
    "another guidance": (lambda f: f["prompt"].update(guidance=3.0), "differs by up to"),
    "no guidance": (lambda f: f["prompt"].update(guidance=1.0), "differs by up to"),
    "another way of combining": (lambda f: f.update(combine="weights"), "differs by up to"),
    "another number of steps": (lambda f: f["sampler"].update(steps=2), "differs by up to"),
    "a near-duplicate less": (lambda f: f["near"].pop(0), "are not those that are listed"),
    "other floats": (lambda f: f["picture"].update(floats="0" * 64), ""),
}


@pytest.mark.parametrize("name", PICTURE_CLAIMS)
def test_a_false_claim_about_a_picture_is_refused_by_the_run(name, prompt_certificate, forge, adapter_run):
    fields = copy.deepcopy(prompt_certificate.model_dump(mode="json"))
    change, reason = PICTURE_CLAIMS[name]
    change(fields)
    mentioned = {one["id"] for one in fields["near"]} | {id for unit in fields["units"] for id in unit["ids"]}
    fields["examples"] = [one for one in fields["examples"] if one["id"] in mentioned]
    text = forge(fields)
    assert not reasons(text, root=prompt_certificate.root), "without the run it can't be told"
    found = reasons(text, root=prompt_certificate.root, run=adapter_run)
    assert bool(found) == bool(reason), "other floats alone are those of another machine"
    assert not reason or re.search(reason, found[0]), found


@pytest.mark.parametrize(
    ("change", "with_file", "with_run"),
    [
        (lambda f: f.update(file="0" * 64), "stated is 0000", ""),
        (lambda f: f.update(error=0.5), "", "an error of 0.000e\\+00; stated is 5.000e-01"),
        (
            lambda f: next(iter(f["tensors"].values())).update(floats="0" * 64),
            "other tensors than",
            "has other tensors",
        ),
        (lambda f: _change_rank(f, 5), "other tensors than", "Made again at rank 5, the file has an error"),
        (lambda f: f["near"][0].update(distance=99.0), "", "are not those that are listed"),
    ],
)
def test_a_false_claim_about_an_adapter_is_refused(
    change, with_file, with_run, adapter_certificate, forge, files, adapter_run
):
    fields = copy.deepcopy(adapter_certificate.model_dump(mode="json"))
    change(fields)
    text, root = forge(fields), adapter_certificate.root
    assert not reasons(text, root=root)
    for reason, options in ((with_file, {"file": files["whole"]}), (with_run, {"run": adapter_run})):
        found = reasons(text, root=root, **options)
        assert bool(found) == bool(reason), found
        assert not reason or re.search(reason, found[0]), found


def _change_rank(fields: dict[str, Any], rank: int) -> None:
    fields["rank"] = rank
    for name, tensor in fields["tensors"].items():
        tensor["size"]["lora_B" in name] = min(rank, tensor["size"]["lora_B" in name])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f.update(rank=7), "the largest is not 7"),
        (lambda f: f["tensors"].pop(next(iter(f["tensors"]))), "not A and B of each layer"),
        (lambda f: next(iter(f["tensors"].values()))["size"].reverse(), "don't fit each other"),
        (lambda f: f["tensors"].update(alpha={"size": [1, 1], "floats": "0" * 64}), "not A and B of each layer"),
        (lambda f: f.update(tensors={}), "tensors"),
        (lambda f: f.update(error=-0.1), "error"),
        (lambda f: f["base"].pop("text_encoder"), "base.text_encoder"),
        (lambda f: f["base"].update(network="0" * 64), "not the one that the ensemble was trained on"),
    ],
)
def test_a_certificate_of_an_adapter_that_contradicts_itself_is_refused(change, reason, adapter_certificate, forge):
    fields = copy.deepcopy(adapter_certificate.model_dump(mode="json"))
    change(fields)
    found = reasons(forge(fields), root=adapter_certificate.root)
    assert any(re.search(reason, one) for one in found), found


def test_a_picture_of_adapters_is_no_picture_of_whole_networks(prompt_certificate, forge):
    """Without its prompt it would be drawn in another way."""
    fields = copy.deepcopy(prompt_certificate.model_dump(mode="json"))
    kept = {name: fields[name] for name in fields if name not in ("prompt", "combine", "base")}
    found = reasons(forge(kept | {"kind": "certificate"}), root=prompt_certificate.root)
    assert any("of another kind than the ensemble" in one for one in found), found


# Changed files.


@pytest.fixture
def file(files, tmp_path) -> Path:
    """A copy of the LoRA file that a test may change."""
    return shutil.copy(files["whole"], tmp_path / "opt-out.safetensors")


def test_a_changed_byte_of_the_file_is_refused(adapter_certificate, file, flip_byte):
    for at in (12, None, -1):
        flip_byte(file, at)
        assert re.search(
            "other tensors than|can't be read|stated is", verify(adapter_certificate, file=file).reasons[0]
        )
        flip_byte(file, at)
    assert verify(adapter_certificate, file=file).ok


@pytest.mark.parametrize("header", [{"format": "pt", "lora_adapter_metadata": "{}"}, None])
def test_a_header_that_changes_the_scale_is_refused(header, adapter_certificate, file, forge):
    """Also where the holder states this file: tensors are not all that other programs read."""
    save_file(load_file(file), file, header)
    assert "the same tensors in another file" in verify(adapter_certificate, file=file).reasons[0]
    fields = adapter_certificate.model_dump(mode="json") | {"file": artefacts.file_digest(file)}
    [reason] = reasons(forge(fields), root=adapter_certificate.root, file=file)
    assert "holds settings" in reason


def test_other_tensors_are_named(adapter_certificate, file, files, tmp_path):
    tensors = load_file(file)
    first, *_ = sorted(tensors)
    save_file({name: tensor for name, tensor in tensors.items() if name != first}, file, {"format": "pt"})
    for other_file in (file, files["cut"]):
        [reason] = verify(adapter_certificate, file=other_file).reasons
        assert f"other tensors than those that are stated: {first}" in reason
    for none in (tmp_path / "none", tmp_path):
        assert "can't be read as a LoRA file" in verify(adapter_certificate, file=none).reasons[0]


# Changed runs.


def change_weights(path: Path, member: int, change: float = 1.0) -> None:
    file = member_path(path, member) / WEIGHTS
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    for tensor in tensors.values():
        tensor += change
    save_file(tensors, file, {"format": "pt"})


def change_record(path: Path, member: int) -> None:
    file = member_path(path, member) / "record" / "00000000.safetensors"
    columns = {name: tensor.clone() for name, tensor in artefacts.read_tensors(file).items()}
    columns["rows"][0, 0] = (columns["rows"][0, 0] + 1) % 5
    artefacts.write_tensors(file, columns)


def change_encoding(path: Path, _member: int) -> None:
    """Latents of other pictures under the ids of all of them."""
    file = path / "encoding" / "latents" / "00000.safetensors"
    artefacts.write_tensors(file, {name: one.flip(0) for name, one in artefacts.read_tensors(file).items()})


CHANGES = {"weights": change_weights, "record": change_record, "encoding": change_encoding}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_run_is_refused(change, changed_run, certificate, reseal):
    change(changed_run, certificate.members[0])
    found = verify(certificate, root=certificate.root, run=changed_run)
    assert re.search("damaged|SHA-256", found.reasons[0]), found.reasons
    seal_all(reseal, changed_run)
    found = verify(certificate, root=certificate.root, run=changed_run)
    assert "is another ensemble than the root is of" in found.reasons[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [(change_weights, "not trained as its record says"), (change_record, "is not of its seed")],
)
def test_a_holder_who_published_a_false_run_is_refused(change, reason, changed_run, reseal):
    member = Ensemble.open(changed_run).codebook.survivors([UNIT])[0]
    change(changed_run, member)
    seal_all(reseal, changed_run)
    ensemble = Ensemble.open(changed_run)
    made = certify_adapter(ensemble, opt_out(ensemble, [UNIT]))
    found = verify(made, root=made.root, run=changed_run, member=member)
    assert re.search(reason, found.reasons[0]), found.reasons


@pytest.mark.slow
def test_a_holder_who_trained_on_the_encoding_of_other_images_is_refused(
    changed_run, reseal, monkeypatch, stable_diffusion, tiny_adapters, tmp_path
):
    """The members saw other latents than those of their images, all of it sealed well: only retraining tells."""

    ordered = Examples.ordered

    def exchanged(self: Examples, ids: Any) -> Examples:
        found = ordered(self, ids)
        return Examples(found.ids, found.tensor.flip(0), found.conditions)

    with monkeypatch.context() as patch:
        patch.setattr(Examples, "ordered", exchanged)
        ensemble = train_ensemble(
            tiny_adapters.data,
            tmp_path / "false",
            members=6,
            config=tiny_adapters.config.updated("training", steps=1),
            base=stable_diffusion,
            engine=Engine(1),
        )
    made = certify_adapter(ensemble, opt_out(ensemble, [UNIT]))
    assert verify(made, root=made.root, run=ensemble.path).ok, "without retraining the encoding is the holder's word"
    found = verify(made, root=made.root, run=ensemble.path, member=made.members[0])
    assert "was not trained as its record says" in found.reasons[0]


def test_members_of_another_schedule_or_with_more_than_images_are_refused(changed_run, reseal):
    member = Ensemble.open(changed_run).codebook.survivors([UNIT])[0]
    folder = member_path(changed_run, member)
    stated = json.loads((folder / "manifest.json").read_text())
    for changes, reason in (
        ({"made": stated["made"] | {"model": {**stated["made"]["model"], "timesteps": 7}}}, "another noise schedule"),
        ({"inputs": stated["inputs"] | {"start": "0" * 64}}, "with more than the images"),
        ({"inputs": stated["inputs"] | {"base": {**stated["inputs"]["base"], "network": "0" * 64}}}, "another base"),
        (
            {"made": stated["made"] | {"adapter": {**stated["made"]["adapter"], "rank": 3}}},
            "trained with other settings",
        ),
    ):
        reseal(folder, **{"made": stated["made"], "inputs": stated["inputs"], **changes})
        seal_all(reseal, changed_run)
        ensemble = Ensemble.open(changed_run)
        made = certify_adapter(ensemble, opt_out(ensemble, [UNIT]))
        found = verify(made, root=made.root)
        assert any(re.search(reason, one) for one in found.reasons), (reason, found.reasons)


def test_another_base_is_refused(changed_run, certificate, tmp_path, stable_diffusion):
    """The run leads to its base by a path, and the base must be the one that it was trained on."""
    base = shutil.copytree(stable_diffusion, tmp_path / "sd")
    manifest = json.loads((changed_run / "manifest.json").read_text())
    manifest["facts"]["base"] = str(base)
    (changed_run / "manifest.json").write_text(json.dumps(manifest))
    assert verify(certificate, root=certificate.root, run=changed_run).ok
    file = base / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values())).add_(1)
    save_file(tensors, file, {"format": "pt"})
    found = verify(certificate, root=certificate.root, run=changed_run)
    assert "is another base than" in found.reasons[0]
