"""The shares in one picture as ingredients: what is in the file, and that it says that it is not signed."""

import json

import numpy as np
import pytest

from whence.credit.credit import Credit, Explained
from whence.credit.ingredients import LABEL, ingredients, write_ingredients
from whence.errors import DataError


def credit_of(replicates: bool) -> Credit:
    explained = tuple(Explained(f"fit {name}", "Fit", "error", name, 0.0, 3.0) for name in ("0/0", "0/1"))
    shares = np.array([[0.5, 2.0], [1.0, 0.25]])
    spread = shares + np.linspace(-1, 1, 41)[:, None, None]
    spread = spread.astype(np.float32) if replicates else None
    return Credit(
        "shapley", True, ("ann", "bob"), (("1",), ("2", "3")), explained, shares, spread, {"interval": "draws"}
    )


@pytest.mark.parametrize("replicates", [True, False])
def test_the_file_holds_shares_and_intervals_from_the_largest(tmp_path, replicates):
    credit = credit_of(replicates)
    written = json.loads(write_ingredients(credit, "0/0", tmp_path / "0-0.json").read_text("utf-8"))
    assert written == ingredients(credit, "0/0")
    assert written["signed"] is False
    assert "not signed" in written["note"]
    assert [one["title"] for one in written["ingredients"]] == ["bob", "ann"]
    assert {one["relationship"] for one in written["ingredients"]} == {"inputTo"}
    for one in written["ingredients"]:
        u, [share] = credit.units.index(one["title"]), one["metadata"]["shares"]
        assert (share["share"], share["behaviour"]) == (credit.shares[0, u], "fit 0/0")
        assert share["low"] == (credit.low[0, u] if replicates else None)
        assert share["high"] == (credit.high[0, u] if replicates else None)
        assert one["metadata"]["training_examples"] == len(credit.examples[u])
    [assertion] = written["assertions"]
    assert assertion["label"] == LABEL
    assert assertion["data"]["behaviours"] == [{"behaviour": "fit 0/0", "title": "Fit", "nobody": 0.5}]
    assert (assertion["data"]["interval"] is None) is not replicates


def test_a_picture_without_shares(tmp_path):
    with pytest.raises(DataError, match=r"no shares in the picture '0/9'; there are 0/0, 0/1"):
        write_ingredients(credit_of(True), "0/9", tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()
