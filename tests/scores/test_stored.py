import numpy as np
import pytest
import torch

from whence.artefacts import Manifest
from whence.errors import ArtefactError
from whence.evaluation.queries import Kind, Use, query_mask, tuning_notes
from whence.scores.scores import Estimand, Scores
from whence.scores.stored import StoredScores, read_scores

ESTIMAND = Estimand("loss", "removal", "training", "none", "example")


def scores(method: str = "trak", queries: tuple[str, ...] = ("q", "r")) -> Scores:
    values = torch.arange(2.0 * len(queries)).reshape(-1, 2)
    return Scores(values, queries, ("a", "b"), (("a",), ("b",)), method, ESTIMAND, "positive is proponent", "sum")


def given(name: str, method: str = "trak", queries: tuple[str, ...] = ("q", "r"), **made: object) -> StoredScores:
    return StoredScores(name, scores(method, queries), Manifest("scores", {}, made, {}))


@pytest.fixture
def folder(tmp_path):
    """OUT of `whence attribute` with two methods and other things."""
    for method in ("trak", "d-trak"):
        scores(method).write(tmp_path / "out" / method, {"model": "m"})
    (tmp_path / "out" / "features").mkdir()
    return tmp_path / "out"


def test_a_folder_gives_all_of_its_methods(folder):
    found = read_scores([folder])
    assert [(one.name, one.scores.method) for one in found] == [("d-trak", "d-trak"), ("trak", "trak")]
    assert found[0].manifest.inputs == {"model": "m"}


def test_a_method_gives_itself_and_twice_is_once(folder):
    assert [one.name for one in read_scores([folder / "trak"])] == ["trak"]
    assert [one.name for one in read_scores([folder / "trak", folder])] == ["trak", "d-trak"]


def test_equal_names_are_told_apart_by_path(folder, tmp_path):
    scores("trak").write(tmp_path / "other" / "trak", {"model": "m"})
    assert [one.name for one in read_scores([folder, tmp_path / "other"])] == [
        "d-trak",
        str(folder / "trak"),
        str(tmp_path / "other" / "trak"),
    ]


@pytest.mark.parametrize("path", ["out/features", "nowhere", "out/trak/manifest.json"])
def test_where_there_are_no_scores(folder, path):
    with pytest.raises(ArtefactError, match="whence attribute"):
        read_scores([folder.parent / path])


def test_damaged_scores_are_refused(folder, flip_byte):
    flip_byte(folder / "trak" / "scores.safetensors")
    with pytest.raises(ArtefactError):
        read_scores([folder])


def test_every_query_is_of_one_kind_and_one_use():
    source = np.random.default_rng(0)
    drawn, development = source.random((2, 50)) < 0.5
    found = [query_mask(drawn, development, kind, use) for kind in Kind for use in Use]
    assert (np.sum(found, 0) == 1).all()
    assert not (query_mask(drawn, development, Kind.HELD_OUT, Use.REPORTED) & (drawn | development)).any()


@pytest.mark.parametrize(
    ("tuned", "shared"),
    [
        (None, []),
        ({}, []),
        ({"pool": "development", "queries": "development"}, []),
        ({"pool": "test", "queries": "development"}, ["pool of subsets"]),
        ({"pool": ["development", "test"], "queries": []}, ["pool of subsets"]),
        ({"pool": "development", "queries": "reported"}, ["queries"]),
        ({"pool": "development", "queries": "all"}, ["queries"]),
        ({"pool": "development", "queries": ["r", "z"]}, ["queries"]),
        ({"pool": "development", "queries": ["z"]}, []),
        ({"pool": "test", "queries": "all"}, ["pool of subsets", "queries"]),
    ],
)
def test_a_knob_that_was_chosen_on_the_same(tuned, shared):
    notes = tuning_notes([given("mine", tuned_on=tuned)], "test", Use.REPORTED, {"q", "r"})
    assert [note.partition("on the same ")[2].partition(",")[0] for note in notes] == shared
    assert all(note.startswith("mine: ") for note in notes)


@pytest.mark.parametrize(
    ("configs", "warned"),
    [
        ([{"damping": 0.1}, {"damping": 1.0}], True),
        ([{"damping": 0.1}, {"damping": 0.1}], False),
        ([{"draws": 10, "damping": 0.1}, {"draws": 100, "damping": 0.1}], False),
    ],
    ids=["other damping", "the same", "more draws"],
)
def test_the_best_of_several_settings_is_no_result(configs, warned):
    several = [given(f"s{n}", config=config) for n, config in enumerate(configs)]
    notes = tuning_notes(several, "test", Use.REPORTED, {"q"})
    assert bool(notes) == warned
    assert all("s0, s1 are trak with different settings" in note for note in notes)
    other = [given("a", config=configs[0]), given("b", queries=("z",), config=configs[1])]
    assert tuning_notes(other, "test", Use.REPORTED, {"q"}) == []


@pytest.mark.parametrize(
    ("pool", "use", "count"),
    [
        ("test", "reported", 1),
        ("development", "development", 1),
        ("development", "reported", 2),
        ("test", "development", 2),
    ],
)
def test_figures_for_choosing_are_not_for_reporting(pool, use, count):
    several = [given(f"s{n}", config={"damping": n}) for n in range(2)]
    notes = tuning_notes(several, pool, Use(use), {"q"})
    assert len(notes) == count
    assert ("for choosing knobs" in notes[0]) == ((pool, use) != ("test", "reported"))
