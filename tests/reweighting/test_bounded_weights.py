"""Bounded weights: exact cases, and a slow search."""

import numpy as np
import pytest

from whence.errors import ConfigError, DataError
from whence.reweighting.bounded_weights import bounded_weights, shared_weights

ONE = np.ones(1)


def predicted(losses, derivative, weights, chosen):
    return losses + derivative @ (chosen - weights)


def test_of_one_group_the_most_useful_half_gets_all():
    derivative = np.array([[-4.0, -3.0, 1.0, 2.0]])
    assert bounded_weights(ONE, derivative, ONE, np.ones(4), 1.0) == pytest.approx([2, 2, 0, 0])
    assert bounded_weights(ONE, derivative, ONE, np.ones(4), 0.25) == pytest.approx([1.25, 1.25, 0.75, 0.75])


def test_the_weights_of_the_run_are_what_changes():
    """Of a weight of 3 a share is three times that of a weight of 1, and the sum stays."""
    weights = np.array([3.0, 1.0, 1.0, 1.0])
    chosen = bounded_weights(ONE, np.array([[-1.0, 0.0, 0.0, 0.0]]), ONE, weights, 0.5)
    assert chosen.sum() == pytest.approx(6)
    assert chosen == pytest.approx([4.5, 0.5, 0.5, 0.5])


def test_two_groups_meet_and_the_mean_does_not_rise():
    losses, shares = np.array([1.0, 0.9]), np.array([0.5, 0.5])
    derivative = np.array([[-0.2, 0.2], [0.1, -0.1]])
    chosen = bounded_weights(losses, derivative, shares, np.ones(2), 1.0)
    after = predicted(losses, derivative, np.ones(2), chosen)
    assert after[0] == pytest.approx(after[1])
    assert shares @ after <= shares @ losses + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_no_random_weights_within_the_bound_are_better(seed):
    source = np.random.default_rng(seed)
    groups, count, bound = 3, 6, 0.7
    losses, shares = source.uniform(0.5, 1, groups), source.dirichlet(np.ones(groups))
    derivative, weights = source.normal(0, 0.1, (groups, count)), source.uniform(0.5, 2, count)
    best = predicted(losses, derivative, weights, bounded_weights(losses, derivative, shares, weights, bound))
    assert best.max() <= losses.max() + 1e-9
    assert shares @ best <= shares @ losses + 1e-9
    for _ in range(2000):
        change = source.uniform(-bound, bound, count)
        change -= (change @ weights) / weights.sum()
        if np.abs(change).max() > bound:
            continue
        other = predicted(losses, derivative, weights, weights * (1 + change))
        if shares @ other <= shares @ losses:
            assert best.max() <= other.max() + 1e-9


def test_where_nothing_helps_nothing_is_promised():
    chosen = bounded_weights(ONE, np.zeros((1, 3)), ONE, np.ones(3), 1.0)
    assert chosen.sum() == pytest.approx(3)


def test_the_scale_of_the_loss_does_not_matter():
    derivative = np.array([[-4.0, -3.0, 1.0, 2.0]])
    small = bounded_weights(1e-9 * ONE, 1e-9 * derivative, ONE, np.ones(4), 1.0)
    assert small == pytest.approx([2, 2, 0, 0])


def test_what_is_refused():
    with pytest.raises(ConfigError, match="bound of 1.5"):
        bounded_weights(ONE, np.zeros((1, 3)), ONE, np.ones(3), 1.5)
    with pytest.raises(DataError, match=r"\(1, 3\) needs 1 losses"):
        bounded_weights(np.ones(2), np.zeros((1, 3)), ONE, np.ones(3), 1.0)


def test_images_that_share_nothing_have_the_weights_of_their_own():
    source = np.random.default_rng(0)
    numbers = (
        source.uniform(0.5, 1, 2),
        source.normal(0, 0.1, (2, 5)),
        np.array([0.4, 0.6]),
        source.uniform(1, 2, 5),
        1,
    )
    alone = shared_weights(*numbers, [np.array([n]) for n in range(5)])
    assert alone == pytest.approx(bounded_weights(*numbers))


def test_images_that_share_change_by_one_factor_and_keep_the_sum():
    source = np.random.default_rng(1)
    sets, weights = [np.array([0, 3, 4]), np.array([1]), np.array([2, 5])], source.uniform(1, 2, 6)
    losses, derivative = source.uniform(0.5, 1, 2), source.normal(0, 0.1, (2, 6))
    chosen = shared_weights(losses, derivative, np.array([0.4, 0.6]), weights, 0.5, sets)
    factors = chosen / weights
    assert chosen.sum() == pytest.approx(weights.sum())
    for rows in sets:
        assert factors[rows] == pytest.approx(factors[rows[0]])
        assert 0.5 - 1e-9 <= factors[rows[0]] <= 1.5 + 1e-9
    assert predicted(losses, derivative, weights, chosen).max() < losses.max()


def test_an_image_in_two_sets_is_refused():
    with pytest.raises(DataError, match="in exactly one set"):
        shared_weights(ONE, np.zeros((1, 3)), ONE, np.ones(3), 1.0, [np.array([0, 1]), np.array([1, 2])])
