"""Pages with names, ids and captions that try to run, to mislead or to break the layout."""

import pytest

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.credit.score_credit import write_score_credit
from whence.data import load
from whence.diffusion.examples import Examples
from whence.diffusion.training import train
from whence.engine import Engine
from whence.ensemble import sample, train_ensemble
from whence.ensemble.make_landscape import landscape
from whence.report import write_report
from whence.report.credit import write_credit_report, write_statement
from whence.report.scores import write_scores_report

HOSTILE = {
    "a script": "<script>window.hit = 1</script>",
    "an attribute": "\"><img src=x onerror='window.hit = 1'>",
    "a link": "javascript:window.hit=1",
    "a template": "{{ 7 * 7 }}{% raise %}${7*7}",
    "entities": "&lt;b&gt; &amp; ]]> --> </style></svg>",
    "right to left": "\u202eevil\u202c \u2066live\u2069",
    "without width": "anna\u200b\u200d\ufeff",
    "a long word": "x" * 10_000,
    "many lines": "a\nb\t" * 50,
}


@pytest.fixture(scope="session")
def pages(tmp_path_factory, tiny_config):
    """A page of every kind, by name, of twelve images of nine hostile contributors with hostile ids and captions."""
    root, names = tmp_path_factory.mktemp("hostile"), list(HOSTILE.values())
    digits = load("digits").select(range(12))
    ids = tuple(f"{n}{names[n % 9]}" for n in range(12))
    units, captions = tuple((names[n % 9],) for n in range(12)), tuple(names[n % 9] for n in range(12))
    data = digits.with_fields(ids=ids, units=units, captions=captions, classes=captions)
    train(data, root / "run", tiny_config, engine=Engine(1))
    queries = Examples(tuple(names), load("digits:test").images(range(9)))
    attribute(root / "run", data, queries, "trak", config=AttributionConfig(draws=8), out=root / "scores")
    write_score_credit(root / "scores", root / "credit", data)
    ensemble = train_ensemble(data, root / "ens", members=6, config=tiny_config, engine=Engine(1))
    sample(ensemble, count=2, engine=Engine(1))
    landscape(ensemble, ["0/0"], placebos=3, engine=Engine(1))
    return {
        "scores": write_scores_report(root / "scores"),
        "credit": write_credit_report(root / "credit"),
        "ensemble": write_report(ensemble),
        **{f"statement of {kind}": write_statement(root / "credit", name) for kind, name in HOSTILE.items()},
    }


@pytest.fixture
def page():
    """None: every test names its own."""


@pytest.mark.parametrize("kind", ["scores", "credit", "ensemble", *(f"statement of {kind}" for kind in HOSTILE)])
def test_nothing_runs_and_the_layout_holds(pages, visit, kind):
    tab = visit(file=pages[kind])
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.evaluate("window.hit") is None
    assert tab.evaluate("document.querySelectorAll('body script, img[src=x], a[href^=javascript]').length") == 0
    for width in (390, 1280):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("kind", ["scores", "credit"])
def test_names_are_shown_as_they_are(pages, visit, kind):
    text = visit(file=pages[kind]).evaluate("document.body.textContent")
    for name in ("<script>window.hit = 1</script>", "{{ 7 * 7 }}{% raise %}${7*7}"):
        assert name in text
