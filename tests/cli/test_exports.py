"""`whence export` and `whence credit ingredients`."""

import json

import numpy as np
import torch

from whence.credit.credit import Credit, Explained
from whence.scores.formats import FORMATS
from whence.scores.scores import Estimand, Scores


def test_export(whence, tmp_path):
    named = (("q",), ("a", "b"), (("u",), ("v",)), "trak", Estimand(*["none"] * 5), "unsigned", "max")
    Scores(torch.tensor([[1.0, 2.0]]), *named).write(tmp_path / "out" / "trak", {})
    told = whence("export", tmp_path / "out", "--to", tmp_path / "top.csv", "--top", 1)
    assert (told.code, told.out) == (0, f"The table: {tmp_path / 'top.csv'}\n")
    assert (tmp_path / "top.csv").read_text().splitlines()[1].startswith('"q",1,"b",')
    refused = whence("export", tmp_path / "out" / "trak", "--to", tmp_path / "folder", "--format", "datasets")
    assert refused.code == 1
    assert "There are no pictures beside these scores" in refused.err
    assert all(name in whence("export", "--help").out for name in FORMATS)


def test_ingredients(whence, tmp_path):
    explained = (Explained("fit 0/1", "Fit", "error", "0/1", 0.0, 3.0),)
    credit = Credit("shapley", True, ("ann",), (("1",),), explained, np.array([[0.5]]), None, {})
    credit.write(tmp_path / "credit" / "shapley", {}, {"estimator": "shapley", "efficient": True})
    told = whence("credit", "ingredients", tmp_path / "credit", "--query", "0/1", "--to", tmp_path / "0-1.json")
    assert (told.code, told.out) == (0, f"The ingredients of 0/1, not signed: {tmp_path / '0-1.json'}\n")
    assert json.loads((tmp_path / "0-1.json").read_text("utf-8"))["title"] == "0/1"
