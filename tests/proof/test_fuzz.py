"""Documents mutated at random: nothing but the project's own error, and nothing that means something else passes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence.ensemble import Ensemble
from whence.errors import ProofError, WhenceError
from whence.proof import parse_proof, prove, read_proof, verify

#: Of documents that no run has seen before: many runs try more than any of them.
SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["0" * 64, "u1", "u2", "0/1", "1", 0, 1, 2**53, 10**400, "\ud800", "constructor"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
#: What a forger may change so that only the run tells: see CLAIMS in test_tampering.py.
CLAIMS = ("sample", "sampler", "picture", "near", "environment")
#: The same of certificates of adapters; of an opt-out the file and the run tell together.
ADAPTER_CLAIMS = {
    "prompt-certificate": (*CLAIMS, "prompt", "combine"),
    "adapter-certificate": ("near", "environment", "file", "tensors", "rank", "error"),
}


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in inside for place in places(inner, (*path, key)))]


def look(document: Any, path: tuple) -> Any:
    for key in path:
        document = document[key]
    return document


def mutate(document: Any, data: st.DataObject) -> Any:
    """Change one value: replace, delete, repeat, exchange with another, or add a field."""
    found = [place for place in places(document) if place]
    path = data.draw(st.sampled_from(found))
    inside, key = look(document, path[:-1]), path[-1]
    match data.draw(st.sampled_from(["replace", "near", "delete", "repeat", "exchange", "add"])):
        case "replace":
            inside[key] = data.draw(JSON)
        case "near":
            inside[key] = nudged(inside[key], data)
        case "delete":
            del inside[key]
        case "repeat" if isinstance(inside, list):
            inside.insert(key, copy.deepcopy(inside[key]))
        case "exchange":
            inside[key] = copy.deepcopy(look(document, data.draw(st.sampled_from(found))))
        case _ if isinstance(inside, dict):
            inside[data.draw(st.text(max_size=4))] = data.draw(JSON)
    return document


def nudged(value: Any, data: st.DataObject) -> Any:
    """Nearly the same value."""
    if isinstance(value, str) and value:
        at = data.draw(st.integers(0, len(value) - 1))
        return value[:at] + data.draw(st.sampled_from("01af/+=A ")) + value[at + 1 :]
    if isinstance(value, int | float):
        return value + data.draw(st.sampled_from([-1, 1, 0.5, 1e-9]))
    return value[::-1] if isinstance(value, list) else {}


def in_order(fields: dict[str, Any]) -> dict[str, Any]:
    """The order of units and images says nothing."""
    return fields | {name: sorted(fields[name], key=json.dumps) for name in ("units", "examples")}


def accepted(text: str, root: str) -> bool:
    """Whether a document passes without the run; whatever is wrong with it is said in the project's own words."""
    try:
        found = verify(parse_proof(text), root=root)
    except WhenceError:
        return False
    assert not [one for one in found.reasons if one.startswith("this could not be checked")], found.reasons
    return found.ok


@pytest.fixture(scope="session")
def documents(certificate, run, prompt_certificate, adapter_certificate) -> list[Any]:
    """A certificate, a proof of membership and one of absence, and both kinds of certificates of adapters."""
    ensemble = Ensemble.open(run)
    pixels = ensemble.data.pixels[0]
    proofs = [prove(ensemble, pixels), prove(ensemble, 255 - pixels)]
    return [certificate, *proofs, prompt_certificate, adapter_certificate]


@settings(SETTINGS, max_examples=250)
@given(data=st.data())
def test_a_mutated_document_passes_only_if_it_means_the_same(documents, data):
    original = documents[data.draw(st.sampled_from([0, 0, 0, 1, 2, 3, 4]))]
    fields = original.model_dump(mode="json")
    for _ in range(data.draw(st.integers(1, 2))):
        fields = mutate(fields, data)
    text = json.dumps(fields)
    if accepted(text, original.root):
        assert parse_proof(text) == original


@settings(SETTINGS, max_examples=250)
@given(data=st.data())
def test_a_mutated_certificate_sealed_again_passes_only_with_claims_about_the_run(certificate, forge, data):
    text = forge(mutate(certificate.model_dump(mode="json"), data))
    if accepted(text, certificate.root):
        there, was = (in_order(one.model_dump(mode="json")) for one in (parse_proof(text), certificate))
        changed = {name for name in was if there[name] != was[name]} - {"statement", "not_proven", "fingerprint"}
        assert changed <= set(CLAIMS)


@settings(SETTINGS, max_examples=150)
@given(data=st.data())
def test_mutated_certificates_of_adapters_sealed_again_pass_only_with_claims(documents, forge, data):
    original = documents[data.draw(st.sampled_from([3, 4]))]
    text = forge(mutate(original.model_dump(mode="json"), data))
    if accepted(text, original.root):
        there, was = (in_order(one.model_dump(mode="json")) for one in (parse_proof(text), original))
        changed = {name for name in was if there[name] != was[name]} - {"statement", "not_proven", "fingerprint"}
        assert changed <= set(ADAPTER_CLAIMS[original.kind])


@settings(SETTINGS, max_examples=200)
@given(data=st.data())
def test_a_file_with_changed_bytes_passes_only_if_it_means_the_same(documents, tmp_path_factory, data):
    original = data.draw(st.sampled_from(documents))
    raw = bytearray(json.dumps(original.model_dump(mode="json")).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        upto = data.draw(st.sampled_from([at, at + 1, at + 50, len(raw)]))
        raw[at:upto] = data.draw(st.binary(max_size=3) | st.sampled_from([b'"', b"}", b"[" * 5000, b"1e999", b"NaN"]))
    file = tmp_path_factory.getbasetemp() / "fuzzed.json"
    file.write_bytes(bytes(raw))
    try:
        found = read_proof(file)
    except WhenceError:
        return
    if verify(found, root=original.root).ok:
        assert found == original


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "malformed"),
        ("[]", "malformed"),
        ("{}", "kind"),
        ('{"kind": "absence", "kind": "absence"}', "'kind' is there twice"),
        ('{"kind": NaN}', "NaN is not a number"),
        ('{"kind": 1e999}', "1e999 is not a number"),
        ('{"kind": ' + "9" * 5000 + "}", "not JSON"),
        ('{"kind": "\\ud800"}', "malformed"),
    ],
)
def test_what_is_no_document_is_refused_with_the_reason(text, message):
    with pytest.raises(ProofError, match=message):
        parse_proof(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for name, message in [("none.json", "can't be read"), ("", "can't be read"), ("bytes.json", "not text in UTF-8")]:
        with pytest.raises(ProofError, match=message):
            read_proof(tmp_path / name)
