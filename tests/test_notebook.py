"""What notebooks show: self-contained, small, and escaped."""

import builtins
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch

import whence
from whence import notebook
from whence.credit.credit import Credit, Explained
from whence.data import Dataset, load
from whence.errors import ArtefactError, ConfigError
from whence.images import data_uri
from whence.scores.scores import Estimand, Scores
from whence.scores.table import to_table

HOSTILE = '<script>alert("1")</script>&\'" onerror=x $a_b$'
ESTIMAND = Estimand("loss", "weight", "this run", "none", "example")


def scores_of(examples=("a", "b", "c"), queries=("q",), errors=True) -> Scores:
    values = torch.arange(float(len(queries) * len(examples))).reshape(len(queries), -1)
    units = tuple((f"unit of {name}",) for name in examples)
    named = (queries, examples, units, "trak", ESTIMAND, "positive is proponent", "sum")
    return Scores(values, *named, torch.ones_like(values) if errors else None, 8 if errors else None)


def credit_of(units=("a", "b"), replicates=True) -> Credit:
    explained = Explained("diversity", HOSTILE, "bits", None, none=0.0, all=3.0)
    shares = np.arange(float(len(units)))[None]
    spread = np.linspace(-1, 1, 9, dtype=np.float32)[:, None, None] + shares.astype(np.float32)
    return Credit("shapley", True, units, ((),) * len(units), (explained,), shares, spread if replicates else None, {})


def data_of(ids) -> Dataset:
    return Dataset(tuple(ids), np.zeros((len(ids), 3, 8, 8), np.uint8), tuple((id,) for id in ids), (None,) * len(ids))


def require_safe(html: str) -> None:
    """The HTML is well formed, loads nothing, runs nothing, and is not large."""
    root = ET.fromstring(html.replace("<br>", "<br/>").replace('alt="">', 'alt=""/>'))
    allowed = {"div", "b", "table", "tr", "th", "td", "img", "br", "p"}
    assert {element.tag for element in root.iter()} <= allowed
    for element in root.iter():
        assert set(element.attrib) <= {"src", "width", "style", "alt"}
        assert element.attrib.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert len(html) < 300_000


def test_scores_and_top_are_safe_with_hostile_names():
    names = (HOSTILE, "b" * 500, "c")
    scores = scores_of(names, (HOSTILE,)).with_pictures(data_of(names), data_of([HOSTILE]))
    for html in (scores._repr_html_(), scores.top(HOSTILE, 3)._repr_html_()):
        require_safe(html)
        assert html.count("<img") >= 3
        assert "b" * 61 not in html


def test_what_is_shown_is_bounded():
    many = scores_of(tuple(map(str, range(500))), tuple(f"q{k}" for k in range(100)))
    many = many.with_pictures(data_of(many.examples))
    require_safe(many._repr_html_())
    top = many.top("q0", 500)._repr_html_()
    require_safe(top)
    assert top.count("<img") == notebook.MOST
    assert "476 more are not shown" in top
    large = np.random.default_rng(0).integers(0, 255, (3, 900, 600), np.uint8)
    assert len(notebook.picture(large, "a")) < 60_000


@pytest.mark.parametrize("replicates", [True, False])
def test_credit_is_safe(replicates):
    credit = credit_of((HOSTILE, "b"), replicates)
    require_safe(credit._repr_html_())
    assert repr(credit) == "Credit(shapley: 2 contributors, diversity)"
    svg = credit.plot().svg
    assert "<script" not in svg
    ET.fromstring(svg)
    assert credit.plot("diversity").svg == svg


def test_ensembles_are_shown(ensemble, tmp_path):
    samples = whence.sample(ensemble, count=2, engine=whence.Engine(1))
    [ablation] = whence.ablate(ensemble, "0/1", [ensemble.codebook.units[0]], engine=whence.Engine(1))
    landscape = whence.landscape(ensemble, "0/0", engine=whence.Engine(1))
    landscape = landscape if isinstance(landscape, whence.Landscape) else landscape[0]
    for thing, pictures in ((samples, 2), (ablation, len(ablation.pictures)), (landscape, 2)):
        require_safe(thing._repr_html_())
        assert thing._repr_html_().count("<img") >= pictures
    plot = landscape.plot()
    ET.fromstring(plot._repr_svg_())
    assert plot.save(tmp_path / "radii.svg").read_text("utf-8") == plot.svg
    assert "characters of SVG" in repr(plot)
    assert whence.load_ensemble(ensemble.path).codebook.units == ensemble.codebook.units


def test_top_is_pairs_and_a_table():
    top = scores_of().top("q", 2)
    assert top == [("c", 2.0), ("b", 1.0)]
    assert dict(top) == {"c": 2.0, "b": 1.0}
    assert repr(top).splitlines()[0] == "trak: query q"
    assert re.search(r"1  c +2  ± 1$", repr(top).splitlines()[1])
    assert "±" not in repr(scores_of(errors=False).top("q", 2))


def test_data_frames_have_the_columns_and_rows_of_export():
    frame = scores_of().to_pandas(top=1)
    assert frame.to_dict("list") == {
        name: list(column) for name, column in to_table(scores_of(), 1).to_pydict().items()
    } | {"units": frame["units"].tolist()}
    assert [list(units) for units in frame["units"]] == [["unit of c"]]


def test_data_frames_without_pandas(monkeypatch):
    usual = builtins.__import__

    def refuse(name, *rest):
        if name == "pandas":
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"needs pandas, which is not installed: pip install 'whence\[pandas\]'\.$"):
        scores_of().to_pandas()


def test_openers(tmp_path):
    for name in ("trak", "das"):
        scores_of().write(tmp_path / "out" / name, {})
    assert whence.load_scores(tmp_path / "out" / "trak").top("q", 1) == [("c", 2.0)]
    with pytest.raises(ArtefactError, match=r"holds several scores; name one of them: .*das \(das, trak\)"):
        whence.load_scores(tmp_path / "out")
    with pytest.raises(ArtefactError, match="does not exist"):
        whence.load_scores(str(tmp_path / "none"))
    credit_of().write(tmp_path / "credit", {}, {"estimator": "shapley", "efficient": True})
    assert whence.load_credit(str(tmp_path / "credit")).units == ("a", "b")


def test_attribution_knows_the_pictures_of_its_data(tmp_path):
    digits = load("digits").select(range(9))
    likeness = whence.pixel(digits.images([5]), ["q"], digits)
    assert data_uri(digits.pixels[5], notebook.SIDE) in likeness.top("q", 1)._repr_html_()
    assert "<img" not in scores_of().top("q", 1)._repr_html_()


def test_a_data_set_is_one_line():
    digits = load("digits").select(range(9))
    expected = f"Dataset(9 images of 8x8 in grey, 9 units, with captions, {digits.fingerprint[:12]})"
    assert repr(digits) == expected
    assert "in colour, 2 units, without captions" in repr(data_of(["a", "b"]))
