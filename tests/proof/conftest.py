"""A certificate of the tiny ensemble, and what a forger would do with it."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from whence import artefacts
from whence.engine import Engine
from whence.ensemble import Ensemble, sample
from whence.ensemble.model import member_name
from whence.ensemble.opt_out import OptOut, opt_out
from whence.errors import WhenceError
from whence.proof import AdapterCertificate, Certificate, PromptCertificate, certify, certify_adapter
from whence.proof.root import Root

SAMPLE, UNITS = "0/2", ["u1", "u3"]
KINDS = {
    "certificate": Certificate,
    "prompt-certificate": PromptCertificate,
    "adapter-certificate": AdapterCertificate,
}


@pytest.fixture(scope="session")
def run(tiny_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny ensemble in which pictures may be drawn; nothing else changes."""
    return shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("proof") / "ens")


@pytest.fixture(scope="session")
def certificate(run: Path) -> Certificate:
    """Picture 0/2 without u1 and u3, drawn by two of the six members."""
    return certify(Ensemble.open(run), SAMPLE, UNITS, engine=Engine(1))


@pytest.fixture(scope="session")
def adapter_run(tiny_adapters: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny ensemble of adapters in which pictures may be drawn; nothing else changes."""
    return shutil.copytree(tiny_adapters.path, tmp_path_factory.mktemp("adapter-proof") / "ens")


@pytest.fixture(scope="session")
def prompt_certificate(adapter_run: Path) -> PromptCertificate:
    """Picture 0/1 without artist 2, drawn by three adapters."""
    return certify(Ensemble.open(adapter_run), "0/1", ["artist 2"], engine=Engine(1))


@pytest.fixture(scope="session")
def adapters(adapter_run: Path) -> dict[str, OptOut]:
    """The mean of the adapters without artist 2: all of it, and cut to rank 3."""
    ensemble = Ensemble.open(adapter_run)
    return {"whole": opt_out(ensemble, ["artist 2"]), "cut": opt_out(ensemble, ["artist 2"], rank=3)}


@pytest.fixture(scope="session")
def adapter_certificates(adapter_run: Path, adapters: dict[str, OptOut]) -> dict[str, AdapterCertificate]:
    """The certificates of both."""
    ensemble = Ensemble.open(adapter_run)
    return {name: certify_adapter(ensemble, adapter) for name, adapter in adapters.items()}


@pytest.fixture(scope="session")
def adapter_certificate(adapter_certificates: dict[str, AdapterCertificate]) -> AdapterCertificate:
    """That of the whole mean."""
    return adapter_certificates["whole"]


@pytest.fixture
def fields(certificate: Certificate) -> dict[str, Any]:
    """The certificate as JSON values that a test may change."""
    return copy.deepcopy(certificate.model_dump(mode="json"))


@pytest.fixture(scope="session")
def forge():
    """Seal changed fields again as a forger would: right words, root of its parts, fingerprint. Returns JSON text."""
    return forged


def forged(fields: dict[str, Any]) -> str:
    try:
        fields = fields | {"root": Root.model_validate_json(json.dumps(fields["root_of"]), strict=True).hash}
        draft = KINDS[fields["kind"]].model_validate_json(json.dumps(fields), strict=True)
        draft = draft.model_copy(update=draft.words())
        return draft.model_copy(update={"fingerprint": draft.content_fingerprint()}).model_dump_json()
    except (ValueError, KeyError, TypeError, WhenceError):
        return json.dumps(fields)


@pytest.fixture(scope="session")
def reseal():
    """Write the manifests of an artefact again as its files now are: members, data, codebook, or the whole ensemble."""
    return resealed


def resealed(path: Path, **changes: Any) -> None:
    raw = json.loads((path / "manifest.json").read_text())
    manifest = artefacts.Manifest(**{name: raw[name] for name in artefacts.Manifest.__dataclass_fields__})
    files = {name: artefacts.file_digest(path / name) for name in manifest.files}
    parts = {name: json.loads((path / name / "manifest.json").read_text())["fingerprint"] for name in manifest.parts}
    artefacts.write_manifest(path, dataclasses.replace(manifest, files=files, parts=parts, **changes))


@pytest.fixture(scope="session")
def reseal_all():
    """Seal a whole ensemble again, from the inside out."""

    def seal(path: Path) -> None:
        for inner in [path / "data", path / "codebook", *(path / member_name(m) for m in range(6)), path]:
            resealed(inner)

    return seal


@pytest.fixture(scope="session")
def issue():
    """A certificate that a holder issues for a run after changing it: all pictures are drawn again."""

    def make(path: Path) -> Certificate:
        for folder in ("samples", "ablations"):
            shutil.rmtree(path / folder, ignore_errors=True)
        ensemble = Ensemble.open(path)
        sample(ensemble, count=3, engine=Engine(1))
        return certify(ensemble, SAMPLE, UNITS, engine=Engine(1))

    return make
