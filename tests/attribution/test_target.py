"""What is explained: weights, their shares, and what training drew before them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.attribution.feature_plan import recorded_draws
from whence.attribution.target import Target
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import Dataset
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.errors import ArtefactError, MismatchError


@pytest.fixture
def run(recorded_run, tmp_path):
    """A copy of the run that a test may change."""
    return shutil.copytree(recorded_run, tmp_path / "run")


def _trained(data, path, **training):
    model = ModelConfig(channels=(8,), groups=4, attention=0)
    settings = TrainingConfig(**({"batch_size": 4, "warmup": 1, "learning_rate": 1e-3, "seed": 1} | training))
    train(data, path, Config(model=model, training=settings))
    return path


def test_a_run_is_its_averaged_weights(recorded_run, few_digits):
    (checkpoint,) = Target.open(recorded_run).checkpoints("model", few_digits.ids)
    assert (checkpoint.checkpoint, checkpoint.weight, checkpoint.source) == (Checkpoint(recorded_run), 1.0, None)


def test_its_checkpoints_are_the_raw_weights(recorded_run, few_digits):
    checkpoints = Target.open(recorded_run).checkpoints("checkpoints", few_digits.ids)
    assert [checkpoint.weight for checkpoint in checkpoints] == [1 / 3] * 3
    opened = [checkpoint.checkpoint.open() for checkpoint in checkpoints]
    assert len({fingerprint(model) for model in (*opened, DiffusionModel.load(recorded_run))}) == 4
    for checkpoint, model in zip(checkpoints, opened, strict=True):
        stored = artefacts.read_tensors(checkpoint.checkpoint.weights)
        for name, value in model.network.named_parameters():
            assert torch.equal(value, stored[f"weights/{name}"])


def test_its_record_is_cut_into_whole_epochs(recorded_run, few_digits):
    """Steps 4, 9 and 14 of four of ten examples: 1, 3 and 5 whole epochs."""
    checkpoints = Target.open(recorded_run).checkpoints("record", few_digits.ids)
    assert [(checkpoint.source.last, checkpoint.source.visits) for checkpoint in checkpoints] == [
        (0, 1),
        (2, 2),
        (4, 2),
    ]
    rates = Record(recorded_run)["learning_rate"]
    steps = [slice(0, 3), slice(2, 8), slice(7, 13)]
    for checkpoint, among, visits in zip(checkpoints, steps, (1, 2, 2), strict=True):
        assert checkpoint.weight == pytest.approx(float(rates[among].mean()) * visits / 4)
        assert dict(checkpoint.trained) == dict.fromkeys(few_digits.ids, 1.0)


def test_recorded_draws_are_what_training_saw(recorded_run, few_digits):
    record = Record(recorded_run)
    for checkpoint in Target.open(recorded_run).checkpoints("record", few_digits.ids):
        source, ids = checkpoint.source, list(few_digits.ids)
        count = recorded_draws(8, source.visits)
        seen = []
        for index in range(count):
            rows, indices = np.arange(10), np.full(10, index)
            x, (t, noise) = source.x(Examples.of(few_digits), rows, indices), source(ids, indices, (1, 8, 8))
            visit = source.last - index % source.visits
            seen.append(visit)
            for n in range(10):
                ((step, slot),) = torch.nonzero((record["rows"] == n) & (record["visits"] == visit)).tolist()
                flipped = bool(record["flipped"][step, slot])
                image = few_digits.images([n])[0]
                assert int(t[n]) == int(record["timesteps"][step, slot])
                assert torch.equal(noise[n], record.noise(step, (1, 8, 8))[slot])
                assert torch.equal(x[n], image.flip(-1) if flipped else image)
        assert {seen.count(visit) for visit in set(seen)} == {count // source.visits}


@pytest.mark.parametrize("visits", range(1, 40))
@pytest.mark.parametrize("draws", [8, 10, 32])
def test_every_visit_counts_the_same(draws, visits):
    count = recorded_draws(draws, visits)
    assert count >= 8
    assert count == draws if visits >= draws else count % visits == 0


@pytest.mark.parametrize("over", ["model", "checkpoints", "record"])
def test_a_model_without_a_record_is_itself(recorded_run, few_digits, tmp_path, over):
    model = DiffusionModel.load(recorded_run)
    model.save(tmp_path / "folder")
    for source, where in ((model, LoadedCheckpoint(model)), (tmp_path / "folder", Checkpoint(tmp_path / "folder"))):
        (checkpoint,) = Target.open(source).checkpoints(over, few_digits.ids)
        assert (checkpoint.checkpoint, checkpoint.weight, checkpoint.source) == (where, 1.0, None)


@pytest.mark.parametrize(("over", "count"), [("model", 6), ("checkpoints", 12), ("record", 12)])
def test_an_ensemble_is_all_its_members(tiny_ensemble, tiny_data, over, count):
    checkpoints = Target.open(tiny_ensemble.path).checkpoints(over, tiny_data.ids)
    assert len(checkpoints) == count
    if over != "record":
        assert sum(checkpoint.weight for checkpoint in checkpoints) == pytest.approx(1)
    else:
        for checkpoint in checkpoints:
            own = artefacts.read_table(checkpoint.checkpoint.folder / "examples.parquet")["id"]
            assert dict(checkpoint.trained) == dict.fromkeys(own, 1.0)


def test_fingerprints(recorded_run, tiny_ensemble, tmp_path):
    model = DiffusionModel.load(recorded_run)
    assert Target.open(recorded_run).fingerprint == Target.open(model).fingerprint == fingerprint(model)
    model.network.conv_in.bias.data[0] += 1
    assert Target.open(recorded_run).fingerprint != Target.open(model).fingerprint
    assert Target.open(tiny_ensemble).fingerprint == Target.open(str(tiny_ensemble.path)).fingerprint


def test_a_run_without_checkpoints(few_digits, tmp_path):
    path = _trained(few_digits, tmp_path / "run", steps=5, checkpoints=0)
    assert Target.open(path).checkpoints("model", few_digits.ids)
    with pytest.raises(ArtefactError, match="kept no checkpoints"):
        Target.open(path).checkpoints("checkpoints", few_digits.ids)


def test_a_run_that_ended_within_its_first_epoch(few_digits, tmp_path):
    path = _trained(few_digits, tmp_path / "run", steps=2, checkpoints=1)
    assert Target.open(path).checkpoints("checkpoints", few_digits.ids)
    with pytest.raises(ArtefactError, match="no checkpoint after a whole epoch"):
        Target.open(path).checkpoints("record", few_digits.ids)


def test_checkpoints_within_an_epoch_are_passed_over(few_digits, tmp_path):
    path = _trained(few_digits, tmp_path / "run", steps=6, checkpoints=6)
    checkpoints = Target.open(path).checkpoints("record", few_digits.ids)
    assert [checkpoint.checkpoint.weights.name for checkpoint in checkpoints] == [
        "00000003.safetensors",
        "00000005.safetensors",
    ]


def _changed(data: Dataset) -> dict[str, tuple[Dataset, str]]:
    pixels, captions = data.pixels.copy(), ("a caption", *data.captions[1:])
    pixels[0] = 255 - pixels[0]
    ids = ("other", *data.ids[1:])
    return {
        "ids": (data.with_fields(ids=ids), "the ids differ"),
        "pixels": (replace(data, pixels=pixels), "the pixels differ"),
        "captions": (data.with_fields(captions=captions), "the captions differ"),
        "units": (data.with_fields(units=(("u",),) * len(data), captions=captions), "the captions differ"),
    }


@pytest.mark.parametrize("change", ["ids", "pixels", "captions", "units"])
def test_what_differs_from_the_training_data_is_said(recorded_run, few_digits, change):
    changed, message = _changed(few_digits)[change]
    with pytest.raises(MismatchError, match=f": {message}. Give the data"):
        Target.open(recorded_run).require_data(changed)


def test_units_that_differ_from_those_of_an_ensemble_are_said(tiny_ensemble, tiny_data):
    with pytest.raises(MismatchError, match=": the units differ. Give the data"):
        Target.open(tiny_ensemble).require_data(tiny_data.with_fields(units=(("u",),) * len(tiny_data)))


@pytest.mark.parametrize(
    ("change", "message"),
    [("ids", "the ids differ"), ("pixels", "in which of pixels, captions and units is not known: compare files")],
)
def test_what_differs_from_an_older_run_is_said_as_far_as_it_is_known(
    recorded_run, few_digits, tmp_path, change, message
):
    """Runs of earlier versions have no digests of the parts."""
    path = shutil.copytree(recorded_run, tmp_path / "old")
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["facts"]["data"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MismatchError, match=message):
        Target.open(path).require_data(_changed(few_digits)[change][0])


def test_captions_that_were_added_to_an_older_run_are_said(few_digits, tmp_path):
    bare = few_digits.with_fields(captions=(None,) * len(few_digits))
    path = _trained(bare, tmp_path / "run", steps=2, checkpoints=0)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["facts"]["data"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MismatchError, match="the captions differ"):
        Target.open(path).require_data(_changed(few_digits)["captions"][0])


def test_other_training_data_is_refused(recorded_run, tiny_ensemble, few_digits, tiny_data):
    for source, other in ((recorded_run, tiny_data), (tiny_ensemble, few_digits)):
        with pytest.raises(MismatchError, match="was trained on data with the fingerprint"):
            Target.open(source).require_data(other)
    Target.open(recorded_run).require_data(few_digits)
    with pytest.raises(MismatchError, match="not of its seed and these training examples"):
        Target.open(recorded_run).checkpoints("record", few_digits.ids[1:])


def test_an_unfinished_run(run):
    run.rename(run.with_name("run.checkpoint"))
    with pytest.raises(ArtefactError, match="unfinished"):
        Target.open(run)


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"])
def test_a_damaged_run(run, file, flip_byte):
    flip_byte(run / file)
    with pytest.raises(ArtefactError, match=r"is damaged: its SHA-256"):
        Target.open(run)


def test_another_artefact(tiny_ensemble):
    with pytest.raises(ArtefactError, match="is samples; expected a diffusers folder"):
        Target.open(tiny_ensemble.path / "samples" / "0")


def test_nothing(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ArtefactError, match=r"no such directory|no folder of diffusers"):
            Target.open(path).model  # noqa: B018
