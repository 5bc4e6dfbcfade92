import dataclasses
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from whence import artefacts
from whence.attribution.pictures import Pictures, extreme_examples
from whence.diffusion.examples import Examples
from whence.errors import ArtefactError, DataError, MismatchError
from whence.report.plot import Scale, interval_bar
from whence.report.scores import render, write_scores_report
from whence.report.scores.plots import norm_plot, norm_quantiles, share_counts, share_curve
from whence.scores.jackknife import rising
from whence.scores.scores import Estimand, Scores
from whence.similarity.attributors import pixel

QUERIES = ("0/0", "0/1", "0/2 <b>")
TEXT = re.compile(r"<style>.*?</style>|<[^>]*>", re.DOTALL)


def text_of(source: str) -> str:
    return " ".join(TEXT.sub(" ", source).split())


def noisy(data, size: float = 1.0, **changed) -> Scores:
    """Scores with errors of 8 groups; for the second query all true scores are 0."""
    source = torch.Generator().manual_seed(5)
    true = torch.randn(3, len(data), generator=source)
    true[1] = 0
    true[0, 3], true[0, 4] = 40.0, -30.0
    parts = size * (true + torch.randn(8, 3, len(data), generator=source))
    fields = {
        "scores": parts.mean(0),
        "queries": QUERIES,
        "examples": data.ids,
        "units": data.units,
        "method": "d-trak",
        "estimand": Estimand("norm of the output", "weight of an example", "this training run", "ab" * 32, "example"),
        "sign": "positive is proponent",
        "combine": "sum",
        "standard_error": parts.std(0) / 8**0.5,
        "draws": 10,
    }
    return Scores(**(fields | changed))


def write(folder, data, *methods: Scores, **inputs):
    """A folder as `whence attribute` writes it."""
    inputs = {"data": data.fingerprint, "model": "ab" * 32} | inputs
    for scores in methods:
        scores.write(folder / scores.method, inputs)
    columns = extreme_examples(methods)
    pixels = torch.from_numpy(data.pixels[columns])
    queries = Examples(methods[0].queries, data.images(range(len(methods[0].queries))))
    examples = Examples(tuple(data.ids[n] for n in columns), pixels)
    pictures = Pictures(queries, examples, tuple(data.units[n] for n in columns))
    pictures.write(folder / "pictures", inputs, {"model": "runs/<i>single", "data": "digits"})
    return folder


@pytest.fixture(scope="session")
def hostile_data(tiny_data):
    """Ids and units with markup in them."""
    ids = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', *tiny_data.ids[2:])
    units = tuple(tuple(unit.replace("u3", "<u>3</u>") for unit in own) for own in tiny_data.units)
    return dataclasses.replace(tiny_data, ids=ids, units=units)


@pytest.fixture(scope="session")
def folder(hostile_data, tmp_path_factory):
    """Three methods on 40 digits in ten units, with gradient norms; only to be read."""
    path = tmp_path_factory.mktemp("scores") / "my <i>scores"
    likeness = pixel(hostile_data.images(range(3)), QUERIES, hostile_data)
    trak = noisy(hostile_data, 1e-7, method="trak", draws=50)
    write(path, hostile_data, noisy(hostile_data), trak, likeness)
    timesteps = list(range(0, 1000, 2))
    norms = [2.0 ** (-t / 100) for t in timesteps]
    columns = {"readout": ["loss"] * 500 + ["norm"] * 500, "timestep": 2 * timesteps, "norm": 2 * norms}
    artefacts.write_table(path / "norms.parquet", columns)
    return path


@pytest.fixture(scope="session")
def page(folder, tmp_path_factory):
    return write_scores_report(folder, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="session")
def source(page):
    return page.read_text("utf-8")


@pytest.fixture(scope="session")
def text(source):
    return text_of(source)


def section(source: str, query: int) -> str:
    start = source.index(f'id="query-{query}"')
    return source[start : source.index("</section>", start)]


def test_what_was_asked_is_told(text):
    assert "40 training examples of digits influence each of 3 pictures" in text
    assert "in the model runs/&lt;i&gt;single" in text
    for words in ("norm of the output", "weight of an example", "this training run", "unsigned", "50 draws"):
        assert words in text
    assert "does not cover retraining noise" in text


def test_nothing_from_outside_is_markup_and_nothing_is_loaded(source):
    assert "<script" not in source
    assert "onerror" not in re.sub(r"&#34;&gt;&lt;img src=x onerror=alert\(2\)&gt;", "", source)
    assert not re.findall(r'(?:src|href)="(?!data:image/png|#)', source)
    assert "default-src 'none'" in source


def test_the_ends_stand_with_their_scores_and_intervals(hostile_data, source):
    scores = noisy(hostile_data)
    words = text_of(section(source, 0))
    for row, error in ((scores.scores[0], scores.standard_error[0]),):
        for n in (3, 4):
            low, high = (row[n] + side * 1.8946 * error[n] for side in (-1, 1))
            shown = f"{row[n]:.1f} {low:.1f} to {high:.1f} {hostile_data.ids[n]}".replace("-", "−")
            assert shown in words
    assert "Numbers in units of 10 −6 ." in words
    assert words.count("Proponents") == 2
    assert words.count("Largest scores") == 1


def test_what_rises_is_counted_and_where_nothing_does_that_is_said(hostile_data, source):
    scores = noisy(hostile_data)
    rises = rising(scores.scores, scores.standard_error)
    above = int((rises[0] & (scores.scores[0] > 0)).sum())
    below = int((rises[0] & (scores.scores[0] < 0)).sum())
    assert above
    assert below
    assert not rises[1].any()
    words = [text_of(section(source, q)) for q in range(3)]
    noun = "proponent" if above == 1 else "proponents"
    assert f"{above} {noun} and {below} opponent" in words[0]
    assert "Nothing rises above Monte Carlo noise for this query with 10 draws; more draws would be needed." in words[1]
    assert "Nothing above noise by any method" in words[1]
    assert "nothing rises above Monte Carlo noise by any method: 0/1" in text_of(source)


def test_filled_bars_are_those_that_rise(hostile_data, source):
    scores = noisy(hostile_data)
    rises = rising(scores.scores, scores.standard_error)
    answer = section(source, 0).split('<details class="answer"')[1]
    first = answer.index("<h5>Proponents")
    bars = re.findall(r'aria-label="(above|within) Monte', answer[first : answer.index("<h5>Units")])
    order = torch.argsort(scores.scores[0], descending=True).tolist()
    shown = [*order[:8], *order[::-1][:8]]
    assert bars == ["above" if rises[0, n] else "within" for n in shown]


def test_a_method_without_errors_has_no_intervals(source):
    pixels = section(source, 2).split('<details class="answer"')[3]
    assert "no standard errors" in pixels
    assert "Opponents" not in pixels
    assert 'class="error"' not in pixels
    assert " to " not in text_of(pixels[pixels.index("<h5>") :])


def test_every_training_image_is_held_once_and_all_shown_are_held(source):
    held = re.findall(r'<image id="(e\d+)"', source)
    used = re.findall(r'<use href="#(e\d+)"', source)
    assert len(held) == len(set(held))
    assert set(used) == set(held)
    assert len(used) > 3 * (8 + 16 + 16) - 8


def test_units_are_told_where_they_are_not_the_examples(tiny_data, tmp_path, source):
    assert "Units: the sum of their examples" in source
    assert "Units: the largest of their examples" in source
    assert "&lt;u&gt;3&lt;/u&gt;" in source
    own = dataclasses.replace(tiny_data, units=tuple((name,) for name in tiny_data.ids))
    assert "Units:" not in render(write(tmp_path / "own", own, noisy(own)))


def test_agreement_and_norms_stand_where_they_can(tiny_data, tmp_path, text):
    assert "d-trak and trak 1.00 100%" in text
    assert "would have a correlation of 0 and 25% in common" in text
    assert "Gradient norm against timestep" in text
    alone = text_of(render(write(tmp_path / "alone", tiny_data, noisy(tiny_data))))
    assert "How far the methods agree" not in alone
    assert "Gradient norm" not in alone
    assert "This method gives an estimate" in alone


def test_units_whose_errors_are_known_are_tested(tiny_data, tmp_path):
    source = torch.Generator().manual_seed(0)
    parts = torch.randn(8, 3, 40, generator=source)
    parts[:, 0, ::10] += 20
    without = (parts.sum(0) - parts) / 7
    error = (7 / 8 * (without - parts.mean(0)).square().sum(0)).sqrt()
    deviations = (without - parts.mean(0)) / error
    scores = noisy(tiny_data, scores=parts.mean(0), standard_error=error, deviations=deviations.half())
    found = render(write(tmp_path / "known", tiny_data, scores))
    units = section(found, 0)[section(found, 0).index("<h5>Units") :]
    assert "untested" not in units
    assert 'aria-label="above' in units[: units.index("u1")]
    assert "unit: not tested" not in found
    plain = render(write(tmp_path / "plain", tiny_data, dataclasses.replace(scores, deviations=None)))
    assert "unit: not tested" in plain


def test_scores_of_steps_are_named_and_set_aside(tiny_data, tmp_path):
    steps = noisy(tiny_data, method="journey-steps", queries=tuple(f"{name}@100" for name in QUERIES))
    path = write(tmp_path / "scores", tiny_data, noisy(tiny_data))
    steps.write(path / "journey-steps", {})
    assert "Not on this page: journey-steps, with scores of every step" in text_of(render(path))
    (path / "d-trak").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtefactError, match="scores of steps only"):
        render(path)


def test_of_many_queries_the_first_are_shown_and_it_is_said(folder, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("whence.report.scores.score_folder.QUERIES", 2)
    deep = noisy(tiny_data)
    deep = dataclasses.replace(deep, deviations=torch.zeros(8, *deep.scores.shape))
    render(write(tmp_path / "deep", tiny_data, deep))
    found = text_of(render(folder))
    assert "the first 2 of 3 queries" in found
    assert "0/2" not in found


def test_an_example_without_a_picture_is_still_named(tiny_data, tmp_path):
    path = write(tmp_path / "scores", tiny_data, noisy(tiny_data))
    pictures = Pictures.read(path / "pictures")
    few = dataclasses.replace(pictures, examples=Examples(("0",), pictures.examples.values[:1]), units=(("u0",),))
    few.write(path / "pictures", {})
    assert "no picture kept" in render(path)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 3)])
def test_few_examples_and_queries(tiny_data, tmp_path, size):
    count, queries = size
    data, whole = tiny_data.select(range(count)), noisy(tiny_data)
    few = dataclasses.replace(
        whole,
        scores=whole.scores[:queries, :count],
        standard_error=whole.standard_error[:queries, :count],
        queries=QUERIES[:queries],
        examples=data.ids,
        units=data.units,
    )
    still = dataclasses.replace(few, scores=0 * few.scores, standard_error=0 * few.scores, method="still")
    found = text_of(render(write(tmp_path / "few", data, few, still)))
    assert "nan" not in found.lower()


def test_what_is_not_a_folder_of_scores_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="holds no scores. First: whence attribute"):
        write_scores_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_queries_data_or_pictures_are_refused(tiny_data, tmp_path):
    path = write(tmp_path / "a", tiny_data, noisy(tiny_data))
    noisy(tiny_data, method="other", queries=("x", "y", "z")).write(path / "other", {})
    with pytest.raises(MismatchError, match="different queries or examples"):
        render(path)
    path = write(tmp_path / "b", tiny_data, noisy(tiny_data))
    noisy(tiny_data, method="other").write(path / "other", {"data": "f" * 64})
    with pytest.raises(MismatchError, match="made from different data: fingerprints"):
        render(path)
    path = write(tmp_path / "c", tiny_data, noisy(tiny_data))
    pictures = Pictures.read(path / "pictures")
    others = Examples(("x", "y", "z"), pictures.queries.values)
    dataclasses.replace(pictures, queries=others).write(path / "pictures", {})
    with pytest.raises(MismatchError, match="no picture of the query '0/0'"):
        render(path)


def test_damaged_scores_leave_the_old_report(tiny_data, tmp_path, flip_byte):
    path = write(tmp_path / "a", tiny_data, noisy(tiny_data))
    before = write_scores_report(path).read_bytes()
    flip_byte(path / "d-trak" / "scores.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        write_scores_report(path)
    assert (path / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    ("values", "power", "written"),
    [
        ([1.0, -0.5], 0, ["1.00", "−0.50"]),
        ([4321.0, 1.0], 0, ["4,321", "1"]),
        ([43210.0, -1.0], 4, ["4.32", "0.00"]),
        ([0.00123, 0.0], 0, ["0.00123", "0.00000"]),
        ([3.2e-30, -1e-30], -30, ["3.20", "−1.00"]),
        ([0.0], 0, ["0.00"]),
        ([], 0, []),
    ],
)
def test_numbers_have_one_power_and_three_digits(values, power, written):
    scale = Scale.of(values)
    assert scale.power == power
    assert [scale.number(value) for value in values] == written


@pytest.mark.parametrize("score", [2.0, -1.0, 0.0])
def test_a_bar_reaches_from_zero_to_the_score(score):
    scale = Scale.of([-2.0, 2.0])
    found = str(interval_bar(scale, score, (score - 1.0, score + 1.0)))
    x, width = (float(found.split(f'{name}="')[1].split("%")[0]) for name in ("x", "width"))
    assert (x, x + width) == pytest.approx(tuple(sorted((50.0, 50 + 25 * score))))
    ends = re.findall(r'class="error" x1="(-?[\d.]+)%" x2="(-?[\d.]+)%" y1="8"', found)
    assert [float(end) for end in ends[0]] == pytest.approx([50 + 25 * (score - 1), 50 + 25 * (score + 1)])


def test_shares_against_a_loop():
    row = torch.randn(30, generator=torch.Generator().manual_seed(0))
    sizes = sorted((abs(value) for value in row.tolist()), reverse=True)
    expected = [sum(sizes[: k + 1]) / sum(sizes) for k in range(30)]
    assert share_curve(row).tolist() == pytest.approx(expected)
    assert share_curve(torch.zeros(3)) is None
    assert share_curve(-row.abs(), unsigned=True) is None
    assert share_curve(row.abs(), unsigned=True).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1]), (2, [1]), (50, [1, 10]), (1000, [1, 10, 100]), (5000, [1, 10, 50, 100])]
)
def test_which_shares_are_told(count, expected):
    assert share_counts(count) == expected


def test_bins_against_a_loop():
    source = torch.Generator().manual_seed(0)
    timesteps = torch.randint(0, 1000, (300,), generator=source).double()
    norms = torch.rand(300, generator=source).double()
    middles, quantiles = norm_quantiles(timesteps, norms)
    low, high = timesteps.min(), timesteps.max()
    for b in range(30):
        inside = [min(29, int((t - low) / (high - low) * 30)) == b for t in timesteps]
        assert middles[b].item() == pytest.approx(timesteps[inside].mean().item())
        assert quantiles[b, 1].item() == pytest.approx(torch.quantile(norms[inside], 0.5).item())
    assert len(middles) == 30


@pytest.mark.parametrize(
    "norms", [torch.ones(5), torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]), torch.full((5,), 1e-30), torch.full((5,), 1e30)]
)
def test_any_norms_make_a_plot(norms):
    assert "nan" not in norm_plot(torch.zeros(5), norms.double(), "a", "t") + norm_plot(
        torch.arange(5), norms, "a", "t"
    )


@pytest.mark.parametrize(
    "norms", [torch.zeros(3), torch.tensor([1.0, float("nan"), 1.0]), torch.ones(2), torch.ones(0)]
)
def test_norms_that_cannot_be_drawn_are_refused(norms):
    with pytest.raises(DataError, match="finite norms"):
        norm_plot(torch.arange(3.0), norms, "a", "t")


def test_it_fits_the_width_and_can_be_read(visit, contrasts, looks):
    tab = visit()
    beyond = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    for width, scheme in looks(tab):
        ratios = contrasts(tab)
        assert len(ratios) > 10
        assert {found: ratio for found, ratio in ratios.items() if ratio < 4.5} == {}, (width, scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
        assert tab.evaluate(f"{beyond}.map(e => e.outerHTML.slice(0, 80))") == [], (width, scheme)
        sizes = tab.evaluate("[...document.querySelectorAll('.shown')].map(e => e.getBoundingClientRect().width)")
        assert min(sizes) >= 60, (width, scheme)


def test_no_text_of_a_plot_overlaps(visit, assert_plots_can_be_read):
    assert_plots_can_be_read(visit(), 3)


def test_held_images_are_painted(visit):
    """The shown digit is neither blank nor smoothed: its 64 pixels are as those of the image."""
    shown = visit(1280).locator(".shown").first
    pixels = np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("L"))
    inside = pixels[3:-3, 3:-3]
    assert inside.max() > 200
    assert inside.min() < 50
    assert len(np.unique(inside)) <= 64 + 40


def test_methods_beyond_the_first_unfold_by_click(visit, page, folder, monkeypatch, tmp_path):
    monkeypatch.setattr("whence.report.scores.OPEN", 1)
    tab = visit(390, file=write_scores_report(folder, tmp_path / "folded.html"))
    card = tab.locator("#query-0")
    assert card.locator(".ends").nth(0).is_visible()
    assert not card.locator(".ends").nth(2).is_visible()
    card.locator("summary").nth(1).click()
    assert card.locator(".ends").nth(2).is_visible()


def test_many_pairs_of_methods_are_folded(visit, hostile_data, tmp_path):
    methods = [noisy(hostile_data, method=f"method-{k}") for k in range(6)]
    file = write_scores_report(write(tmp_path / "many", hostile_data, *methods), tmp_path / "many.html")
    tab = visit(390, file=file)
    assert tab.get_by_text("The two methods that agree most are").is_visible()
    assert not tab.locator("#agreement table").is_visible()
    tab.locator("#agreement summary").click()
    assert tab.locator("#agreement tbody tr").count() == 15
