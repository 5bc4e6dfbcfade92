import numpy as np
import pytest

from whence.engine import Engine
from whence.ensemble import Ensemble, sample, train_ensemble
from whence.ensemble.make_landscape import landscape
from whence.errors import DataError, MismatchError
from whence.evaluation.ground_truth import ceiling
from whence.statistics.ranks import agreement


@pytest.fixture(scope="module")
def two(tiny_data, tiny_config, tmp_path_factory) -> tuple[Ensemble, Ensemble]:
    root, found = tmp_path_factory.mktemp("two"), []
    for seed in (0, 1):
        config = tiny_config.updated("training", seed=seed)
        one = train_ensemble(
            tiny_data, root / str(seed), members=6, config=config, codebook_seed=seed, engine=Engine(1)
        )
        sample(one, count=2, engine=Engine(1))
        found.append(one)
    return found[0], found[1]


def test_against_ranks_by_hand():
    source = np.random.default_rng(0)
    a, b = source.normal(size=(3, 30)), source.normal(size=(3, 30))
    found = agreement(["x", "y", "z"], a, b)
    for q in range(3):
        ranks = [np.argsort(np.argsort(values)) for values in (a[q], b[q])]
        assert found.correlations[q] == pytest.approx(np.corrcoef(*ranks)[0, 1])
        shared = {int(u) for u in np.argsort(a[q])[-10:]} & {int(u) for u in np.argsort(b[q])[-10:]}
        assert found.recalls[q] == len(shared) / 10
    assert found.chance == pytest.approx(1 / 3)


def test_random_rankings_agree_by_chance():
    source = np.random.default_rng(1)
    found = agreement([str(q) for q in range(400)], source.normal(size=(400, 50)), source.normal(size=(400, 50)))
    assert abs(found.correlations.mean()) < 0.03
    assert found.recalls.mean() == pytest.approx(found.chance, abs=0.03)


def test_a_constant_ranking_has_no_correlation():
    assert np.isnan(agreement(["q"], np.ones((1, 5)), np.arange(5.0)[None]).correlations[0])


@pytest.mark.parametrize(("a", "b"), [((1, 5), (1, 6)), ((2, 5), (2, 5)), ((1, 1), (1, 1))])
def test_shapes_that_cannot_be_compared(a, b):
    with pytest.raises(DataError, match="same queries and units"):
        agreement(["q"], np.zeros(a), np.zeros(b))


@pytest.mark.slow
def test_the_ceiling_is_the_agreement_of_two_landscapes(two):
    mine = landscape(two[0], "0/0-1", placebos=2, engine=Engine(1))
    with pytest.raises(DataError, match="no landscape of the same picture"):
        ceiling(*two)
    other = landscape(two[1], "0/1", placebos=3, engine=Engine(1))
    found = ceiling(*two)
    assert found.queries == ("0/1",)
    expected = agreement(["0/1"], mine[1].distances[None].numpy(), other[0].distances[None].numpy())
    assert np.array_equal(found.correlations, expected.correlations)
    assert ceiling(two[1], two[0]).correlations == pytest.approx(found.correlations)


@pytest.mark.slow
def test_ensembles_that_share_code_words_or_not_their_data(two, tiny_data, tiny_config, tmp_path):
    with pytest.raises(MismatchError, match="same code words"):
        ceiling(two[0], two[0])
    less = tiny_data.select(np.arange(30))
    another = train_ensemble(less, tmp_path / "less", members=6, config=tiny_config, codebook_seed=1, engine=Engine(1))
    with pytest.raises(MismatchError, match="different data"):
        ceiling(two[0], another)
