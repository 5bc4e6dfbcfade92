"""Empirical influence and datamodels: on games whose answer is known, and on pools that share no subset."""

import numpy as np
import pytest

from whence.errors import ConfigError, DataError, MismatchError
from whence.evaluation.prediction.lds import lds
from whence.evaluation.prediction.retraining_methods import datamodel, empirical_influence, require_disjoint


def game(subsets: int, examples: int, queries: int = 3, noise: float = 0.0, seed: int = 0):
    """Half subsets, effects of examples, and losses that fall by the effects of what is kept."""
    source = np.random.default_rng(seed)
    kept = source.permuted(np.tile(np.arange(examples) % 2 == 0, (subsets, 1)), axis=1)
    effects = source.normal(size=(queries, examples))
    losses = 5 - kept @ effects.T + noise * source.normal(size=(subsets, queries))
    return kept, effects, losses


def test_empirical_influence_one_by_one():
    kept, _, losses = game(20, 8, noise=0.5)
    found = empirical_influence(kept, losses)
    for q in range(3):
        for n in range(8):
            expected = losses[~kept[:, n], q].mean() - losses[kept[:, n], q].mean()
            assert found[q, n] == pytest.approx(expected)


def test_empirical_influence_finds_the_effects_of_an_additive_game():
    """Without n another example is in the half instead, so effects are found up to their mean."""
    kept, effects, losses = game(20_000, 10)
    found, expected = empirical_influence(kept, losses), effects - effects.mean(1, keepdims=True)
    np.testing.assert_allclose(found, expected * 10 / 9, atol=0.12)


def test_datamodels_recover_an_additive_game():
    source = np.random.default_rng(1)
    kept = source.random((200, 12)) < 0.5
    effects = source.normal(size=(4, 12))
    found = datamodel(kept, 3 - kept @ effects.T, [1e-8])
    np.testing.assert_allclose(found, effects, atol=1e-6)


def test_datamodels_against_the_normal_equations():
    kept, _, losses = game(30, 12, noise=1.0)
    x, y = kept - kept.mean(0), losses - losses.mean(0)
    expected = -np.linalg.solve(x.T @ x + 10 * np.eye(12), x.T @ y).T
    np.testing.assert_allclose(datamodel(kept, losses, [10.0]), expected, atol=1e-10)


def test_each_query_gets_the_penalty_that_predicts_what_is_left_out():
    kept, _, losses = game(30, 12, noise=0.01)
    losses[:, 0] = np.random.default_rng(0).normal(size=30)  # nothing to learn
    alphas = [1e-3, 10.0, 1e4]
    best = []
    for q in range(3):
        errors = []
        for alpha in alphas:
            left = [np.arange(30) != s for s in range(30)]
            fits = [(-datamodel(kept[one], losses[one, q : q + 1], [alpha])[0], one) for one in left]
            guesses = [losses[one, q].mean() + (kept[~one][0] - kept[one].mean(0)) @ weights for weights, one in fits]
            errors.append(np.square(np.array(guesses) - losses[:, q]).mean())
        best.append(alphas[int(np.argmin(errors))])
    assert best == [1e4, 1e-3, 1e-3]
    found = datamodel(kept, losses, alphas)
    for q in range(3):
        np.testing.assert_allclose(found[q], datamodel(kept, losses[:, q : q + 1], [best[q]])[0], atol=1e-8)


def test_both_predict_subsets_that_they_were_not_fitted_on():
    kept, effects, losses = game(400, 40, noise=1.0)
    fresh = game(60, 40, seed=5)[0]
    measured = 5 - fresh @ effects.T
    require_disjoint(kept, fresh)
    for method in (empirical_influence, datamodel):
        assert lds(fresh, method(kept, losses), measured).min() > 0.9
    assert abs(lds(fresh, method(kept, np.random.default_rng(0).normal(size=(400, 3))), measured).mean()) < 0.4


def test_pools_that_share_a_subset_are_refused():
    fitted, fresh = game(10, 12)[0], game(6, 12, seed=9)[0]
    require_disjoint(fitted, fresh)
    fresh[4] = fitted[7]
    with pytest.raises(MismatchError, match="1 subsets are in both pools .subset 7 .* subset 4"):
        require_disjoint(fitted, fresh)
    with pytest.raises(MismatchError, match="two of one bank"):
        require_disjoint(fitted, fresh[:, :5])


def test_an_example_that_is_always_there():
    kept = np.array([[True, True], [True, False], [True, True]])
    with pytest.raises(DataError, match="Example 0 .* is in 3 of 3 subsets"):
        empirical_influence(kept, np.ones((3, 1)))
    assert datamodel(kept, np.array([[1.0], [2.0], [1.0]]))[0, 0] == 0


@pytest.mark.parametrize("method", [empirical_influence, datamodel])
@pytest.mark.parametrize(
    ("kept", "losses"),
    [
        (np.ones((3, 2), bool), np.ones((4, 1))),
        (np.ones((3, 2)), np.ones((3, 1))),
        (np.ones((1, 2), bool), np.ones((1, 1))),
        (np.ones((3, 2), bool), np.ones(3)),
        (np.eye(3, dtype=bool), np.full((3, 1), np.nan)),
    ],
)
def test_bad_measurements(method, kept, losses):
    with pytest.raises(DataError):
        method(kept, losses)


@pytest.mark.parametrize("alphas", [[], [1.0, 0.0], [-1.0]])
def test_bad_penalties(alphas):
    with pytest.raises(ConfigError, match="positive"):
        datamodel(np.eye(3, dtype=bool), np.ones((3, 1)), alphas)
