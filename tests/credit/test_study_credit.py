"""From a study to credit: shares by hand, what intervals say, what is written, and what it will cost."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whence import artefacts
from whence.credit.behaviours import behaviour
from whence.credit.coalitions import CoalitionSampling
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit
from whence.credit.estimators import ESTIMATORS
from whence.credit.make_game import credit_cost, measure_coalitions, measure_nobody, measurement_bytes, values_of
from whence.credit.stored_credit import read_game, write_credit
from whence.credit.study import Study
from whence.credit.study_credit import credit_of_study, request_of
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError

ASKED = [behaviour("held-out-fit"), behaviour("fit")]
EFFORT = CoalitionSampling(coalitions=6)


@pytest.fixture(scope="session")
def played(begin, contributors, tmp_path_factory) -> Study:
    """A study in which all coalitions of three contributors were played with two seeds; only to be read."""
    study = begin(tmp_path_factory.mktemp("played") / "study")
    for name in ("shapley", "leave-one-out"):
        credit_of_study(study, contributors, ASKED, ESTIMATORS[name], replace(EFFORT, repeats=2), engine=Engine(1))
    return study


@pytest.fixture(scope="session")
def worth(played, contributors):
    """v of a coalition by hand, from one seed."""

    def v(*names: str) -> np.ndarray:
        kept = contributors.kept(np.array([own in names for own in contributors.names]))
        measured = measure_coalitions(played, [kept])[0][0] if names else measure_nobody(played)
        return values_of(played, ASKED, [[measured]])[0, 0]

    return v


def shares(played, contributors, name: str, **effort) -> Credit:
    return credit_of_study(played, contributors, ASKED, ESTIMATORS[name], replace(EFFORT, **effort), engine=Engine(1))[
        0
    ]


@pytest.mark.slow
def test_leave_one_out_by_hand(played, contributors, worth):
    everybody = worth("anna", "ben", "cleo")
    expected = [everybody - worth(*pair) for pair in (("ben", "cleo"), ("anna", "cleo"), ("anna", "ben"))]
    found = shares(played, contributors, "leave-one-out")
    assert np.array_equal(found.shares, np.transpose(expected))
    assert np.array_equal(found.all, everybody)
    assert np.array_equal(found.none, worth())


@pytest.mark.slow
def test_add_one_in_by_hand(played, contributors, worth):
    expected = [worth(name) - worth() for name in contributors.names]
    assert np.array_equal(shares(played, contributors, "add-one-in").shares, np.transpose(expected))


def test_shapley_by_hand(played, contributors, worth):
    """(v(a) - v(∅)) / 3 + (v(ab) - v(b)) / 6 + (v(ac) - v(c)) / 6 + (v(abc) - v(bc)) / 3."""
    found = shares(played, contributors, "shapley")
    names = set(contributors.names)
    for u, a in enumerate(contributors.names):
        b, c = sorted(names - {a})
        gains = (worth(a) - worth()) / 3 + (worth(a, b) - worth(b)) / 6 + (worth(a, c) - worth(c)) / 6
        assert found.shares[:, u] == pytest.approx(gains + (worth(a, b, c) - worth(b, c)) / 3, abs=1e-12)
    assert found.remainder == pytest.approx(0, abs=1e-12)


def test_an_example_of_two_goes_with_either(contributors):
    assert contributors.kept(np.array([True, False, True])).tolist() == [*range(1, 10), *range(18, 24)]


@pytest.mark.parametrize(
    ("name", "repeats", "known", "says"),
    [
        ("leave-one-out", 1, False, "Not known.* two or more training seeds"),
        ("leave-one-out", 2, True, "over the noise of their models; v\\(none\\) is taken as known"),
        ("shapley", 1, False, "Not known"),
        ("shapley", 2, True, "over the noise"),
    ],
)
def test_what_the_interval_covers(played, contributors, name, repeats, known, says):
    found = shares(played, contributors, name, repeats=repeats)
    assert (found.replicates is not None) == known
    assert re.search(says, found.how["interval"])
    assert ("fine-tuning is from training anew" in found.how["interval"]) == known


def test_the_noise_of_everybody_counts(played, contributors):
    """Repeats of v(all) are rows of the game, so intervals of what is lost without one cover their noise."""
    credit, game = credit_of_study(
        played, contributors, ASKED, ESTIMATORS["leave-one-out"], replace(EFFORT, repeats=2), engine=Engine(1)
    )
    assert game.coalitions.all(1).sum() == 2
    assert np.array_equal(game.values[game.coalitions.all(1)].mean(0), game.all)
    common = credit.replicates - credit.replicates.mean(0)
    together = np.einsum("rbu,rbv->buv", common, common) / len(common)
    assert (together[:, 0, 1] > 0).all()


def test_behaviours_are_explained_in_their_order(played, contributors):
    found = shares(played, contributors, "leave-one-out").explained
    assert [(one.name, one.picture) for one in found] == [
        ("held-out-fit", None),
        ("fit 0/0", "0/0"),
        ("fit 0/1", "0/1"),
    ]


@pytest.mark.parametrize("asked", [[], [ASKED[0], ASKED[0]]])
def test_each_behaviour_is_asked_for_once(played, contributors, asked):
    with pytest.raises(ConfigError, match="at least one behaviour"):
        credit_of_study(played, contributors, asked, ESTIMATORS["shapley"])


@pytest.mark.parametrize("wrong", [{"coalitions": 0}, {"repeats": 0}, {"seed": -1}])
def test_efforts_that_make_no_sense(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CoalitionSampling(**wrong)


def test_too_few_coalitions_are_said_before_models_are_made(begin, contributors, tmp_path):
    study = begin(tmp_path / "study")
    with pytest.raises(DataError, match="don't determine the shares"):
        credit_of_study(study, contributors, ASKED, ESTIMATORS["shapley"], CoalitionSampling(coalitions=1))
    assert not (study.path / "looks").exists()


def test_written_and_read_again(played, contributors, tmp_path):
    credit, game = credit_of_study(played, contributors, ASKED, ESTIMATORS["shapley"], EFFORT, engine=Engine(1))
    place = write_credit(credit, tmp_path, played.inputs, request_of(contributors, ASKED, EFFORT), game)
    assert place == tmp_path / "shapley"
    assert np.array_equal(Credit.read(place).shares, credit.shares)
    assert np.array_equal(read_game(place, credit).values, game.values)
    before = (place / artefacts.MANIFEST).stat().st_mtime_ns
    write_credit(credit, tmp_path, played.inputs, request_of(contributors, ASKED, EFFORT), game)
    assert (place / artefacts.MANIFEST).stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["another base", "another request", "half of something else"])
def test_what_was_computed_for_something_else_is_replaced(played, contributors, run_config, tmp_path, change):
    request = request_of(contributors, ASKED, EFFORT)
    first = shares(played, contributors, "add-one-in")
    write_credit(first, tmp_path, played.inputs, request)
    if change == "another base":
        DiffusionModel.new(run_config.model, (1, 8, 8), seed=9).save(tmp_path / "base")
        arguments = {"base": tmp_path / "base", "engine": Engine(1)}
        second, _ = credit_of_study(played, contributors, ASKED, ESTIMATORS["add-one-in"], EFFORT, **arguments)
        assert not np.array_equal(second.none, first.none)
    else:
        second, request = first, request | {"seed": 7}
    if change == "half of something else":
        artefacts.discard(tmp_path / "add-one-in")
        artefacts.write_json(tmp_path / "add-one-in.part" / "resume" / "request.json", {"kind": "credit"})
    place = write_credit(second, tmp_path, played.inputs, request)
    assert np.array_equal(Credit.read(place).none, second.none)
    assert artefacts.read_manifest(place, "credit").made["seed"] == request["seed"]


CHANGES = {
    "a name of a contributor": lambda credit: {"units": ("bertha", *credit.units[1:])},
    "an example of a contributor": lambda credit: {"examples": (credit.examples[0][1:], *credit.examples[1:])},
    "a title": lambda credit: {"explained": (replace(credit.explained[0], title="T"), *credit.explained[1:])},
    "a picture": lambda credit: {"explained": (replace(credit.explained[0], picture="0/9"), *credit.explained[1:])},
    "an interval": lambda credit: {"replicates": np.zeros((2, *credit.shares.shape), np.float32)},
    "a note": lambda credit: {"how": credit.how | {"null": "Something else."}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_shares_show_is_renewed(played, contributors, tmp_path, change):
    first = shares(played, contributors, "add-one-in")
    second = replace(first, **change(first))
    write_credit(first, tmp_path, played.inputs, {})
    written = Credit.read(write_credit(second, tmp_path, played.inputs, {}))
    for name in ("units", "examples", "explained", "how"):
        assert getattr(written, name) == getattr(second, name)
    assert np.array_equal(written.replicates, second.replicates)


@pytest.mark.parametrize("own", ["a folder of the user", "another artefact", "a damaged one"])
def test_a_folder_that_holds_something_else_is_left_alone(played, contributors, tmp_path, contents, own):
    credit, place = shares(played, contributors, "add-one-in"), tmp_path / "add-one-in"
    if own == "another artefact":
        with artefacts.create(place, "model", inputs={}, made={}) as part:
            (part / "weights").write_text("months of work")
    elif own == "a damaged one":
        write_credit(credit, tmp_path, played.inputs, {})
        (place / "shares.csv").write_text("edited")
    else:
        place.mkdir()
        (place / "notes.txt").write_text("my notes")
    before = contents(place)
    with pytest.raises(ArtefactError):
        write_credit(credit, tmp_path, played.inputs, {})
    assert contents(place) == before


def test_contributors_of_other_data(played, owned_data):
    other = Contributors.of_data(owned_data.select(range(1, 24)))
    with pytest.raises(MismatchError, match="contributors"):
        credit_of_study(played, other, ASKED, ESTIMATORS["leave-one-out"])


@pytest.mark.parametrize(
    ("name", "repeats", "models"), [("shapley", 1, 0), ("shapley", 3, 7), ("leave-one-out", 2, 0), ("add-one-in", 3, 4)]
)
def test_a_plan_counts_what_is_missing(played, contributors, name, repeats, models):
    """All coalitions of three were played with two seeds; everybody is one more model for each seed."""
    plan = credit_cost(played, contributors, ESTIMATORS[name], replace(EFFORT, repeats=repeats), engine=Engine(2))
    if models == 0:
        assert (plan.seconds, plan.disk) == (0, 0)
        assert plan.work == "nothing: all of it is there already"
    else:
        assert plan.work.startswith(f"{models} models: {2 * models} steps")
        assert "in 2 processes" in plan.work
        assert plan.seconds > 0
        weights = sum(p.numel() for p in played.start.network.parameters()) * 4
        assert plan.disk == models * measurement_bytes(played) + 2 * 10 * weights


def test_a_plan_makes_nothing(begin, contributors, tmp_path):
    study = begin(tmp_path / "study")
    before = sorted(study.path.rglob("*"))
    one, four = (credit_cost(study, contributors, ESTIMATORS["shapley"], EFFORT, engine=Engine(n)) for n in (1, 4))
    assert sorted(study.path.rglob("*")) == before
    assert four.memory > 3 * one.memory
    assert "7 models" in one.work


def test_the_bytes_of_a_look(played: Study):
    file: Path = next(played.path.glob("looks/*/look.safetensors"))
    tensors = artefacts.read_tensors(file).values()
    assert measurement_bytes(played) == sum(one.numel() * one.element_size() for one in tensors)
