"""Studies: what models are compared on, begun once, and never mistaken for another."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.config import ModelConfig
from whence.credit.study import Study, StudyConfig
from whence.data import Dataset, load
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError, NotFiniteError
from whence.retraining.measurement import Measurement
from whence.retraining.rule import RetrainingRule

UNSEEN = load("digits:test")


@pytest.fixture
def changed_model(credited, tmp_path):
    """A copy of the credited model that a test may change."""
    return shutil.copytree(credited, tmp_path / "model")


def test_begun_again_it_is_the_same(begin, study, owned_data, drawn):
    again = begin(study.path)
    assert again.inputs == study.inputs == Study.open(study.path, study.full).inputs
    assert Study.open(study.path, study.full).settings == study.settings
    assert again.data.fingerprint == owned_data.fingerprint
    plan = again.plan
    assert plan.held_out.ids == UNSEEN.ids[:2]
    assert plan.redrawn == drawn.ids
    assert plan.drawn.tolist() == [True, True]
    assert len(plan.names) == len(again.measure_full().pictures) == 2


def test_the_reference_is_what_the_model_draws(study):
    """And the queries, drawn again by the model itself, are the same pictures."""
    full = study.measure_full()
    assert (study.context.reference == full.pictures).all()
    assert (full.redrawn == study.plan.queries.pixels).all()


@pytest.mark.parametrize("change", ["pictures", "held_out", "draws", "seed", "rule", "sampler"])
def test_other_settings_in_the_same_folder_are_refused(begin, study, drawn, change):
    other = {"rule": RetrainingRule(steps=3), "sampler": study.settings.sampler.model_copy(update={"batch_size": 3})}
    stated = "way" if change == "rule" else change
    value = other[change] if change in other else getattr(study.settings, change) + 1
    with pytest.raises(MismatchError, match=f"study holds another study; use another folder[\\s\\S]*{stated}"):
        begin(study.path, **{change: value})
    assert begin(study.path).inputs == study.inputs


def test_other_pictures_of_the_same_names_are_refused(study, owned_data, run_config):
    other = replace(owned_data, pixels=255 - owned_data.pixels)
    with pytest.raises(MismatchError, match=r"data: there .*, now"):
        Study.begin(study.path, study.full, other, run_config, study.settings)


def test_pictures_that_were_put_in_place_of_others_are_refused(begin, study, owned_data, tmp_path):
    other = replace(owned_data, pixels=255 - owned_data.pixels)
    elsewhere = Study.begin(tmp_path / "other", study.full, other, study.config, study.settings, UNSEEN)
    shutil.rmtree(study.path / "data")
    shutil.copytree(elsewhere.path / "data", study.path / "data")
    with pytest.raises(ArtefactError, match="other pictures than the study was begun with"):
        begin(study.path).data  # noqa: B018


@pytest.mark.parametrize("name", ["data", "held_out", "queries"])
def test_damaged_pictures_are_refused(study, flip_byte, name):
    flip_byte(study.path / name / "pixels.safetensors")
    with pytest.raises(ArtefactError, match="is damaged"):
        Study.open(study.path, study.full).context  # noqa: B018


def test_what_an_unfinished_study_left_is_no_part_of_this_one(begin, study, owned_data, run_config):
    """Killed after the held-out pictures were written, then begun without any."""
    shutil.rmtree(study.path / "request")
    again = Study.begin(study.path, study.full, owned_data, run_config, study.settings)
    assert again.plan.held_out is None
    assert again.plan.queries is None
    full = again.measure_full()
    assert len(full.held_out) == len(full.losses) == len(full.redrawn) == 0


def test_a_measurement_of_another_study_is_not_taken_for_this_one(begin, study):
    """Someone deleted the request alone, and begins with other draws."""
    study.measure_full()
    shutil.rmtree(study.path / "request")
    with pytest.raises(MismatchError, match="full"):
        begin(study.path, draws=5).measure_full()


@pytest.mark.parametrize("looked", [True, False])
def test_a_model_that_changed_is_refused(changed_model, owned_data, run_config, settings, tmp_path, looked):
    study = Study.begin(tmp_path / "study", changed_model, owned_data, run_config, settings)
    if looked:
        study.measure_full()
    weights = changed_model / NETWORK_FILE
    other = DiffusionModel.new(run_config.model, (1, 8, 8), seed=99)
    other.network.save_pretrained(changed_model / "unet")
    assert weights.exists()
    with pytest.raises(MismatchError, match="model changed since"):
        Study.open(study.path, changed_model).measure_full()
    with pytest.raises(MismatchError, match="holds another study"):
        Study.begin(study.path, changed_model, owned_data, run_config, settings)


def test_weights_that_are_no_numbers_are_refused(changed_model, owned_data, run_config, settings, tmp_path):
    model = DiffusionModel.load(changed_model)
    with torch.no_grad():
        model.network.conv_in.weight[0] = torch.nan
    model.network.save_pretrained(changed_model / "unet")
    with pytest.raises(NotFiniteError, match=r"conv_in\.weight"):
        Study.begin(tmp_path / "study", changed_model, owned_data, run_config, settings)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("file", ["look.safetensors", "manifest.json"])
def test_a_look_that_was_cut_short_is_refused(study, file):
    full = study.measure_full()
    path = study.path / "full" / file
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-9])
    with pytest.raises(ArtefactError, match="damaged"):
        Study.open(study.path, study.full).measure_full()
    shutil.rmtree(study.path / "full")
    again = Study.open(study.path, study.full).measure_full()
    assert all((getattr(again, name) == getattr(full, name)).all() for name in ("pictures", "losses", "held_out"))


def test_held_out_pictures_are_never_training_examples(credited, owned_data, run_config, settings, tmp_path):
    pixels = np.concatenate([UNSEEN.pixels[:1], owned_data.pixels[5:6]])
    unseen = Dataset(("new", "old"), pixels, (("x",), ("x",)), (None, None))
    with pytest.raises(DataError, match="1 of 2 held-out pictures are training examples too, such as 'old'"):
        Study.begin(tmp_path / "study", credited, owned_data, run_config, settings, unseen)
    assert not list(tmp_path.iterdir())
    few = settings.model_copy(update={"held_out": 1})
    study = Study.begin(tmp_path / "study", credited, owned_data, run_config, few, unseen)
    assert study.plan.held_out.ids == ("new",)


@pytest.mark.parametrize("role", ["training images", "held-out pictures", "queries"])
def test_pictures_of_another_size(credited, owned_data, run_config, settings, drawn, tmp_path, role):
    large = Dataset(("a",), np.zeros((1, 1, 16, 16), np.uint8), (("x",),), (None,))
    data, unseen, queries = owned_data, UNSEEN, drawn
    if role == "training images":
        data = large
    elif role == "queries":
        queries = replace(drawn, values=torch.zeros(2, 3, 8, 8))
    else:
        unseen = large
    with pytest.raises(DataError, match=f"The {role} are"):
        Study.begin(tmp_path / "study", credited, data, run_config, settings, unseen, queries)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"steps": 3}, {"method": "ddpm"}, {"clip": False}])
def test_queries_that_models_would_draw_in_another_way(begin, settings, tmp_path, change):
    with pytest.raises(ConfigError, match=f"queries were drawn with {next(iter(change))}"):
        begin(tmp_path / "study", sampler=settings.sampler.model_copy(update=change))


def test_nothing_to_measure(credited, owned_data, run_config, tmp_path):
    with pytest.raises(ConfigError, match="Nothing is to be measured"):
        Study.begin(tmp_path / "study", credited, owned_data, run_config, StudyConfig(pictures=0))
    study = Study.begin(tmp_path / "study", credited, owned_data, run_config, StudyConfig(pictures=0), UNSEEN)
    assert len(study.measure_full().pictures) == 0
    assert len(study.measure_full().held_out) == 128


def test_a_folder_of_diffusers_without_a_record(owned_data, run_config, settings, tmp_path):
    model = DiffusionModel.new(ModelConfig(channels=(8,), prediction="epsilon"), (1, 8, 8), seed=0)
    model.save(tmp_path / "plain")
    study = Study.begin(tmp_path / "study", tmp_path / "plain", owned_data, run_config, settings)
    assert isinstance(study.measure_full(), Measurement)
    assert fingerprint(study.start) == fingerprint(model)


@pytest.mark.parametrize("folder", ["nothing", "data"])
def test_a_folder_that_holds_no_model(begin, study, owned_data, run_config, settings, tmp_path, folder):
    with pytest.raises(ArtefactError):
        Study.begin(tmp_path / "new", study.path / folder, owned_data, run_config, settings)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("folder", ["nothing", "study/data"])
def test_a_folder_that_holds_no_study(study, tmp_path, folder):
    with pytest.raises(ArtefactError, match="credit study"):
        Study.open(tmp_path / folder, study.full)


def test_a_study_with_pruned_models_is_not_opened(study):
    file = study.path / "request" / "manifest.json"
    settings = {**study.manifest.made["settings"], "way": {**study.settings.rule.record(), "pruned": 0.5}}
    file.unlink()
    artefacts.write_manifest(file.parent, replace(study.manifest, made={**study.manifest.made, "settings": settings}))
    with pytest.raises(ConfigError, match="begin a new study in another folder, without --prune"):
        Study.open(study.path, study.full)


def test_models_of_coalitions_are_not_made_with_weight_0():
    with pytest.raises(ConfigError, match="by fine-tuning or retraining"):
        StudyConfig(rule=RetrainingRule(kind="weight 0"))


def test_seeds_of_repeats_differ(study, begin, tmp_path):
    other = begin(tmp_path / "other", seed=1)
    assert len({study.seed(0), study.seed(1), other.seed(0), other.seed(1)}) == 4
