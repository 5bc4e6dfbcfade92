import json

import numpy as np
import pytest

from whence.errors import DataError
from whence.evaluation.bank.pool import Pool
from whence.evaluation.prediction.ceiling import noise_pool
from whence.evaluation.prediction.lds import RANDOM, Form, lds, lds_table

SUBSETS, EXAMPLES, QUERIES = 40, 30, 8


def pool(name: str = "test", seeds: int = 3, size: int = 15, noise: float = 0.5, subsets: int = SUBSETS) -> Pool:
    """Models whose losses are `true_scores` summed, plus noise of the seed."""
    source = np.random.default_rng(0)
    kept = source.permuted(np.tile(np.arange(EXAMPLES) < size, (subsets, 1)), axis=1)
    clean = -(kept @ true_scores().T)[:, None]
    losses = clean + noise * clean.std() * source.normal(size=(subsets, seeds, QUERIES))
    nothing = np.zeros((subsets, seeds, 0, 1, 8, 8), np.uint8)
    return Pool(name, kept, tuple(range(seeds)), losses, nothing, (("w",) * seeds,) * subsets)


def true_scores() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(QUERIES, EXAMPLES))


def methods() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(2).normal(size=(QUERIES, EXAMPLES))
    return {"poor": true_scores() + 4 * noise, "truth": true_scores(), "good": true_scores() + 0.5 * noise}


def measured(models: Pool, columns: range = range(QUERIES), **options):
    given = {name: scores[list(columns)] for name, scores in methods().items()}
    names = [f"q{q}" for q in columns]
    return lds_table(
        models, np.array(columns), names, given, noise=noise_pool({models.name: models}, models.name), **options
    )


def test_methods_are_in_order_with_a_random_one():
    table = measured(pool())
    assert [row.name for row in table.rows] == ["truth", "good", "poor", RANDOM]
    assert table.rows[0].to_best is None
    assert all(row.to_best.statistic.value < 0 for row in table.rows[1:])
    assert abs(table.rows[-1].lds.mean.value) < 0.2


@pytest.mark.parametrize("form", Form)
def test_figures_are_those_of_lds(form):
    models = pool()
    table = measured(models, form=form)
    for row in table.rows:
        if row.name != RANDOM:
            expected = lds(models.kept, methods()[row.name], models.losses.mean(1), form)
            np.testing.assert_array_equal(row.lds.of_query, expected)


def test_the_truth_scores_about_its_ceiling():
    table = measured(pool(subsets=200))
    [truth] = [row for row in table.rows if row.name == "truth"]
    assert truth.share.value == pytest.approx(1, abs=0.03)
    assert table.ceiling.value == pytest.approx(truth.lds.mean.value, abs=0.03)


def test_queries_are_those_at_the_columns():
    whole, part = (measured(pool(), columns) for columns in (range(QUERIES), range(2, 5)))
    for name in methods():
        first, second = (next(row.lds for row in table.rows if row.name == name) for table in (whole, part))
        np.testing.assert_array_equal(first.of_query[2:5], second.of_query)
        np.testing.assert_array_equal(first.resampled[2:5], second.resampled)


def test_a_method_that_says_nothing_is_last_and_has_no_figure():
    table = lds_table(pool(), np.arange(QUERIES), list("abcdefgh"), {"none": np.ones((QUERIES, EXAMPLES))})
    assert [row.name for row in table.rows] == [RANDOM, "none"]
    assert np.isnan(table.rows[-1].lds.mean.value)
    assert not table.rows[-1].to_best.told_apart


def test_no_query_is_refused():
    with pytest.raises(DataError, match="no query"):
        lds_table(pool(), np.array([], int), [], {})


def test_of_a_deterministic_pool_the_ceiling_is_one():
    table = measured(pool("deterministic-50%", seeds=1, noise=0.0))
    assert (table.ceiling.value, table.agreement) == (1, None)
    assert table.rows[0].share == table.rows[0].lds.mean
    assert table.rows[0].lds.mean.value == 1


POOLS = {
    "one": pool("one", seeds=1),
    "many": pool("many", seeds=2),
    "other size": pool("other size", seeds=2, size=10),
    "deterministic-50%": pool("deterministic-50%", seeds=1),
}


@pytest.mark.parametrize(
    ("there", "name", "expected"),
    [
        (["one", "many"], "many", "many"),
        (["one", "many"], "one", "many"),
        (["one", "other size"], "one", None),
        (["one"], "one", None),
        (["deterministic-50%", "many"], "deterministic-50%", None),
    ],
)
def test_the_noise_of_seeds_is_of_subsets_of_one_size(there, name, expected):
    found = noise_pool({each: POOLS[each] for each in there}, name)
    assert (found and found.name) == expected


def test_ceiling_of_one_seed_is_from_another_pool_or_not_known():
    given = {"truth": true_scores()}
    with_it, without = (
        lds_table(POOLS["one"], np.arange(QUERIES), list("abcdefgh"), given, noise=noise)
        for noise in (POOLS["many"], None)
    )
    assert with_it.agreement_from == "many"
    assert with_it.ceiling.value == pytest.approx(with_it.agreement.value**0.5)
    assert (without.ceiling, without.agreement, without.rows[0].share) == (None, None, None)


def test_the_record_holds_every_figure_as_json():
    table = measured(pool())
    found = json.loads(json.dumps(table.record(), allow_nan=False))
    first = found["methods"][0]
    assert first["lds"]["value"] == table.rows[0].lds.mean.value
    assert first["of_query"] == dict(zip(table.queries, table.rows[0].lds.of_query, strict=True))
    assert first["bootstrap_mean_as_published"]["mean"] < first["lds"]["value"]
    assert first["minus_best"] is None
    assert found["methods"][1]["minus_best"]["subsets_needed"] > 0
    assert 0 < found["ceiling"]["interval"]["low"] < found["ceiling"]["value"] < found["ceiling"]["interval"]["high"]


def test_what_is_not_known_is_null_in_the_record():
    table = lds_table(POOLS["one"], np.arange(QUERIES), list("abcdefgh"), {"none": np.ones((QUERIES, EXAMPLES))})
    found = json.loads(json.dumps(table.record(), allow_nan=False))
    assert found["ceiling"] is None
    assert found["methods"][-1]["lds"]["value"] is None
    assert found["methods"][-1]["queries_without"] == QUERIES
