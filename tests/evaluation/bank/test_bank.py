"""Opening a bank, and which scores it takes."""

import json
import re
from dataclasses import replace

import pytest
import torch

from whence import artefacts
from whence.artefacts import Manifest
from whence.attribution.target import Target
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.errors import ArtefactError, MismatchError
from whence.evaluation.bank import Bank, PoolRequest, build_pool
from whence.evaluation.bank.alignment import with_means
from whence.scores.scores import Estimand, Scores


def cut(file):
    file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize(
    "file",
    [
        "manifest.json",
        "data/manifest.json",
        "data/pixels.safetensors",
        "data/examples.parquet",
        "queries/pixels.safetensors",
        "queries/examples.parquet",
    ],
)
@pytest.mark.parametrize("change", ["cut", "remove"])
def test_a_damaged_bank_is_not_opened(bank, file, change):
    cut(bank.path / file) if change == "cut" else (bank.path / file).unlink()
    with pytest.raises(ArtefactError, match=re.escape(str(bank.path / file))):
        Bank.open(bank.path)


@pytest.mark.parametrize("file", ["manifest.json", "measured.safetensors", "models.json"])
@pytest.mark.parametrize("pool", ["pools/test", "reference"])
def test_a_damaged_pool_is_refused(bank, pool, file):
    cut(bank.path / pool / file)
    opened = Bank.open(bank.path)
    with pytest.raises(ArtefactError, match=f"{file} is damaged"):
        opened.full if pool == "reference" else opened.pool("test")


def test_a_damaged_or_exchanged_model_is_refused(bank, flip_byte):
    flip_byte(bank.path / "models/0/unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        _ = Bank.open(bank.path).fingerprints
    (bank.path / "models/0").rename(bank.path / "models/gone")
    (bank.path / "models/1").rename(bank.path / "models/0")
    with pytest.raises(ArtefactError, match="models/0 is another model than"):
        _ = Bank.open(bank.path).fingerprints


def test_other_data_under_the_same_name_are_refused(bank):
    (bank.path / "data").rename(bank.path / "old")
    (bank.path / "queries").rename(bank.path / "data")
    (bank.path / "old").rename(bank.path / "queries")
    with pytest.raises(ArtefactError, match="data is another dataset than"):
        Bank.open(bank.path)


def test_a_pool_of_another_bank_is_refused(bank):
    file = bank.path / "pools/test/manifest.json"
    own = artefacts.read_manifest(file.parent, "pool")
    artefacts.write_manifest(file.parent, replace(own, inputs={"bank": "f" * 64}))
    with pytest.raises(
        MismatchError, match=f"another bank: fingerprint {'f' * 12}, .* {bank.manifest.fingerprint[:12]}"
    ):
        Bank.open(bank.path).pool("test")


def test_pools_that_are_unfinished_or_not_there(base):
    build_pool(base, PoolRequest("test", 2), shard=(1, 2), engine=Engine(1))
    opened = Bank.open(base.path)
    assert (opened.unfinished, opened.pools) == ({"test": 1}, {})
    with pytest.raises(ArtefactError, match="The pool 'test' of .* is unfinished: 1 of its models are measured"):
        opened.pool("test")
    with pytest.raises(ArtefactError, match="has no pool 'development'; it has none"):
        opened.pool("development")
    with pytest.raises(ArtefactError, match="reference is not a Whence pool"):
        _ = opened.full


@pytest.mark.parametrize(("name", "message"), [("nothing", "is not a Whence bank"), ("bank/data", "not a bank")])
def test_what_is_no_bank(tiny_bank, name, message):
    with pytest.raises(ArtefactError, match=message):
        Bank.open(tiny_bank.path.parent / name)


def scores_of(bank: Bank, queries: Examples, *models: int) -> tuple[Scores, Manifest]:
    """Scores that tell where they belong, with queries and examples in reversed order."""
    values = torch.arange(float(len(queries.ids) * 24)).reshape(-1, 24)
    estimand = Estimand("loss", "none", "none", "none", "example")
    names, examples = queries.ids[::-1], bank.examples[::-1]
    found = Scores(
        values.flip(0, 1),
        names,
        examples,
        bank.data.units[::-1],
        "mine",
        estimand,
        "positive is proponent",
        "sum",
        standard_error=values.flip(0, 1) / 10,
        deviations=values.flip(0, 1).half().expand(8, -1, -1),
    )
    inputs = {
        "model": Target.mean([bank.models[k] for k in models]).fingerprint,
        "data": Examples.of(bank.data).fingerprint,
        "queries": queries.fingerprint,
    }
    return found, Manifest("scores", inputs, {}, {})


@pytest.mark.parametrize("models", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("drawn", [None, True, False])
def test_scores_come_in_the_order_of_the_bank(tiny_bank, models, drawn):
    queries = tiny_bank.attribution_queries(drawn)
    found = tiny_bank.require(*scores_of(tiny_bank, queries, *models))
    assert (found.queries, found.examples, found.units) == (queries.ids, tiny_bank.examples, tiny_bank.data.units)
    expected = torch.arange(float(len(queries.ids) * 24)).reshape(-1, 24)
    assert torch.equal(found.scores, expected)
    assert torch.equal(found.standard_error, expected / 10)
    assert torch.equal(found.deviations[5], expected.half())


@pytest.mark.parametrize("role", ["model", "data", "queries"])
def test_scores_of_something_else_are_refused_with_both_fingerprints(tiny_bank, role):
    scores, manifest = scores_of(tiny_bank, tiny_bank.attribution_queries(), 0)
    own = manifest.inputs[role][:12]
    other = replace(manifest, inputs={**manifest.inputs, role: "f" * 64})
    with pytest.raises(MismatchError, match=f"by mine are of other {role} than .*{'f' * 12}.*{own}.*whence attribute"):
        tiny_bank.require(scores, other)
    with pytest.raises(MismatchError, match=f"other {role} than the bank: fingerprint None"):
        tiny_bank.require(scores, replace(manifest, inputs={k: v for k, v in manifest.inputs.items() if k != role}))


def test_scores_of_units_are_refused(tiny_bank):
    scores, manifest = scores_of(tiny_bank, tiny_bank.attribution_queries(), 0)
    of_units = replace(scores, units=tuple((f"u{n % 3}",) for n in range(24)), deviations=None).by_unit()
    with pytest.raises(MismatchError, match="of 3 units, such as 'u0'; the bank has 24 examples"):
        tiny_bank.require(of_units, manifest)


def test_fingerprints_of_means_are_those_of_a_target(tiny_bank):
    models = tiny_bank.fingerprints
    assert with_means(models) == (*models, Target.mean(tiny_bank.models).fingerprint)


def test_manifests_are_plain_json(tiny_bank):
    recorded = json.loads((tiny_bank.path / "manifest.json").read_text())
    assert recorded["made"]["held_out"] == recorded["made"]["drawn"] == 3
    assert set(recorded["parts"]) == {"data", "queries", "models/0", "models/1"}
