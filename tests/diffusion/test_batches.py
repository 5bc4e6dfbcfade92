from collections import Counter

import numpy as np
import pytest

from whence.diffusion.draws import Batches, flips, order


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"image {n}" for n in range(count))


def slow_walk(names: tuple[str, ...], size: int, seed: int, steps: int) -> list[list[tuple[int, int]]]:
    """(row, visit) of every batch, walking through epoch after epoch."""
    walk: list[tuple[int, int]] = []
    epoch = 0
    while len(walk) < steps * size:
        walk += [(int(row), epoch) for row in order(seed, epoch, names)]
        epoch += 1
    return [walk[k * size : (k + 1) * size] for k in range(steps)]


@pytest.mark.parametrize(("count", "size"), [(10, 3), (10, 10), (7, 4), (3, 8), (1, 5), (64, 1)])
def test_any_step_without_replay_equals_the_sequential_walk(count, size):
    batches = Batches(ids(count), size, seed=5)
    expected = slow_walk(ids(count), size, 5, steps=20)
    for step in reversed(range(20)):
        rows, visits = batches(step)
        assert list(zip(rows.tolist(), visits.tolist(), strict=True)) == expected[step]
        assert rows.dtype == visits.dtype == np.int64


@pytest.mark.parametrize(("count", "size"), [(10, 3), (7, 4), (3, 8)])
def test_every_epoch_visits_every_example_once(count, size):
    batches = Batches(ids(count), size, seed=0)
    steps = 5 * count
    pairs = [pair for step in range(steps) for pair in zip(*map(np.ndarray.tolist, batches(step)), strict=True)]
    assert Counter(pairs) == Counter((row, epoch) for epoch in range(5 * size) for row in range(count))


def test_the_walk_depends_on_the_seed():
    assert Batches(ids(50), 50, 0)(0)[0].tolist() != Batches(ids(50), 50, 1)(0)[0].tolist()


def test_flips_are_a_fair_function_of_seed_id_and_visit():
    names = ids(4000)
    first = flips(3, names, np.zeros(4000, int))
    assert first.dtype == bool
    assert 0.46 < first.mean() < 0.54
    assert np.array_equal(first[100:200], flips(3, names[100:200], np.zeros(100, int)))
    for other in (flips(4, names, np.zeros(4000, int)), flips(3, names, np.ones(4000, int))):
        assert 0.46 < (first == other).mean() < 0.54
