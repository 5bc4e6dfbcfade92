"""Pages about credit as a person sees them: in headless Chromium, from a file, without network."""

import pytest

from whence.report.credit import write_credit_report, write_statement


@pytest.fixture(scope="session")
def pages(folder, images, tmp_path_factory):
    """A statement for somebody below zero, and the report."""
    path = tmp_path_factory.mktemp("pages")
    return {
        "statement": write_statement(folder, "artist 1", path / "statement.html"),
        "report": write_credit_report(folder, path / "report.html"),
    }


@pytest.fixture
def page(pages):
    return pages["statement"]


@pytest.mark.parametrize("name", ["statement", "report"])
def test_it_fits_the_width_and_can_be_read(visit, pages, contrasts, looks, name):
    tab = visit(file=pages[name])
    over = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    for width, scheme in looks(tab):
        ratios = contrasts(tab)
        assert {found: ratio for found, ratio in ratios.items() if ratio < 4.5} == {}, (width, scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
        assert tab.evaluate(f"{over}.map(e => e.outerHTML.slice(0, 80))") == [], (width, scheme)
        assert tab.evaluate("[...document.images].every(one => one.complete && one.naturalWidth && one.width >= 60)")


def test_numbers_below_a_line_do_not_touch(visit):
    tab, boxes_of = visit(), "e => [...e.querySelectorAll('text')].map(t => t.getBoundingClientRect().toJSON())"
    for width in (390, 1280):
        tab.set_viewport_size({"width": width, "height": 900})
        strips = tab.locator(".strip").all()
        assert len(strips) == 5
        for strip in strips:
            boxes = sorted(strip.evaluate(boxes_of), key=lambda box: box["x"])
            assert len(boxes) >= 2
            assert all(box["width"] for box in boxes)
            assert all(a["x"] + a["width"] < b["x"] for a, b in zip(boxes, boxes[1:], strict=False))


def test_the_answer_is_on_the_first_screen_of_a_phone(visit):
    tab = visit(390)
    box = tab.locator(".brief li").first.bounding_box()
    assert box["y"] + box["height"] < 900


def test_on_paper_it_is_black_on_white_and_nothing_is_folded(visit):
    tab = visit(680, "dark")
    tab.emulate_media(media="print", color_scheme="dark")
    style = tab.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert style == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert all(one.is_visible() for one in tab.locator(".account").all())
    assert tab.evaluate("document.documentElement.scrollWidth") <= 680


def test_a_drawing_is_read_to_those_who_cannot_see_it(visit):
    tab = visit()
    assert tab.get_by_role("img", name="Shares of all 13 contributors on a line; that of artist 1 is −0").count() >= 1
