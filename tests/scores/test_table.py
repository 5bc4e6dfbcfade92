import csv
import json
import tracemalloc

import pyarrow.parquet as pq
import pytest
import torch

from whence.errors import ConfigError
from whence.scores.formats.plain import write_plain as write_table_of
from whence.scores.scores import Estimand, Scores
from whence.scores.table import to_table

UNITS = (("u",), ("v", 'w "x", y'), ("=1",), ("u",), ("ü",))


def make(rows=((0.5, -2.0, 3.0, 3.0, -1.0),), errors: bool = True, sign="positive is proponent") -> Scores:
    scores = torch.tensor(rows)
    return Scores(
        scores=scores,
        queries=tuple(f"0/{q}" for q in range(len(scores))),
        examples=("a", "b, c", "d", "e", "f"),
        units=UNITS,
        method="trak",
        estimand=Estimand("loss", "weight", "this run", "none", "example"),
        sign=sign,
        combine="sum",
        standard_error=torch.full_like(scores, 0.5) if errors else None,
        draws=10 if errors else None,
    )


def test_all_rows_against_a_loop():
    scores = make(((0.5, -2.0, 3.0, 3.0, -1.0), (0.0, -0.0, 0.0, 1.0, 2.0)))
    rows = to_table(scores).to_pylist()
    assert len(rows) == 10
    for q, query in enumerate(scores.queries):
        own = rows[5 * q : 5 * q + 5]
        assert [row["rank"] for row in own] == [1, 2, 3, 4, 5]
        assert [(row["example"], row["score"]) for row in own] == scores.top(query, 5)
        for row in own:
            n = scores.examples.index(row["example"])
            assert row["query"] == query
            assert row["units"] == list(UNITS[n])
            assert row["opponent"] is (row["score"] < 0)
            assert row["standard_error"] == 0.5
            assert (row["low"], row["high"]) == pytest.approx((row["score"] - 0.9473, row["score"] + 0.9473), abs=1e-4)


@pytest.mark.parametrize(
    ("row", "sign", "top", "ranks", "opponents"),
    [
        ((0.5, -2.0, 3.0, 3.0, -1.0), "positive is proponent", 1, [1, 5], [5]),
        ((0.5, -2.0, 3.0, 3.0, -1.0), "positive is proponent", 2, [1, 2, 4, 5], [4, 5]),
        ((0.5, -2.0, 3.0, 3.0, -1.0), "positive is proponent", 4, [1, 2, 3, 4, 5], [4, 5]),
        ((0.5, -2.0, 3.0, 3.0, -1.0), "positive is proponent", 9, [1, 2, 3, 4, 5], [4, 5]),
        ((1.0, 2.0, 3.0, 4.0, 5.0), "positive is proponent", 2, [1, 2], []),
        ((1.0, -2.0, 3.0, 4.0, 5.0), "positive is proponent", 2, [1, 2, 5], [5]),
        ((-1.0, -2.0, -3.0, -4.0, -5.0), "positive is proponent", 2, [1, 2, 4, 5], [1, 2, 4, 5]),
        ((-1.0, -2.0, -3.0, -4.0, -5.0), "unsigned", 2, [1, 2], []),
        ((-1.0, -2.0, -3.0, -4.0, -5.0), "unsigned", None, [1, 2, 3, 4, 5], []),
    ],
)
def test_which_rows_are_taken(row, sign, top, ranks, opponents):
    table = to_table(make((row,), sign=sign), top).to_pylist()
    assert [one["rank"] for one in table] == ranks
    assert [one["rank"] for one in table if one["opponent"]] == opponents


def test_without_errors_there_are_no_intervals():
    table = to_table(make(errors=False))
    assert all(table.column(name).null_count == 5 for name in ("standard_error", "low", "high"))


@pytest.mark.parametrize("errors", [True, False])
def test_both_files_hold_the_table(tmp_path, errors):
    scores = make(((0.5, -2.0, 3.0, 3.0, -1.0), (1e-20, -1e20, 1 / 3, 0.0, 0.0)), errors)
    expected = to_table(scores, 2).to_pylist()
    for name in ("scores.parquet", "scores.csv"):
        (tmp_path / name).write_text("an older file")
        write_table_of(scores, tmp_path / name, 2)
    assert pq.read_table(tmp_path / "scores.parquet").to_pylist() == expected
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert json.loads(row["units"]) == wanted["units"]
        assert (row["query"], row["example"], int(row["rank"])) == (wanted["query"], wanted["example"], wanted["rank"])
        for number in ("score", "standard_error", "low", "high"):
            assert (float(row[number]) if row[number] else None) == wanted[number]
        assert row["opponent"] == str(wanted["opponent"]).lower()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scores.csv", "scores.parquet"]


@pytest.mark.parametrize(
    ("name", "top", "message"),
    [
        ("scores.xlsx", None, r"'.xlsx'; scores are written as .csv or .parquet"),
        ("scores", None, "suffix ''"),
        ("scores.csv", 0, "top is 0"),
        ("scores.parquet", -3, "top is -3"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, top, message):
    with pytest.raises(ConfigError, match=message):
        write_table_of(make(), tmp_path / name, top)
    assert list(tmp_path.iterdir()) == []


def test_no_queries_make_an_empty_table(tmp_path):
    scores = Scores(torch.zeros(0, 1), (), ("a",), (("a",),), "m", make().estimand, "unsigned", "max")
    write_table_of(scores, tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text().count("\n") == 1
    assert to_table(scores).num_rows == 0


def test_memory_does_not_grow_with_the_number_of_queries(tmp_path, monkeypatch):
    monkeypatch.setattr("whence.scores.table.ROWS", 2000)

    def peak(queries: int) -> int:
        names = tuple(f"image {n}" for n in range(1000))
        scores = Scores(
            torch.randn(queries, 1000, generator=torch.Generator().manual_seed(0)),
            tuple(map(str, range(queries))),
            names,
            tuple((name,) for name in names),
            "m",
            make().estimand,
            "positive is proponent",
            "sum",
        )
        tracemalloc.start()
        write_table_of(scores, tmp_path / "scores.parquet")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(4)
    assert peak(40) < 1.5 * peak(10)
