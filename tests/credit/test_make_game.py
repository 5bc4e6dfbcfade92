"""Values of coalitions: what their models show, whoever makes them and in whatever order."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whence import artefacts
from whence.credit.behaviours import behaviour
from whence.credit.coalitions import every, leave_one_out
from whence.credit.contributors import Contributors
from whence.credit.make_game import measure_coalitions, measure_game, measure_nobody, missing_models, values_of
from whence.credit.study import Study
from whence.data import NO_UNIT
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ArtefactError, DataError, LockedError, MismatchError, ModelError, NotFiniteError
from whence.retraining.measurement import Measurement, measure
from whence.retraining.retrain import train_and_measure
from whence.retraining.rule import RetrainingRule

FIT = [behaviour("fit")]
ALL = [behaviour(name) for name in ("held-out-fit", "fit", "distance")]


@pytest.fixture(scope="session")
def rows(contributors: Contributors) -> list[np.ndarray]:
    """The examples that are left without anna, without ben, and all of them."""
    return [contributors.kept(row) for row in [*leave_one_out(3)[:2], np.ones(3, bool)]]


@pytest.fixture(scope="session")
def made(begin, rows, tmp_path_factory) -> Study:
    """A study with the looks of `rows` with two seeds each; only to be read."""
    study = begin(tmp_path_factory.mktemp("values") / "study")
    measure_coalitions(study, rows, repeats=2, engine=Engine(1))
    return study


@pytest.fixture
def copied(made: Study, tmp_path: Path) -> Study:
    """A copy of `made` that a test may change."""
    return Study.open(shutil.copytree(made.path, tmp_path / "copied"), made.full)


def same(a: Measurement, b: Measurement) -> bool:
    names = ("pictures", "held_out", "losses", "redrawn")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_a_look_is_that_at_a_model_trained_by_hand(made, rows):
    config = made.settings.rule.settings(made.config, len(rows[0]), 24, made.seed(1))
    place = made.path.parent / "by hand"
    train(made.data.select(rows[0]), place, config, start=DiffusionModel.load(made.full))
    found = measure_coalitions(made, rows[:1], repeats=2)[0]
    assert same(found[1], measure(DiffusionModel.load(place), made.plan))
    assert not same(found[1], found[0])


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_neither_workers_nor_order_nor_what_else_is_asked_for_matter(begin, made, rows, shown, tmp_path, workers):
    study = begin(tmp_path / "study")
    measure_coalitions(study, [rows[2], rows[0]], engine=Engine(workers))
    assert len(shown(study)) == 2
    measure_coalitions(study, rows[::-1], repeats=2, engine=Engine(1))
    assert shown(study) == shown(made)


def test_equal_examples_are_one_model(made, rows):
    assert len(missing_models(made, [rows[0][:5], rows[0][:5], rows[0]], repeats=3)) == 4
    assert missing_models(made, rows, repeats=2) == []


def test_models_that_are_there_are_not_made_again(made, rows):
    before = {file: file.stat().st_mtime_ns for file in made.path.rglob("*")}
    reported = []
    measure_coalitions(made, rows, repeats=2, engine=Engine(report=lambda *progress: reported.append(progress)))
    assert {file: file.stat().st_mtime_ns for file in made.path.rglob("*")} == before
    assert reported == []


def models_left(study: Study) -> list[str]:
    names = [path.name for path in study.path.glob("looks/*") if path.is_dir()]
    return [name for name in names if ".model" in name or name.endswith((".part", ".old"))]


def test_no_model_is_left(made):
    assert models_left(made) == []


def test_progress_counts_all_steps(begin, rows, tmp_path):
    reported = []
    measure_coalitions(
        begin(tmp_path / "study"), rows[:2], engine=Engine(1, lambda *progress: reported.append(progress))
    )
    assert reported[-1] == (4, 4)
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)


def test_no_examples_are_the_model_of_nobody(made):
    (none,) = measure_coalitions(made, [np.zeros(0, np.int64)], repeats=2)
    assert same(none[0], none[1])
    assert same(none[0], measure_nobody(made))
    begun = DiffusionModel.new(made.config.model, (1, 8, 8), made.seed(0))
    assert same(none[0], measure(begun, made.plan))


def test_nobody_beside_others(made, rows):
    """A coalition without any example doesn't stand for the others."""
    none, some = measure_coalitions(made, [rows[0][:0], rows[0]])
    assert same(none[0], measure_nobody(made))
    assert same(some[0], measure_coalitions(made, rows[:1])[0][0])


def test_fewer_examples_than_a_batch(begin, tmp_path):
    study = begin(tmp_path / "study")
    assert study.config.training.batch_size > 1
    (one,) = measure_coalitions(study, [np.array([3])])
    assert np.isfinite(one[0].losses).all()


def test_retraining_everybody_without_fine_tuning(begin, tmp_path):
    """With the seed of a repeat, it is the run of that seed."""
    study = begin(tmp_path / "study", rule=RetrainingRule(kind="retraining"))
    ((look,),) = measure_coalitions(study, [np.arange(24)])
    train(study.data, tmp_path / "run", study.config.updated("training", seed=study.seed(0)))
    assert same(look, measure(DiffusionModel.load(tmp_path / "run"), study.plan))


@pytest.mark.slow
def test_killed_again_and_again_it_goes_on(begin, rows, made, shown, run_script, tmp_path):
    """SIGKILL just after the first, fourth, seventh ... file is put in place, each time in the same folder."""
    study = begin(tmp_path / "study")
    script = Path(__file__).parent / "kill_measurements.py"
    deaths = int(run_script(script, study.path, study.full, ",".join(map(str, rows[0]))))
    assert deaths > 2
    assert shown(study).items() <= shown(made).items()
    assert len(shown(study)) == 2
    assert models_left(study) == []


def test_killed_before_the_model_was_forgotten(copied, rows, shown):
    """The look is whole, its model is still there: the next call forgets it."""
    before, name = shown(copied), min(shown(copied))
    shutil.copytree(copied.full, copied.path / "looks" / f"{name}.model")
    measure_coalitions(copied, rows, repeats=2, engine=Engine(1))
    assert shown(copied) == before
    assert models_left(copied) == []


@pytest.mark.parametrize("file", ["look.safetensors", "manifest.json"])
def test_a_look_that_was_cut_short_is_refused(copied, rows, shown, file):
    name = min(shown(copied))
    path = copied.path / "looks" / name / file
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match=f"{name}.* is damaged"):
        measure_coalitions(copied, rows, repeats=2)


def test_two_processes_at_once(copied, rows, shown):
    """One makes models, the other is told; what is there can be read all the while."""
    shutil.rmtree(copied.path / "looks" / min(shown(copied)))
    with artefacts.lock(copied.path / "looks"):
        with pytest.raises(LockedError, match="being written by another process"):
            measure_coalitions(copied, rows, repeats=2)
        measure_coalitions(copied, [own for own in rows if not missing_models(copied, [own])])


def test_another_study_that_took_its_place_is_noticed(begin, tmp_path, rows):
    """In one process, as in a notebook: the folder is deleted and begun again with other settings."""
    study = begin(tmp_path / "study")
    first = measure_coalitions(study, rows[:1], engine=Engine(1))[0][0]
    old = study.retraining(rows[0], 0), study.reopen
    shutil.rmtree(study.path)
    study = begin(tmp_path / "study", rule=RetrainingRule(steps=3))
    assert not same(measure_coalitions(study, rows[:1], engine=Engine(1))[0][0], first)
    with pytest.raises(MismatchError, match="became another study"):
        train_and_measure(old[1], study.path / "looks", old[0], False, lambda done, total: None)


def test_a_training_that_diverges_says_so_and_leaves_nothing(begin, rows, tmp_path):
    study = begin(tmp_path / "study", rule=RetrainingRule(steps=3, learning_rate=1e30))
    with pytest.raises(NotFiniteError, match="training step"):
        measure_coalitions(study, rows[:1], engine=Engine(1))
    assert missing_models(study, rows[:1])


@pytest.mark.parametrize("mean", [True, False])
def test_a_game_has_the_values_of_its_coalitions(made, contributors, rows, mean):
    coalitions = leave_one_out(3)[:2]
    game = measure_game(made, contributors, ALL, coalitions, repeats=2, mean=mean, engine=Engine(1))
    values = values_of(made, ALL, measure_coalitions(made, rows, repeats=2))
    own = [f"{name} {query}" for name in ("fit", "distance") for query in made.plan.queries.ids]
    assert game.behaviours == ("held-out-fit", *own)
    assert np.array_equal(game.all, values[2].mean(0))
    assert np.array_equal(game.none, values_of(made, ALL, [[measure_nobody(made)]])[0, 0])
    if mean:
        assert np.array_equal(game.coalitions, coalitions)
        assert np.array_equal(game.values, values[:2].mean(1))
    else:
        assert game.coalitions.tolist() == [*coalitions.tolist(), [True] * 3] * 2
        assert np.array_equal(game.values, np.concatenate([values[:, 0], values[:, 1]]))


def test_the_order_of_coalitions_is_that_of_the_game(made, contributors):
    coalitions = leave_one_out(3)[:2]
    one, other = (
        measure_game(made, contributors, FIT, order, engine=Engine(1)) for order in (coalitions, coalitions[::-1])
    )
    assert np.array_equal(one.values, other.values[::-1])


def test_overlapping_and_absent_contributors(owned_data, run_config, credited, settings, drawn, shown, tmp_path):
    """Whose examples are left is a matter of their owners; `(none)` is one of them."""
    units = [("a", "b")] * 8 + [("a",)] * 4 + [(NO_UNIT,)] * 12
    data = owned_data.with_fields(units=tuple(units))
    study = Study.begin(tmp_path / "study", credited, data, run_config, settings, queries=drawn)
    who = Contributors.of_data(data)
    assert who.names == ("a", "b", NO_UNIT)
    game = measure_game(study, who, FIT, every(3), engine=Engine(1))
    kept = [who.kept(row) for row in every(3)]
    assert [len(own) for own in kept] == [0, 4, 0, 12, 12, 16, 12, 24]
    assert [rows.tolist() for rows in kept].count(kept[4].tolist()) == 2
    assert len(shown(study)) == 5
    for one, other in ((game.values[0], game.none), (game.values[2], game.none), (game.values[-1], game.all)):
        assert np.array_equal(one, other)
    assert np.array_equal(game.values[4], game.values[6])
    assert not np.array_equal(game.values[3], game.values[4])


def test_contributors_of_other_examples(made, contributors, owned_data):
    other = Contributors.of_data(owned_data.select(range(1, 24)))
    with pytest.raises(MismatchError, match=r"contributors are of 23 examples.* of 24"):
        measure_game(made, other, FIT, leave_one_out(3))
    renamed = replace(contributors, examples=tuple(f"x{name}" for name in contributors.examples))
    with pytest.raises(MismatchError, match="not the same"):
        measure_game(made, renamed, FIT, leave_one_out(3))


def test_what_a_behaviour_lacks_is_said_before_models_are_made(
    owned_data, run_config, credited, settings, tmp_path, contributors
):
    study = Study.begin(tmp_path / "study", credited, owned_data, run_config, settings)
    with pytest.raises(DataError, match="held-out"):
        measure_game(study, contributors, [behaviour("held-out-fit")], leave_one_out(3))
    assert not (study.path / "looks").exists()


def test_a_base_model_is_nobody(made, run_config, contributors, tmp_path):
    base = DiffusionModel.new(run_config.model, (1, 8, 8), seed=77)
    base.save(tmp_path / "base")
    assert same(measure_nobody(made, tmp_path / "base"), measure(base, made.plan))
    assert not same(measure_nobody(made, tmp_path / "base"), measure_nobody(made))


@pytest.mark.parametrize(
    ("change", "size", "error"),
    [
        ({}, (3, 8, 8), DataError),
        ({"prediction": "epsilon"}, (1, 8, 8), ModelError),
        ({"timesteps": 100}, (1, 8, 8), ModelError),
    ],
)
def test_a_base_model_that_does_not_compare(made, run_config, tmp_path, change, size, error):
    DiffusionModel.new(run_config.model.model_copy(update=change), size, seed=77).save(tmp_path / "base")
    with pytest.raises(error, match=next(iter(change), "3x8x8")):
        measure_nobody(made, tmp_path / "base")
