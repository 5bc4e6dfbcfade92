"""Removing what scores name, and random examples of the same classes, and what that does."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, DataError, WhenceError
from whence.evaluation.bank import Bank
from whence.evaluation.deletion import (
    Deletion,
    DeletionComparison,
    DeletionEffects,
    Removal,
    effect,
    harm,
    measure_removals,
    missing_retrainings,
    read_deletion,
    read_random_baseline,
    top_count,
)
from whence.evaluation.deletion.removal import deletion_queries
from whence.images import distance
from whence.retraining.measurement import measure
from whence.scores.scores import Estimand, Scores


def scores_of(bank: Bank, seed: int = 0, method: str = "mine", queries: tuple[str, ...] | None = None) -> Scores:
    queries = bank.queries if queries is None else queries
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(queries), len(bank.examples))))
    estimand = Estimand("loss", "left out", "training", "none", "example")
    units = tuple((name,) for name in bank.examples)
    return Scores(values.float(), queries, bank.examples, units, method, estimand, "positive is proponent", "sum")


def measure_deletion(bank: Bank, scores: Scores, *, top: int, count: int, seeds: int, **options) -> Deletion:
    [deletion] = measure_removals(bank, [Removal.of(bank, scores, top=top, count=count, seeds=seeds)], **options)
    return deletion


@pytest.fixture(scope="module")
def measured(tiny_bank, tmp_path_factory):
    """The top 3 of two queries, one held out and one drawn, with two seeds; and the folder where that is kept."""
    store = tmp_path_factory.mktemp("removals")
    return measure_deletion(
        tiny_bank, scores_of(tiny_bank), top=3, count=2, seeds=2, store=store, engine=Engine(1)
    ), store


# What is said of measurements, by hand.


def test_an_effect_by_hand():
    values = np.array([[[3.0, 5.0], [2.0, 2.0], [1.0, 1.0]], [[2.0, 2.0], [1.0, 3.0], [2.0, 2.0]]])
    found = effect(values)  # means over seeds: named 4, 2, 1; random 2, 2, 2
    assert (found.named, found.random) == (7 / 3, 2.0)
    assert found.increase.value == pytest.approx((2 + 0 - 1) / 3)
    assert found.relative.value == pytest.approx(1 / 6)
    assert found.worse.value == pytest.approx(1 / 3)  # equal is not worse
    assert (found.increase.chance, found.relative.chance, found.worse.chance) == (0.0, 0.0, 0.5)
    assert found.increase.interval.low == -1 <= found.increase.value <= found.increase.interval.high == 2


def test_the_interval_of_an_effect_is_over_queries_not_over_seeds():
    rises = np.array([0.0, 1.0, 2.0, 5.0])
    few = effect(np.stack([1 + rises[:, None], np.ones((4, 1))]))
    many = effect(np.stack([1 + rises[:, None].repeat(50, 1), np.ones((4, 50))]))
    assert few.increase.interval == many.increase.interval


def test_where_random_removal_does_nothing_at_all_there_is_no_relative_effect():
    found = effect(np.zeros((2, 3, 1)))
    assert np.isnan(found.relative.value)
    assert found.increase.value == 0.0


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3)), np.zeros((3, 3, 1)), np.zeros((2, 0, 1)), np.full((2, 3, 1), np.nan)]
)
def test_no_effect_of_what_was_not_measured(values):
    with pytest.raises(DataError, match=r"finite numbers \[2, queries, seeds\]"):
        effect(values)


def test_harm_is_the_difference_paired_by_query():
    first, second = np.array([[3.0, 5.0], [9.0, 9.0]]), np.array([[1.0, 2.0], [6.5, 6.5]])
    found = harm(first, second)
    assert found.value == found.interval.low == found.interval.high == 2.5
    with pytest.raises(DataError, match="same queries and seeds"):
        harm(first, second[:1])


# What is removed.


@pytest.mark.parametrize(
    ("top", "found"), [("5%", 25), ("0.5%", 2), ("33.3%", 166), ("40", 40), (7, 7), (" 10% ", 50), ("499", 499)]
)
def test_a_top(top, found):
    assert top_count(top, 500) == found


@pytest.mark.parametrize("top", ["", "0", "0%", "-1", "500", "100%", "999%", "5 %", "0.05", "nan%", "5%%", "٥%"])
def test_a_top_that_is_none(top):
    with pytest.raises(ConfigError, match="top"):
        top_count(top, 500)


def test_queries_are_half_held_out_half_drawn_and_never_for_development(tiny_bank):
    for count in (1, 2, 3):
        chosen = np.array(deletion_queries(tiny_bank, count))
        assert len(set(chosen.tolist())) == count
        assert not tiny_bank.development[chosen].any()
    assert deletion_queries(tiny_bank, 2) == (1, 3)
    assert tiny_bank.drawn[[1, 3, 5]].tolist() == [False, True, True]
    with pytest.raises(ConfigError, match="1 to 3 queries"):
        deletion_queries(tiny_bank, 4)


def test_the_largest_scores_are_removed_and_random_ones_of_the_same_classes(tiny_bank):
    scores = scores_of(tiny_bank)
    removal = Removal.of(tiny_bank, scores, top="25%", count=3, seeds=2)
    for q, removed, random in zip(removal.queries, removal.removed, removal.random, strict=True):
        named = [name for name, _ in scores.top(tiny_bank.queries[q], 6)]
        assert [tiny_bank.examples[n] for n in removed] == named
        classes = [Counter(tiny_bank.classes[n] for n in rows) for rows in (removed, random)]
        assert classes[0] == classes[1]
        assert len(set(random.tolist())) == 6
    assert not np.array_equal(np.sort(removal.removed), removal.random)


def test_the_models_never_see_what_was_removed_and_all_else(tiny_bank):
    removal = Removal.of(tiny_bank, scores_of(tiny_bank), top=3, count=2, seeds=2)
    runs = removal.retrainings(tiny_bank)
    gone = [rows for q in range(2) for rows in (removal.removed[q], removal.random[q]) for _ in removal.seeds]
    for run, rows in zip(runs, gone, strict=True):
        assert sorted((*run.rows.tolist(), *rows.tolist())) == list(range(24))
    assert [run.config.training.seed for run in runs] == list(removal.seeds) * 4
    assert len({run.name for run in runs}) == 8


def test_the_zero_line_removes_other_random_examples_of_the_same_classes_beside_the_same_ones(tiny_bank):
    removal = Removal.of(tiny_bank, scores_of(tiny_bank), top=8, count=3, seeds=1)
    zero = removal.random_baseline(tiny_bank)
    assert zero.method == "random"
    assert np.array_equal(zero.random, removal.random)
    for first, second, named in zip(zero.removed, zero.random, removal.removed, strict=True):
        assert not np.array_equal(first, second)
        assert Counter(tiny_bank.classes[n] for n in first) == Counter(tiny_bank.classes[n] for n in named)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [({"top": "0%"}, ConfigError, "top"), ({"seeds": 0}, ConfigError, "seed"), ({"count": 9}, ConfigError, "queries")],
)
def test_what_cannot_be_removed(tiny_bank, asked, error, words):
    with pytest.raises(error, match=words):
        Removal.of(tiny_bank, scores_of(tiny_bank), **({"count": 2, "top": 3} | asked))


def test_scores_of_some_queries_are_asked_about_those_alone(tiny_bank):
    drawn = tuple(np.array(tiny_bank.queries)[tiny_bank.drawn])
    removal = Removal.of(tiny_bank, scores_of(tiny_bank, queries=drawn), top=3, count=2)
    assert removal.queries == (3,)
    with pytest.raises(DataError, match="none of the 2 queries"):
        Removal.of(tiny_bank, scores_of(tiny_bank, queries=tiny_bank.queries[:1]), top=3, count=2)


def test_scores_in_another_order_than_the_bank_are_refused(tiny_bank):
    scores = replace(scores_of(tiny_bank), examples=tiny_bank.examples[::-1])
    with pytest.raises(DataError, match="in its order"):
        Removal.of(tiny_bank, scores, top=3, count=2)


# What is measured.


@pytest.mark.slow
def test_measurements_are_those_of_models_trained_plainly_without_the_examples(tiny_bank, measured, tmp_path):
    found, removal = measured[0], measured[0].removal
    for row, which, k in ((0, 0, 1), (1, 1, 0)):
        gone = (removal.removed, removal.random)[which][row]
        kept = [n for n in range(24) if n not in gone]
        config = tiny_bank.retraining("", kept, removal.seeds[k]).config
        train(tiny_bank.data.select(kept), tmp_path / f"{row}", config)
        slow = measure(DiffusionModel.load(tmp_path / f"{row}"), tiny_bank.plan)
        assert np.array_equal(found.losses[which, row, k], slow.losses)
        assert found.query_losses[which, row, k] == slow.losses[removal.queries[row]]
        if tiny_bank.drawn[removal.queries[row]]:  # its first drawn query
            assert np.array_equal(found.pictures[which, 0, k], slow.redrawn[0])
            again, asked = (
                torch.from_numpy(p).float() / 127.5 - 1 for p in (slow.redrawn, tiny_bank.queries_data.pixels[3:])
            )
            assert found.distances(tiny_bank)[which, 0, k] == pytest.approx(distance(again[0], asked[0]).item())


def test_other_queries_are_all_that_are_reported_but_the_own(tiny_bank, measured):
    found = measured[0]
    assert found.other_losses(tiny_bank)[1, 0, 1] == pytest.approx(found.losses[1, 0, 1, [3, 5]].mean())
    assert found.other_losses(tiny_bank)[0, 1, 0] == pytest.approx(found.losses[0, 1, 0, [1, 5]].mean())


def test_what_was_measured_is_read_again_without_training(tiny_bank, measured, tmp_path):
    found, store = measured
    shutil.copytree(store / "removals", tmp_path / "removals")  # as it ships: without the runs
    again = measure_deletion(tiny_bank, scores_of(tiny_bank), top=3, count=2, seeds=2, store=tmp_path)
    assert not (tmp_path / "runs").exists()
    for name in ("losses", "pictures"):
        assert np.array_equal(getattr(again, name), getattr(found, name))
    for name in ("method", "queries", "seeds", "scores"):
        assert getattr(again.removal, name) == getattr(found.removal, name)
    assert np.array_equal(again.removal.removed, found.removal.removed)


def test_two_methods_that_name_the_same_share_their_models(tiny_bank, measured):
    _, store = measured
    other = replace(scores_of(tiny_bank), method="other/with:signs")
    removal = Removal.of(tiny_bank, other, top=3, count=2, seeds=2)
    assert missing_retrainings(tiny_bank, [removal], store) == []
    [found] = measure_removals(
        tiny_bank, [removal], store=store, engine=Engine(report=lambda *_: pytest.fail("trained again"))
    )
    assert np.array_equal(found.losses, measured[0].losses)
    assert DeletionComparison.of(tiny_bank, measured[0], found).loss.value == 0.0
    half = replace(other, scores=torch.where(torch.arange(6)[:, None] == 1, other.scores, -other.scores))
    assert len(missing_retrainings(tiny_bank, [Removal.of(tiny_bank, half, top=3, count=2, seeds=2)], store)) in (2, 4)


def test_an_interrupted_removal_continues(tiny_bank, tmp_path):
    class KilledError(Exception):
        """Work was stopped."""

    seen = []

    def kill(done: int, total: int) -> None:
        seen.append(total)
        if done > total // 2:
            raise KilledError

    asked = {"top": 3, "count": 1, "seeds": 1, "store": tmp_path}
    scores = scores_of(tiny_bank, seed=1)
    with pytest.raises(KilledError):
        measure_deletion(tiny_bank, scores, **asked, engine=Engine(1, kill))
    assert not (tmp_path / "removals").exists()
    removal = Removal.of(tiny_bank, scores, top=3, count=1, seeds=1)
    assert len(missing_retrainings(tiny_bank, [removal], tmp_path)) == 1
    later = []
    measure_deletion(tiny_bank, scores, **asked, engine=Engine(1, lambda _, total: later.append(total)))
    assert set(later) == {seen[0] // 2}
    assert missing_retrainings(tiny_bank, [removal], tmp_path) == []


def test_the_removal_closest_to_what_scores_name_now_is_read_and_how_close_is_said(tiny_bank, measured):
    found, store = measured
    scores = scores_of(tiny_bank)
    assert found.overlap(tiny_bank, scores).tolist() == [1.0, 1.0]
    values = scores.scores.clone()
    values[1, found.removal.removed[0, 0]] = -9.0  # the first query names one of three no longer
    values[3] *= 2
    now = replace(scores, scores=values)
    read = read_deletion(tiny_bank, now, top=3, store=store)
    assert np.array_equal(read.losses, found.losses)
    assert read.overlap(tiny_bank, now).tolist() == [pytest.approx(2 / 3), 1.0]
    for asked in ({"top": 4}, {"top": 3, "method": "nobody"}):
        with pytest.raises(ArtefactError, match="No removal of the top"):
            read_deletion(tiny_bank, now, store=store, **asked)
    assert read_random_baseline(tiny_bank, found, store) is None


def test_figures_and_comparison_of_what_was_measured(tiny_bank, measured):
    found = measured[0]
    figures = DeletionEffects.of(tiny_bank, found)
    assert figures.loss.increase.value == pytest.approx((found.query_losses[0] - found.query_losses[1]).mean())
    assert figures.picture is not None
    assert figures.picture.named == pytest.approx(found.distances(tiny_bank)[0].mean())
    removal = found.removal
    swapped = Deletion(
        replace(removal, removed=removal.random, random=removal.removed), found.losses[::-1], found.pictures[::-1]
    )
    both = DeletionComparison.of(tiny_bank, found, swapped)
    assert both.loss.value == pytest.approx(figures.loss.increase.value)
    assert both.picture is not None
    assert both.picture.value == pytest.approx(figures.picture.increase.value)
    one = replace(removal, queries=removal.queries[1:], removed=removal.removed[1:], random=removal.random[1:])
    assert DeletionComparison.of(tiny_bank, found, Deletion(one, found.losses[:, 1:], found.pictures)).queries == 1
    other = replace(removal, seeds=(1, 2))
    with pytest.raises(DataError, match="2 queries and 0 seeds"):
        DeletionComparison.of(tiny_bank, found, Deletion(other, found.losses, found.pictures))


def test_measurements_that_do_not_fit_or_are_not_finite_are_refused(measured):
    found = measured[0]
    with pytest.raises(WhenceError, match="have losses"):
        Deletion(found.removal, found.losses[:, :1], found.pictures)
    with pytest.raises(WhenceError, match="not finite"):
        Deletion(found.removal, found.losses * np.nan, found.pictures)


def test_removals_of_another_bank_or_damaged_ones_are_refused(tiny_bank, measured, tmp_path):
    [path] = shutil.copytree(measured[1] / "removals", tmp_path / "removals").glob("mine-*")
    other = Bank(tiny_bank.path, replace(tiny_bank.manifest, inputs={"data": "another"}))
    with pytest.raises(ArtefactError, match="measured on another bank"):
        Deletion.read(other, path)
    file = path / "measured.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtefactError, match="damaged"):
        Deletion.read(tiny_bank, path)
