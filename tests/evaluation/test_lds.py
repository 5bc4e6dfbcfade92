from typing import get_args, get_type_hints

import numpy as np
import pytest
from scipy.stats import spearmanr

from whence.cli.evaluate import lds as command
from whence.errors import DataError
from whence.evaluation.prediction.lds import Form, lds, predictions

SUBSETS, EXAMPLES, QUERIES = 24, 60, 9
FORMS = {
    Form.PLAIN: lambda s: s,
    Form.SIGNED_SQUARES: lambda s: np.sign(s) * s**2,
    Form.SQUARES: lambda s: s**2,
}


@pytest.fixture
def kept() -> np.ndarray:
    """Half of the examples, of each of two classes as many."""
    source = np.random.default_rng(0)
    halves = [source.permuted(np.tile([True, False], (SUBSETS, EXAMPLES // 4)), axis=1) for _ in range(2)]
    return np.concatenate(halves, 1)


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(QUERIES, EXAMPLES))


@pytest.mark.parametrize("form", Form)
def test_predictions_against_sums_one_by_one(kept, scores, form):
    found = predictions(kept, scores, form)
    for s in range(SUBSETS):
        for q in range(QUERIES):
            expected = sum(FORMS[form](scores[q, n]) for n in range(EXAMPLES) if kept[s, n])
            assert found[s, q] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("form", Form)
def test_of_a_linear_model_it_is_exactly_one(kept, scores, form):
    losses = 5 - kept @ FORMS[form](scores).T
    assert (lds(kept, scores, losses, form) == 1).all()
    assert (lds(kept, scores, -losses, form) == -1).all()


def test_against_scipy(kept, scores):
    losses = np.random.default_rng(2).normal(size=(SUBSETS, QUERIES)) - 0.05 * kept @ scores.T
    expected = [spearmanr(kept @ scores[q], -losses[:, q]).statistic for q in range(QUERIES)]
    np.testing.assert_allclose(lds(kept, scores, losses), expected, atol=1e-12)


def test_random_scores_are_around_0(kept):
    source = np.random.default_rng(3)
    losses, guesses = source.normal(size=(SUBSETS, 2000)), source.normal(size=(2000, EXAMPLES))
    found = lds(kept, guesses, losses)
    assert abs(found.mean()) < 4 * found.std() / 2000**0.5
    assert found.std() == pytest.approx((SUBSETS - 1) ** -0.5, rel=0.1)


@pytest.mark.parametrize("form", Form)
def test_order_of_subsets_queries_and_examples(kept, scores, form):
    source = np.random.default_rng(4)
    losses = source.normal(size=(SUBSETS, QUERIES)) - 0.05 * kept @ scores.T
    expected = lds(kept, scores, losses, form)
    s, q, n = (source.permutation(count) for count in (SUBSETS, QUERIES, EXAMPLES))
    np.testing.assert_allclose(lds(kept[s], scores, losses[s], form), expected, atol=1e-14)
    np.testing.assert_array_equal(lds(kept, scores[q], losses[:, q], form), expected[q])
    np.testing.assert_array_equal(lds(kept[:, n], scores[:, n], losses, form), expected)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("factor", [1e-30, 0.3, 1e6])
def test_scale_of_scores_does_not_matter(kept, scores, form, factor):
    losses = np.random.default_rng(5).normal(size=(SUBSETS, QUERIES))
    np.testing.assert_allclose(lds(kept, factor * scores, losses, form), lds(kept, scores, losses, form), atol=1e-14)


def test_a_constant_added_does_not_matter_among_subsets_of_one_size(kept, scores):
    losses = np.random.default_rng(6).normal(size=(SUBSETS, QUERIES))
    np.testing.assert_allclose(lds(kept, scores + 0.7, losses), lds(kept, scores, losses), atol=1e-14)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-3, 1e20])
def test_scores_that_say_the_same_of_all_subsets_have_none(kept, value):
    """Also where they differ between the two classes, of which every subset has as many."""
    losses = np.random.default_rng(7).normal(size=(SUBSETS, 2))
    of_class = np.where(np.arange(EXAMPLES) < EXAMPLES // 2, value, value / 3)
    assert np.isnan(lds(kept, np.stack([np.full(EXAMPLES, value), of_class]), losses)).all()


def test_equal_losses_have_none(kept, scores):
    assert np.isnan(lds(kept, scores, np.ones((SUBSETS, QUERIES)))).all()


@pytest.mark.parametrize(
    ("subsets", "given", "measured"),
    [((4, 5), (2, 6), (4, 2)), ((4, 5), (2, 5), (3, 2)), ((4, 5), (2, 5), (4, 3)), ((1, 5), (2, 5), (1, 2))],
    ids=["examples", "subsets", "queries", "one subset"],
)
def test_shapes_that_do_not_fit(subsets, given, measured):
    with pytest.raises(DataError):
        lds(np.ones(subsets, bool), np.ones(given), np.ones(measured))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite(kept, scores, bad):
    scores[3, 4] = bad
    with pytest.raises(DataError):
        predictions(kept, scores)


def test_the_command_knows_all_forms():
    hint = get_type_hints(command.lds, include_extras=True)["form"]
    assert get_args(get_args(hint)[0]) == tuple(map(str, Form))
