"""Scores are averaged over models, and over the checkpoints of one, by any method."""

import shutil

import pytest
import torch

import whence
from whence.attribution.target import Target
from whence.config import Config, ModelConfig, TrainingConfig
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.training import train
from whence.errors import ArtefactError, ConfigError, MismatchError

CONFIG = whence.AttributionConfig(draws=8, compression=whence.Compression(width=200))


@pytest.fixture(scope="module")
def second_run(few_digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("second") / "run"
    model = ModelConfig(channels=(8,), groups=4, attention=0)
    train(few_digits, path, Config(model=model, training=TrainingConfig(batch_size=4, steps=6, warmup=1, seed=7)))
    return path


@pytest.fixture
def queries(few_digits):
    return whence.Examples(("q", "r"), few_digits.images([0, 1]))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The features of all models; each is made once."""
    return tmp_path_factory.mktemp("means") / "features"


def _scores(model, data, queries, method="trak", **options):
    return whence.attribute(model, data, queries, method, config=CONFIG, **options)[method]


@pytest.mark.slow
def test_several_models_are_averaged(recorded_run, second_run, few_digits, queries):
    found = _scores(Target.mean([recorded_run, second_run]), few_digits, queries)
    alone = [_scores(run, few_digits, queries).scores for run in (recorded_run, second_run)]
    torch.testing.assert_close(found.scores, (alone[0] + alone[1]) / 2)
    assert "the mean over 2 sets of weights" in found.estimand.process


def test_a_method_is_averaged_over_checkpoints(recorded_run, few_digits, queries, store):
    found = _scores(recorded_run, few_digits, queries, "trak-checkpoints", store=store)
    files = sorted((recorded_run / "checkpoints").glob("*.safetensors"))
    models = [Checkpoint(recorded_run, file).open() for file in files]
    alone = torch.stack([_scores(model, few_digits, queries, store=store).scores for model in models])
    torch.testing.assert_close(found.scores, alone.mean(0), rtol=1e-4, atol=1e-5 * float(alone.abs().max()))


def test_models_of_other_sizes_are_refused(recorded_run):
    other = whence.DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 4, 4), seed=0)
    with pytest.raises(ConfigError, match="pictures of one size"):
        Target.mean([recorded_run, other])


def test_every_model_must_be_trained_on_the_data(recorded_run, second_run, few_digits):
    with pytest.raises(MismatchError, match="was trained on data"):
        Target.mean([recorded_run, second_run]).require_data(few_digits.select(range(5)))


@pytest.mark.parametrize("name", ["trak-", "trak-steps", "tracin-checkpoints", "nothing-checkpoints"])
def test_unknown_means_are_refused(name, recorded_run, few_digits, queries):
    with pytest.raises(ConfigError, match="There is no method"):
        _scores(recorded_run, few_digits, queries, name)


def test_a_folder_with_other_things_in_it_is_refused(recorded_run, few_digits, queries, tmp_path):
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(ArtefactError, match=r"holds other things \(picture.png\)"):
        whence.attribute(recorded_run, few_digits, queries, "trak", config=CONFIG, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_a_damaged_checkpoint_matters_only_where_it_is_looked_at(recorded_run, few_digits, queries, store, tmp_path):
    run = shutil.copytree(recorded_run, tmp_path / "run")
    file = sorted((run / "checkpoints").glob("*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-1])
    assert len(_scores(run, few_digits, queries, store=store).examples) == len(few_digits)
    with pytest.raises(ArtefactError, match="is damaged"):
        _scores(run, few_digits, queries, "tracin-cp")


def test_a_data_set_can_be_asked_about(recorded_run, few_digits, store):
    asked = few_digits.select(range(2))
    found = _scores(recorded_run, few_digits, asked, store=store)
    assert found.queries == asked.ids
    assert repr(found) == f"Scores(trak: 2 queries, {len(few_digits)} examples, 8 draws, positive is proponent)"
