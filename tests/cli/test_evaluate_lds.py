"""`whence evaluate lds` on the tiny bank, whose models have learned next to nothing."""

import json

import pytest

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.cli.evaluate.lds import table_lines


@pytest.fixture(scope="module")
def scores(tiny_bank, tmp_path_factory):
    """OUT of `whence attribute` for all queries of the bank."""
    out = tmp_path_factory.mktemp("asked") / "scores"
    config = AttributionConfig(draws=8)
    attribute(
        tiny_bank.models[0], tiny_bank.data, tiny_bank.attribution_queries(), ("trak", "pixel"), config=config, out=out
    )
    return out


def test_a_table_for_each_kind_of_query(whence, tiny_bank, scores, tmp_path):
    found = whence("evaluate", "lds", scores, "--bank", tiny_bank.path, "--out", tmp_path / "figures.json")
    assert found.code == 0, found.err
    for words in ("held out queries (reported)", "drawn queries (reported)", "Ceiling", "random", "trak", "pixel"):
        assert words in found.out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {name: len(table["methods"]) for name, table in figures["tables"].items()} == {"held-out": 3, "drawn": 3}
    for table in figures["tables"].values():
        values = [method["lds"]["value"] for method in table["methods"]]
        assert values == sorted(values, reverse=True)
        assert all(name in tiny_bank.queries for name in table["methods"][0]["of_query"])


@pytest.mark.parametrize("use", ["reported", "development"])
@pytest.mark.parametrize("kind", ["held-out", "drawn"])
def test_queries_are_of_the_kind_and_use(whence, tiny_bank, scores, tmp_path, kind, use):
    words = ("--queries", kind, "--use", use, "--out", tmp_path / "figures.json")
    found = whence("evaluate", "lds", scores / "trak", "--bank", tiny_bank.path, *words)
    assert found.code == 0, found.err
    [table] = json.loads((tmp_path / "figures.json").read_text())["tables"].values()
    drawn, development = tiny_bank.drawn, tiny_bank.development
    expected = [
        name
        for q, name in enumerate(tiny_bank.queries)
        if drawn[q] == (kind == "drawn") and development[q] == (use == "development")
    ]
    assert list(table["methods"][0]["of_query"]) == expected
    assert ("for choosing knobs" in found.out) == (use == "development")


def test_a_deterministic_pool_has_no_noise_of_seeds(whence, tiny_bank, scores):
    found = whence("evaluate", "lds", scores / "pixel", "--bank", tiny_bank.path, "--pool", "deterministic-50%")
    assert found.code == 0, found.err
    assert "Ceiling 1: the models repeat the reference run" in found.out


def test_the_squares_are_other_figures(whence, tiny_bank, scores, tmp_path):
    for form in ("plain", "signed-squares", "squares"):
        words = ("--bank", tiny_bank.path, "--form", form, "--out", tmp_path / form)
        assert whence("evaluate", "lds", scores, *words).code == 0
    figures = [json.loads((tmp_path / form).read_text())["tables"]["drawn"] for form in ("plain", "squares")]
    assert [table["form"] for table in figures] == ["plain", "squares"]


def test_scores_of_another_model_are_refused(whence, tiny_bank, tmp_path, tiny_ensemble):
    attribute(tiny_ensemble, tiny_ensemble.data, "0/0", "pixel", out=tmp_path / "other")
    found = whence("evaluate", "lds", tmp_path / "other", "--bank", tiny_bank.path)
    assert found.code == 1
    assert "fingerprint" in found.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pool", "none"], "no pool 'none'"),
        (["--bank", "nowhere"], "nowhere"),
        (["--form", "cubes"], "cubes"),
        (["--queries", "own"], "own"),
    ],
)
def test_what_there_is_not(whence, tiny_bank, scores, words, message):
    found = whence("evaluate", "lds", scores, *(["--bank", tiny_bank.path] if "--bank" not in words else []), *words)
    assert found.code != 0
    assert message in found.err
    assert "Traceback" not in found.err


def test_words_where_a_difference_means_nothing(tiny_bank, scores):
    from whence.evaluation.prediction.lds import bank_lds
    from whence.scores.stored import read_scores

    for table in bank_lds(tiny_bank, read_scores([scores])).values():
        lines = table_lines(table, "queries")
        unclear = [row.name for row in table.rows[1:] if not row.to_best.told_apart]
        assert [line for line in lines if "too few to tell" in line] == [
            line
            for line in lines
            if any(f"too few to tell {name} from {table.rows[0].name}" in line for name in unclear)
        ]
        assert sum("too few to tell" in line for line in lines) == len(unclear)


def test_deterministic_pools_from_the_smallest_share_on(whence, tiny_bank, scores):
    found = whence("evaluate", "deterministic", scores, "--bank", tiny_bank.path)
    assert found.code == 0, found.err
    pools = [line.split("pool ")[1].split(":")[0] for line in found.out.splitlines() if "pool deterministic-" in line]
    assert pools == sorted(pools, key=lambda name: float(name.split("-")[1].rstrip("%")))
    assert {name for name in tiny_bank.pools if name.startswith("deterministic")} == set(pools)
