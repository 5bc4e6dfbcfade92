"""Diversity, coverage, precision and class proportions, against exact cases and slow references."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.svm import SVC

from whence.config import SamplerConfig
from whence.credit.behaviours import Context, behaviour
from whence.credit.behaviours.classes import Classifier
from whence.credit.behaviours.likeness import pixels
from whence.credit.behaviours.variety import clusters_of, entropy, nearest_cluster, radii, within
from whence.data import Dataset, load
from whence.errors import DataError
from whence.retraining.measurement import Measurement, MeasurementPlan

DIGITS = load("digits:test")
NONE = np.zeros(0)


def measured(pictures: np.ndarray) -> Measurement:
    return Measurement(pictures, NONE, NONE, pictures[:0])


def context_of(reference: np.ndarray, data: Dataset = DIGITS, held_out: Dataset | None = None) -> Context:
    names = tuple(f"0/{k}" for k in range(len(reference)))
    plan = MeasurementPlan(names, held_out, None, np.zeros(0, bool), SamplerConfig())
    return Context(data, plan, reference)


def value(name: str, context: Context, pictures: np.ndarray) -> float:
    repeated = np.resize(pictures, context.reference.shape)
    return behaviour(name).prepare(context)(measured(repeated)).item()


def flat(levels: list[int]) -> np.ndarray:
    """Pictures of one grey level each."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("counts", "bits"),
    [([5], 0.0), ([5, 0], 0.0), ([1, 1], 1.0), ([3, 3, 3, 3], 2.0), ([1] * 20, math.log2(20)), ([1, 3], 0.8112781)],
)
def test_entropy(counts, bits):
    assert entropy(np.array(counts)) == pytest.approx(bits, abs=1e-7)


@pytest.mark.parametrize("count", [2, 5, 20])
def test_clusters_are_those_of_another_implementation_of_ward(count):
    features = pixels(DIGITS.pixels[:80])
    ours = clusters_of(features, count)
    theirs = AgglomerativeClustering(count, linkage="ward").fit_predict(features)
    assert len({*zip(ours, theirs, strict=True)}) == len(set(ours)) == count


def test_the_nearest_cluster_is_that_of_the_obvious_loop():
    features, reference = pixels(DIGITS.pixels[:20]), pixels(DIGITS.pixels[40:70])
    clusters = clusters_of(reference, 6)
    expected = []
    for one in features:
        means = [np.mean([np.linalg.norm(one - other) for other in reference[clusters == c]]) for c in range(6)]
        expected.append(int(np.argmin(means)))
    assert nearest_cluster(features, reference, clusters).tolist() == expected


# 12 reference pictures in 4 kinds of three.
KINDS = flat([0, 1, 2, 80, 81, 82, 160, 161, 162, 240, 241, 242])


@pytest.mark.parametrize(
    ("levels", "bits"),
    [([0, 80, 160, 240], 2.0), ([0, 5, 240, 250], 1.0), ([100], 0.0), ([0, 0, 0, 240], 0.8112781)],
)
def test_diversity_of_kinds_that_are_far_apart(levels, bits):
    assert value("diversity", context_of(KINDS), flat(levels)) == pytest.approx(bits, abs=1e-7)


def test_diversity_is_at_most_that_of_all_kinds_alike():
    context = context_of(DIGITS.pixels[:60])
    assert 0 < value("diversity", context, DIGITS.pixels[60:120]) <= math.log2(20)
    assert "over 20 kinds" in behaviour("diversity").list_rows(context)[0][1]
    assert "over 4 kinds" in behaviour("diversity").list_rows(context_of(KINDS))[0][1]


def slow_neighbours(drawn, held_out, k=5):
    """Coverage and precision, pair by pair."""
    near = np.zeros((len(drawn), len(held_out)), bool)
    for h, centre in enumerate(held_out):
        others = sorted(np.linalg.norm(centre - other) for n, other in enumerate(held_out) if n != h)
        for y, one in enumerate(drawn):
            near[y, h] = np.linalg.norm(one - centre) <= others[k - 1]
    return np.mean([near[:, h].any() for h in range(len(held_out))]), np.mean([row.any() for row in near])


@pytest.mark.parametrize("mixed", [0.0, 0.3, 0.6])
def test_coverage_and_precision_are_those_of_the_obvious_loop(mixed):
    held_out = DIGITS.select(range(30))
    noise = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8))
    drawn = np.rint((1 - mixed) * DIGITS.pixels[40:60] + mixed * noise).astype(np.uint8)
    context = context_of(drawn, held_out=held_out)
    expected = slow_neighbours(pixels(drawn), pixels(held_out.pixels))
    assert (value("coverage", context, drawn), value("precision", context, drawn)) == pytest.approx(expected)


LEVELS = Dataset(tuple("abcdefgh"), flat(list(range(100, 180, 10))), (("u",),) * 8, (None,) * 8)


@pytest.mark.parametrize(
    ("levels", "coverage", "precision"),
    [
        (list(range(100, 180, 10)), 1.0, 1.0),
        ([255], 0.0, 0.0),
        ([0, 255], 0.0, 0.0),
        ([105, 255], 0.5, 0.5),  # within 50 of 100, 40 of 110, and 30 of 120 and 130, but 35 from 140
        ([219], 0.125, 1.0),
    ],
)
def test_coverage_and_precision_of_levels(levels, coverage, precision):
    context = context_of(flat([0] * len(levels)), LEVELS, LEVELS)
    assert value("coverage", context, flat(levels)) == pytest.approx(coverage)
    assert value("precision", context, flat(levels)) == pytest.approx(precision)


def test_more_pictures_never_cover_less():
    held_out = pixels(DIGITS.pixels[:30])
    near = within(pixels(DIGITS.pixels[40:60]), held_out, radii(held_out))
    covered = [near[:count].any(0).mean() for count in range(1, 21)]
    assert covered == sorted(covered)


def test_shares_of_all_classes_add_up_and_each_is_that_of_its_own_behaviour():
    context = context_of(DIGITS.pixels[:60], DIGITS.select(range(100, 297)), DIGITS.select(range(60, 100)))
    pictures = measured(DIGITS.pixels[:60])
    found = behaviour("classes").prepare(context)(pictures)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    for own, share in zip("0123456789", found, strict=True):
        assert behaviour(f"class:{own}").prepare(context)(pictures).tolist() == [share]
    true = np.array([np.mean([name == own for name in DIGITS.classes[:60]]) for own in "0123456789"])
    assert np.abs(found - true).max() < 0.1


def test_the_accuracy_of_the_classifier_is_stated():
    data, held_out = DIGITS.select(range(150)), DIGITS.select(range(150, 250))
    right = SVC().fit(pixels(data.pixels), data.classes).score(pixels(held_out.pixels), held_out.classes)
    found = Classifier.fit(data, held_out)
    assert found.accuracy == pytest.approx(right)
    (row,) = behaviour("class:3").list_rows(context_of(DIGITS.pixels[:60], data, held_out))
    assert row == (
        "class:3",
        f"Share of drawn pictures of class 3 (the classifier is right on {right:.1%} of 100 held-out pictures)",
        None,
    )


def without_classes(data: Dataset) -> Dataset:
    return data.with_fields(classes=(None,) * len(data))


@pytest.mark.parametrize(
    ("classes", "held_out", "words"),
    [
        (DIGITS.classes[:150], None, "% of 150 training pictures that it was not fitted to"),
        (DIGITS.classes[:150], without_classes(DIGITS.select(range(150, 200))), "% of 150 training pictures"),
        ((None,) * 50 + DIGITS.classes[50:150], None, "% of 100 training pictures"),
        (("a",) + ("b",) * 149, None, "is not known"),
        (("a",) * 2 + ("b",) * 148, None, "% of 150 training pictures"),
    ],
)
def test_accuracy_without_held_out_classes_is_cross_validated(classes, held_out, words):
    data = replace(DIGITS.select(range(150)), classes=classes)
    assert words in Classifier.fit(data, held_out).reliability


@pytest.mark.parametrize(("classes", "count"), [((None,) * 20, 0), (("a",) * 20, 1)])
def test_proportions_need_two_classes(classes, count):
    data = replace(DIGITS.select(range(20)), classes=classes)
    with pytest.raises(DataError, match=f"two classes or more; there are {count}"):
        behaviour("classes").prepare(context_of(DIGITS.pixels[:6], data))
