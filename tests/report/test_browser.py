"""The report as a person sees it: in headless Chromium, from a file, without network."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from whence.ensemble import Ensemble
from whence.report import write_report
from whence.report.ensemble.radii import EnsembleRadii, radius_plot


@pytest.fixture(scope="session")
def empty_page(tiny_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory):
    """The report of an ensemble whose pictures have not been drawn again."""
    return write_report(tiny_ensemble, tmp_path_factory.mktemp("empty") / "report.html")


@pytest.fixture(scope="session")
def page(full: Ensemble, tmp_path_factory: pytest.TempPathFactory):
    """The report of `full`, beside itself under another name."""
    other = Ensemble.open(shutil.copytree(full.path, tmp_path_factory.mktemp("beside") / "the other run"))
    return write_report(full, tmp_path_factory.mktemp("page") / "report.html", beside=[other])


def test_it_fits_the_width_and_shows_every_picture(visit, looks):
    tab = visit()
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    overflowing = (
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    )
    for width, scheme in looks(tab):
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
        assert tab.evaluate(f"{overflowing}.map(e => e.outerHTML.slice(0, 80))") == [], (width, scheme)
        sizes = tab.evaluate("[...document.images].map(e => [e.complete, e.naturalWidth, e.width >= 60])")
        assert len(sizes) > 40
        assert all(complete and natural == 8 and large for complete, natural, large in sizes), (width, scheme)
    assert len(tab.screenshot(full_page=True)) > 10_000


def test_all_text_can_be_read_in_light_and_dark_which_differ(visit, contrasts, contrast, luminance):
    tab = visit()
    for scheme, dimmest, brightest in (("light", 0.8, 1.0), ("dark", 0.0, 0.05)):
        tab.emulate_media(color_scheme=scheme)
        ratios = contrasts(tab)
        assert len(ratios) > 10
        assert {found: ratio for found, ratio in ratios.items() if ratio < 4.5} == {}, scheme
        body = tab.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
        assert contrast(*body) >= 7, scheme
        assert dimmest <= luminance(body[1]) <= brightest, scheme


def test_what_is_folded_opens_by_click(visit):
    tab = visit(390)
    inside = tab.get_by_text("training.learning_rate")
    assert not inside.is_visible()
    tab.get_by_text("Settings, versions and fingerprints").click()
    assert inside.is_visible()


def test_a_picture_leads_to_its_card(visit):
    tab = visit()
    tab.locator(".gallery a", has_text="0/4").click()
    card = tab.locator(".card", has=tab.get_by_role("heading", name="Picture 0/4", exact=True))
    assert 0 <= card.bounding_box()["y"] < 900


def test_the_pictures_of_a_comparison_stand_side_by_side(visit):
    tab = visit()
    for width in (390, 1280):
        tab.set_viewport_size({"width": width, "height": 900})
        boxes = [one.bounding_box() for one in tab.locator(".counterfactual").first.locator("img").all()]
        assert len(boxes) == 3
        assert len({round(box["y"]) for box in boxes}) == 1
        assert all(a["x"] + a["width"] < b["x"] for a, b in zip(boxes, boxes[1:], strict=False))


def test_no_text_of_a_plot_overlaps_another(visit, assert_plots_can_be_read):
    assert_plots_can_be_read(visit(), 5)


def test_no_text_overlaps_whatever_runs_are_compared(visit, page, tmp_path, assert_no_text_overlaps):
    """Their plots stand one below another in the place of the one of the page."""
    compared = [[128, 256, 256, 512, 1024, 1500], [1, 1_000_000], [40] * 6, [100, 101, 102, 103]]
    plots = []
    for k, sizes in enumerate(compared):
        ensembles = [
            EnsembleRadii(chr(65 + n), "", size, "", 3.0 / (n + 1), None, 1e-3) for n, size in enumerate(sizes)
        ]
        plots.append(str(radius_plot(ensembles, f"runs-{k}", f"Runs {k}", "")))
    source = page.read_text("utf-8")
    end = source.index("</svg>\n<figcaption>", source.index('aria-labelledby="beside-plot'))
    start = source.rindex('<svg class="plot"', 0, end)
    file = tmp_path / "compared.html"
    file.write_text(source[:start] + "\n".join(plots) + source[end + 6 :], "utf-8")
    tab = visit(file=file)
    for width in (390, 1280):
        tab.set_viewport_size({"width": width, "height": 900})
        for k in range(len(compared)):
            assert_no_text_overlaps(tab.get_by_role("img", name=f"Runs {k}", exact=True))


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_named_units_stand_out_of_the_plot(visit, width, scheme):
    """Two dots of ten pixels in the colour of a hint; where nobody is named only the line of the threshold has it."""
    tab = visit(width, scheme)
    colour = tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--hint')")
    wanted = [int(colour.strip()[k : k + 2], 16) for k in (1, 3, 5)]
    found = []
    for heading in ("Picture 0/0", "Picture 0/3"):
        card = tab.locator(".landscape", has=tab.get_by_role("heading", name=heading, exact=True))
        pixels = np.asarray(Image.open(io.BytesIO(card.locator(".plot").screenshot())).convert("RGB")).astype(int)
        found.append((abs(pixels - wanted).max(axis=2) < 12).sum(axis=1))
    named, nobody = found
    assert 120 < (named - np.where(named > 40, named, 0)).sum() < 180
    assert (nobody[nobody < 40]).sum() == 0


def test_a_plot_is_read_to_those_who_cannot_see_it(visit):
    tab = visit()
    plot = tab.get_by_role("img", name="Picture 0/0: distances and placebos", exact=True)
    assert plot.count() == 1
    assert "family-wise error" in plot.locator("desc").text_content()
    assert tab.get_by_role("img", name="Radius and placebo radius against the number of training images").count() == 1


def test_a_page_without_ablations_is_whole(visit, empty_page):
    tab = visit(390, file=empty_page)
    assert tab.get_by_text("--nearest 3").first.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
