import math

import pytest
import torch

from whence import artefacts
from whence.errors import ArtefactError, DataError, MismatchError, WhenceError
from whence.scores.scores import Estimand, Scores

ESTIMAND = Estimand("loss of the query", "remove an example", "retraining", "m" * 64, "example")
UNITS = (("u",), ("v",), ("u", "w"), ("v",), ("w",), ("x",))


def make(**changed) -> Scores:
    source = torch.Generator().manual_seed(0)
    fields = {
        "scores": torch.randn(3, 6, generator=source),
        "queries": ("0/0", "0/1", "0/2"),
        "examples": tuple("abcdef"),
        "units": UNITS,
        "method": "trak",
        "estimand": ESTIMAND,
        "sign": "positive is proponent",
        "combine": "sum",
        "standard_error": torch.rand(3, 6, generator=source),
        "draws": 10,
    }
    return Scores(**(fields | changed))


def test_top_against_a_loop():
    scores = make()
    for query in scores.queries:
        row = scores.row(query).tolist()
        ranked = sorted(range(6), key=lambda n: (-row[n], n))
        for count in (0, 1, 4, 6, 100):
            expected = [(scores.examples[n], row[n]) for n in ranked[:count]]
            assert scores.top(query, count) == expected


def test_ties_keep_the_order_of_the_examples():
    assert [name for name, _ in make(scores=torch.zeros(3, 6)).top("0/1", 4)] == list("abcd")


@pytest.mark.parametrize("combine", ["sum", "max"])
@pytest.mark.parametrize("errors", [True, False])
def test_by_unit_against_loops(combine, errors):
    scores = make(combine=combine, **({} if errors else {"standard_error": None, "draws": None}))
    units = scores.by_unit()
    assert units.examples == ("u", "v", "w", "x")
    assert units.units == (("u",), ("v",), ("w",), ("x",))
    for q in range(3):
        for u, name in enumerate(units.examples):
            rows = [n for n in range(6) if name in UNITS[n]]
            values = [scores.scores[q, n].item() for n in rows]
            expected = sum(values) if combine == "sum" else max(values)
            assert units.scores[q, u].item() == pytest.approx(expected, abs=1e-6)
            if errors:
                own = [scores.standard_error[q, n].item() for n in rows]
                quadrature = math.sqrt(sum(value**2 for value in own))
                expected = quadrature if combine == "sum" else own[values.index(max(values))]
                assert units.standard_error[q, u].item() == pytest.approx(expected, rel=1e-6)
    assert (units.standard_error is None) == (not errors)
    assert (units.method, units.sign, units.combine, units.draws) == (
        scores.method,
        scores.sign,
        combine,
        scores.draws,
    )
    assert units.estimand.units == "unit"
    assert units.estimand.behaviour == ESTIMAND.behaviour


def test_units_of_one_example_each_are_the_examples():
    scores = make(units=tuple((f"unit {name}",) for name in "abcdef"))
    assert torch.equal(scores.by_unit().scores, scores.scores)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": torch.zeros(6, 3)}, r"scores is \(6, 3\); 3 queries and 6 examples"),
        ({"standard_error": torch.zeros(3, 5)}, r"standard_error is \(3, 5\)"),
        ({"queries": ("0/0", "0/1", "0/0")}, "distinct query ids"),
        ({"examples": tuple("abcdea")}, "distinct example ids"),
        ({"units": UNITS[:5]}, "units for every example"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(WhenceError, match=message):
        make(**changed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["scores", "standard_error"])
def test_what_is_not_finite_is_refused_by_name(field, value):
    bad = torch.zeros(3, 6)
    bad[1, 4] = value
    with pytest.raises(WhenceError, match=f"{field} of query '0/1', example 'e' is not finite"):
        make(**{field: bad})


def test_an_unknown_query():
    with pytest.raises(DataError, match=r"no query '9/9' in these scores; they have 0/0, 0/1, 0/2"):
        make().top("9/9", 1)


@pytest.mark.parametrize("scores", [make(), make(standard_error=None, draws=None), make().by_unit()])
def test_round_trip(tmp_path, scores):
    written = scores.write(tmp_path / "s", {"model": "m" * 64})
    found = Scores.read(tmp_path / "s")
    assert written.inputs == {"model": "m" * 64}
    for name, value in vars(scores).items():
        other = getattr(found, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name


def test_deviations_are_kept_and_give_the_errors_of_units(tmp_path):
    deviations = torch.randn(8, 3, 6, generator=torch.Generator().manual_seed(1))
    deviations -= deviations.mean(0)
    scores = make(deviations=(deviations / (7 / 8 * deviations.square().sum(0)).sqrt()).half())
    scores.write(tmp_path / "s", {})
    found = Scores.read(tmp_path / "s")
    assert torch.equal(found.deviations, scores.deviations)
    assert torch.equal(found.by_unit().standard_error, scores.by_unit().standard_error)
    for u, name in enumerate(scores.by_unit().examples):
        rows = [n for n in range(6) if name in UNITS[n]]
        sums = (found.deviations.float() * scores.standard_error)[:, :, rows].sum(2)
        torch.testing.assert_close(found.by_unit().standard_error[:, u], (7 / 8 * sums.square().sum(0)).sqrt())
        if len(rows) == 1:
            torch.testing.assert_close(
                found.by_unit().standard_error[:, u], scores.standard_error[:, rows[0]], rtol=2e-3, atol=0
            )


def test_scores_take_the_place_of_others_only_if_asked_for(tmp_path, flip_byte):
    make().write(tmp_path / "s", {})
    other = make(draws=20)
    other.write(tmp_path / "s", {}, renew=True)
    assert Scores.read(tmp_path / "s").draws == 20
    flip_byte(tmp_path / "s" / "scores.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        other.write(tmp_path / "s", {})
    other.write(tmp_path / "s", {}, renew=True)
    assert torch.equal(Scores.read(tmp_path / "s").scores, other.scores)


CHANGES = {
    "queries": ("0/7", "0/1", "0/2"),
    "examples": ("z", *"bcdef"),
    "standard_error": torch.ones(3, 6),
    "units": (("bertha",), *UNITS[1:]),
}


@pytest.mark.parametrize(("field", "value"), [*CHANGES.items(), ("standard_error", None)])
def test_whatever_scores_show_is_renewed(tmp_path, field, value):
    make().write(tmp_path / "s", {})
    changed = make(**{field: value})
    with pytest.raises(MismatchError):
        changed.write(tmp_path / "s", {})
    changed.write(tmp_path / "s", {}, renew=True)
    found, expected = getattr(Scores.read(tmp_path / "s"), field), getattr(changed, field)
    assert torch.equal(found, expected) if isinstance(value, torch.Tensor) else found == expected


def test_written_again_and_another_request(tmp_path):
    first = make().write(tmp_path / "s", {"model": "m" * 64})
    assert make().write(tmp_path / "s", {"model": "m" * 64}) == first
    with pytest.raises(MismatchError, match="inputs.model"):
        make().write(tmp_path / "s", {"model": "n" * 64})
    with pytest.raises(MismatchError, match="made.draws: there 10, now 20"):
        make(draws=20).write(tmp_path / "s", {"model": "m" * 64})


@pytest.mark.parametrize("file", ["scores.safetensors", "queries.parquet", "examples.parquet"])
def test_changed_scores_are_refused(tmp_path, file, flip_byte):
    make().write(tmp_path / "s", {})
    flip_byte(tmp_path / "s" / file)
    with pytest.raises(ArtefactError, match=f"{file} is damaged"):
        Scores.read(tmp_path / "s")


def test_missing_scores(tmp_path):
    with pytest.raises(ArtefactError, match="is not a Whence scores"):
        Scores.read(tmp_path / "s")
    artefacts.write_bytes(tmp_path / "s.part" / "x", b"")
    with pytest.raises(ArtefactError, match="unfinished"):
        Scores.read(tmp_path / "s")
