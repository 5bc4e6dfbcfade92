import itertools
import math

import numpy as np
import pytest
import torch

from whence.credit import ensemble_credit as exact
from whence.credit.contributors import Contributors
from whence.credit.ensemble_credit import credit_of_ensemble, survivors_of
from whence.data import load
from whence.engine import Engine
from whence.ensemble import Ensemble, train_ensemble
from whence.ensemble.make_losses import losses
from whence.errors import MismatchError, NoSurvivorsError

NAMES = ["foreign 0", "foreign 1"]
DRAWS = 8


@pytest.fixture(scope="module")
def eight(tiny_data, tiny_config, tmp_path_factory) -> Ensemble:
    """Eight members: 70 ways to choose the survivors of a unit."""
    return train_ensemble(
        tiny_data, tmp_path_factory.mktemp("eight") / "ens", members=8, config=tiny_config, engine=Engine(1)
    )


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return load("digits:test").images(range(2))


def never_saw(ensemble: Ensemble, contributors: Contributors) -> list[list[int]]:
    """The survivors, from what each member trained on."""
    data, found = ensemble.data, []
    for own in contributors.member:
        theirs = {contributors.examples[n] for n in np.flatnonzero(own)}
        seen = [{data.ids[n] for n in ensemble.codebook.examples(m, data)} for m in range(ensemble.codebook.members)]
        found.append([m for m, ids in enumerate(seen) if not ids & theirs])
    return found


def halved(data) -> Contributors:
    """Two contributors for each unit, two examples each, one of them also of a collection with one example."""
    units = [(f"{data.units[n][0]} {n // 20}", *(["collection"] if n == 3 else [])) for n in range(len(data))]
    return Contributors.of(data.ids[::-1], units[::-1])


def test_survivors_are_the_members_that_trained_on_nothing_of_a_contributor(eight):
    for contributors in (Contributors.of_data(eight.data), halved(eight.data)):
        expected = never_saw(eight, contributors)
        assert [np.flatnonzero(row).tolist() for row in survivors_of(eight, contributors)] == expected


def test_a_unit_of_the_ensemble_has_its_exact_influence(eight, pictures):
    found = credit_of_ensemble(eight, Contributors.of_data(eight.data), pictures, NAMES, draws=DRAWS, engine=Engine(1))
    measured = losses(eight, pictures, NAMES, draws=DRAWS, engine=Engine(1))
    for u, unit in enumerate(found.units):
        assert found.shares[:, u] == pytest.approx(measured.influence([unit]).numpy(), abs=1e-12)
    assert found.all == pytest.approx(-measured.full().numpy())
    assert np.isnan(found.none).all()
    assert np.isnan(found.remainder).all()
    assert (found.estimator, found.efficient) == ("leave-one-out", False)
    assert [one.picture for one in found.explained] == NAMES


def test_shares_against_all_choices_of_as_many_members(eight, pictures):
    contributors = halved(eight.data)
    found = credit_of_ensemble(eight, contributors, pictures, NAMES, draws=DRAWS, engine=Engine(1))
    measured = losses(eight, pictures, NAMES, draws=DRAWS, engine=Engine(1))

    def loss(members) -> np.ndarray:
        return measured.of(torch.isin(torch.arange(8), torch.tensor(members))[None])[:, 0].numpy()

    for u, survivors in enumerate(never_saw(eight, contributors)):
        others = [loss(list(some)) for some in itertools.combinations(range(8), len(survivors))]
        assert found.shares[:, u] == pytest.approx(loss(survivors) - np.mean(others, 0), abs=1e-12)
        spread = np.quantile(np.array(others) - np.mean(others, 0), (0.025, 0.975), axis=0)
        ends = np.array([found.low[:, u], found.high[:, u]]) - found.shares[:, u]
        assert ends == pytest.approx(spread, abs=0.15 * np.ptp(spread))


def test_replicates_keep_shares_of_the_same_examples_together(eight, pictures):
    """Two contributors with the same survivors have the same replicates, so their difference is surely nothing."""
    data = eight.data
    contributors = Contributors.of(data.ids, [(own[0], f"also {own[0]}") for own in data.units])
    found = credit_of_ensemble(eight, contributors, pictures, NAMES, draws=DRAWS, engine=Engine(1))
    one, other = found.units.index("u3"), found.units.index("also u3")
    assert np.array_equal(found.replicates[..., one], found.replicates[..., other])


def test_too_few_members_have_no_interval_and_it_says_why(pictures, ensemble):
    assert math.comb(6, 3) < exact.FEWEST <= math.comb(8, 4)
    found = credit_of_ensemble(
        ensemble, Contributors.of_data(ensemble.data), pictures, NAMES, draws=DRAWS, engine=Engine(1)
    )
    assert found.replicates is None
    assert found.how["interval"].startswith("None: ")
    assert "Train more members" in found.how["interval"]


def test_a_contributor_whom_every_member_saw_has_no_number(eight, pictures):
    units = [own if own == ("u9",) else ("most",) for own in eight.data.units]
    with pytest.raises(NoSurvivorsError, match=r"1 of the 2 contributors: 'most'.*--unit-column"):
        credit_of_ensemble(eight, Contributors.of(eight.data.ids, units), pictures, NAMES, engine=Engine(1))


def test_contributors_of_other_examples_are_refused(eight, pictures):
    others = Contributors.of(("x", "y"), (("a",), ("b",)))
    with pytest.raises(MismatchError, match="not the same"):
        credit_of_ensemble(eight, others, pictures, NAMES, engine=Engine(1))
