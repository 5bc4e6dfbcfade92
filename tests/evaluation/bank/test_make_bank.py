"""The base of a bank: data, reference models and queries."""

from dataclasses import replace

import numpy as np
import pytest

from whence.data import Dataset, load
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.sampling import draw_pictures
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError
from whence.evaluation.bank import Bank, BankConfig, build_bank, measure_references
from whence.evaluation.bank.bank_request import BankRequest
from whence.evaluation.bank.make_bank import reference_seed
from whence.images import to_pixels
from whence.retraining.measurement import measure

HELD_OUT = load("digits:test")
FEW = BankConfig(models=1, held_out=2, drawn=2, draws=2)


def named(data: Dataset, *ids: str) -> Dataset:
    return replace(data.select(range(len(ids))), ids=ids)


def test_a_bank_holds_its_data_models_and_queries(tiny_bank, bank_data):
    assert tiny_bank.data.fingerprint == bank_data.fingerprint
    assert tiny_bank.examples == bank_data.ids
    assert tiny_bank.classes == bank_data.captions
    assert tiny_bank.queries == (*HELD_OUT.ids[:3], "0/0", "0/1", "0/2")
    assert tiny_bank.drawn.tolist() == [False] * 3 + [True] * 3
    assert tiny_bank.development.tolist() == [True, False] * 3
    assert np.array_equal(tiny_bank.queries_data.pixels[:3], HELD_OUT.pixels[:3])
    model = DiffusionModel.load(tiny_bank.path / "models/0")
    drawn = to_pixels(draw_pictures(model, tiny_bank.config.sampler, ["0/0", "0/1", "0/2"]))
    assert np.array_equal(tiny_bank.queries_data.pixels[3:], drawn)
    assert len(set(tiny_bank.fingerprints)) == 2
    for k, path in enumerate(tiny_bank.models):
        record = Record(path)
        assert record.training.seed == reference_seed(0, k)
        assert len(list((path / "checkpoints").glob("*"))) == (0 if k else 2)


def test_reference_models_are_measured_as_all_others(tiny_bank):
    pool = tiny_bank.reference
    assert (pool.kept.shape, pool.losses.shape, pool.pictures.shape) == ((1, 24), (1, 2, 6), (1, 2, 3, 1, 8, 8))
    assert pool.kept.all()
    assert pool.weights == (tiny_bank.fingerprints,)
    for k, path in enumerate(tiny_bank.models):
        found = measure(DiffusionModel.load(path), tiny_bank.plan)
        assert np.array_equal(found.losses, tiny_bank.full[k])
        assert np.array_equal(found.redrawn, pool.pictures[0, k])


def test_the_same_again_does_nothing_and_another_bank_is_refused(bank, bank_data, tiny_bank_config, contents):
    before = contents(bank.path)
    settings = BankConfig(models=2, held_out=3, drawn=3, draws=8)
    again = build_bank(bank_data, HELD_OUT, bank.path, config=tiny_bank_config, settings=settings)
    assert again.manifest == bank.manifest
    assert np.array_equal(measure_references(again).losses, bank.reference.losses)
    assert contents(bank.path) == before
    for changed in ({"data": bank_data.select(range(23))}, {"settings": settings.model_copy(update={"seed": 1})}):
        given = {"data": bank_data, "settings": settings} | changed
        with pytest.raises(MismatchError, match="was made from something else"):
            build_bank(given["data"], HELD_OUT, bank.path, config=tiny_bank_config, settings=given["settings"])


@pytest.mark.parametrize(
    ("held_out", "settings", "error", "message"),
    [
        (None, {}, DataError, "2 held-out queries were asked for, there are 0 held-out pictures"),
        (HELD_OUT.select([0]), {}, DataError, "2 held-out queries were asked for, there are 1 held-out pictures"),
        (
            load("digits:test", resolution=4),
            {},
            DataError,
            r"Held-out pictures are \(1, 4, 4\), training .*\(1, 8, 8\)",
        ),
        (load("digits"), {"held_out": 30}, DataError, "held-out pictures are training examples too, such as"),
        (named(HELD_OUT, "a", "0/1"), {}, DataError, "'0/1' is named like a drawn one"),
        (HELD_OUT, {"held_out": 0, "drawn": 0}, ConfigError, "A bank without queries measures nothing"),
        (HELD_OUT, {"models": 0}, ConfigError, "models"),
        (HELD_OUT, {"draws": 0}, ConfigError, "draws"),
        (HELD_OUT, {"seed": -1}, ConfigError, "seed"),
    ],
)
def test_wrong_input_leaves_nothing(bank_data, tiny_bank_config, tmp_path, held_out, settings, error, message):
    with pytest.raises(error, match=message):
        build_bank(
            bank_data,
            held_out,
            tmp_path / "bank",
            config=tiny_bank_config,
            settings=BankConfig(**FEW.model_dump() | settings),
        )
    assert not list(tmp_path.iterdir())


def test_more_sampling_steps_than_timesteps_are_refused_before_training(bank_data, tiny_bank_config, tmp_path):
    config = tiny_bank_config.updated("model", timesteps=2)
    with pytest.raises(ConfigError, match="3 sampling steps were asked for; the models have 2 timesteps"):
        build_bank(bank_data, HELD_OUT, tmp_path / "bank", config=config, settings=FEW)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("held_out", "drawn"), [(0, 2), (2, 0)])
def test_queries_of_one_kind_alone(bank_data, tiny_bank_config, tmp_path, held_out, drawn):
    settings = BankConfig(models=1, held_out=held_out, drawn=drawn, draws=2)
    bank = build_bank(
        bank_data, HELD_OUT, tmp_path / "bank", config=tiny_bank_config, settings=settings, engine=Engine(1)
    )
    assert bank.drawn.tolist() == [bool(drawn)] * 2
    assert measure_references(bank).pictures.shape == (1, 1, drawn, 1, 8, 8)


def test_killed_it_continues_to_the_same_bank(tiny_bank, bank_data, tiny_bank_config, tmp_path, kill, killed):
    path, settings = tmp_path / "bank", BankConfig(models=2, held_out=3, drawn=3, draws=8)
    with pytest.raises(killed):
        build_bank(bank_data, HELD_OUT, path, config=tiny_bank_config, settings=settings, engine=Engine(1, kill))
    assert not path.exists()
    with pytest.raises(ArtefactError, match="unfinished"):
        Bank.open(path)
    seen = []
    found = build_bank(
        bank_data,
        HELD_OUT,
        path,
        config=tiny_bank_config,
        settings=settings,
        engine=Engine(1, lambda done, total: seen.append((done, total))),
    )
    assert found.manifest.fingerprint == tiny_bank.manifest.fingerprint
    assert seen[0] == (1, 4), "the first model was not trained again, the second went on from its first step"


def test_classes_are_inputs_of_a_bank_only_where_they_are_not_the_captions(bank_data):
    captioned = bank_data.with_fields(captions=tuple(f"a drawn {name}" for name in bank_data.classes))
    inputs = [
        BankRequest.make(data, HELD_OUT, settings=FEW).provenance["inputs"]
        for data in (bank_data, captioned, captioned.with_fields(classes=(None,) * len(captioned)))
    ]
    assert [list(one) for one in inputs] == [
        ["data", "held_out"],
        ["data", "held_out", "data_classes"],
        ["data", "held_out"],
    ]
