"""The explorer as a person uses it, in headless Chromium: by mouse, by keyboard, on a phone, in light and dark."""

import re
import shutil

import pytest

from whence.ensemble import Ensemble


@pytest.fixture
def visit(browser, serve):
    """Serve a folder and open its first page; what the browser complains of or asks elsewhere for must be nothing."""
    contexts, complaints, asked, places = [], [], [], []

    def open_page(folder, address="/", width=1280, scheme="light", script=True):
        if not places or places[-1][0] != folder:
            places.append((folder, serve(folder)))
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda call: asked.append(call.url))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.goto(places[-1][1] + address)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    own = tuple(place for _, place in places)
    assert [url for url in asked if not url.startswith((*own, "data:"))] == []


@pytest.fixture
def own(measured, tmp_path):
    """A copy of `measured` that a test may change."""
    return shutil.copytree(measured, tmp_path / "ens")


def path_of(tab) -> str:
    return tab.evaluate("location.pathname + location.search")


ADDRESSES = (
    "/",
    "/picture?name=0/1",
    "/picture?name=0/2",
    "/without?picture=0/1&unit=u3",
    "/without?picture=0/1&unit=u4",
    "/unit?name=u3&picture=0/1",
    "/where?q=u",
)


def test_pages_fit_the_width_and_can_be_read(visit, measured, contrasts, wait_until, looks):
    tab = visit(measured, "/", 390)
    base = tab.url.rstrip("/")
    for address in ADDRESSES:
        tab.goto(base + address)
        tab.evaluate("document.querySelectorAll('img').forEach(one => { one.loading = 'eager' })")
        wait_until(lambda: tab.evaluate("[...document.images].every(one => one.complete && one.naturalWidth)"))
        for look in looks(tab):
            assert tab.evaluate("document.documentElement.scrollWidth") <= look[0], (address, look)
            assert {found: ratio for found, ratio in contrasts(tab).items() if ratio < 4.5} == {}, (address, look)


def test_a_click_draws_the_picture_without_a_contributor(visit, own):
    tab = visit(own, "/", 390)
    tab.get_by_role("link", name="0/0", exact=True).last.click()
    tab.get_by_role("button", name="Draw it without unit u4").click()
    tab.wait_for_url("**/without?**")
    assert path_of(tab) == "/without?picture=0%2F0&unit=u4"
    assert tab.get_by_role("heading", name="Picture 0/0 without unit u4").count() == 1
    assert tab.get_by_alt_text("Picture 0/0, placebo", exact=True).count() == 1
    tab.reload()
    assert tab.get_by_text("What was removed").count() == 1
    assert (own / "ablations/0-0/u4/manifest.json").exists()


@pytest.mark.slow
def test_a_training_image_leads_to_the_picture_without_its_units(visit, own):
    tab = visit(own, "/picture?name=0/1")
    name = tab.locator(".effect .id").first.text_content()
    tab.locator(".effect figure a").first.click()
    assert tab.get_by_role("heading", name=f"Training image {name}").count() == 1
    unit = Ensemble.open(own).data.units[Ensemble.open(own).data.index_of(name)][0]
    button = tab.get_by_text(re.compile(f"ithout unit {unit}"))
    assert button.count() == 1
    button.click()
    tab.wait_for_url("**/without?**")
    assert tab.get_by_text("What was removed").count() == 1


@pytest.mark.slow
def test_everything_works_by_keyboard(visit, own):
    tab = visit(own, "/picture?name=0/2")
    for _ in range(30):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    focus = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle + document.activeElement.textContent")
    assert focus == "solidCompute exact losses"
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/picture?**by=losses")
    assert "placebos" in tab.locator("#answer").text_content()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "To the content"


@pytest.mark.slow
def test_without_script_the_page_follows_by_itself(visit, own):
    tab = visit(own, "/picture?name=0/3", script=False)
    tab.get_by_role("button", name="Compute exact losses").click()
    tab.wait_for_url("**/picture?**by=losses")
    assert tab.locator("#answer").count() == 1


@pytest.mark.slow
def test_a_picture_is_drawn_from_a_prompt_and_opened(visit, styled, tmp_path):
    tab = visit(shutil.copytree(styled, tmp_path / "ens"))
    tab.get_by_label("Prompt", exact=True).fill("a two in style 1")
    tab.get_by_label("Seed").fill("9")
    tab.get_by_role("button", name="Draw it", exact=True).click()
    tab.wait_for_url("**/picture?**")
    assert tab.get_by_role("heading", name="Picture 9/0").count() == 1
    assert tab.get_by_text("“a two in style 1”").count() == 1


def test_a_picture_of_ones_own_is_asked_about(visit, own, picture_file):
    tab = visit(own, "/", 390, "dark")
    tab.get_by_label("PNG or JPEG").set_input_files(
        {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture_file(300, 200, "JPEG")}
    )
    tab.get_by_role("button", name="Show who it is made of").click()
    tab.get_by_role("button", name="Compute exact losses").click()
    tab.wait_for_url("**/picture?**by=losses")
    assert "upload-" in tab.get_by_role("heading", level=1).text_content()
    assert tab.locator(".effect").count() > 3


@pytest.mark.slow
def test_a_search_leads_from_an_image_to_its_pictures(visit, scored, picture_file):
    tab = visit(scored, "/where")
    tab.get_by_label("Id, caption or contributor").fill("anna")
    tab.keyboard.press("Enter")
    tab.get_by_role("link", name="anna", exact=True).first.click()
    assert "stands out for" in tab.locator("#answer").text_content()
    tab.locator(".match h3 a").first.click()
    assert path_of(tab).startswith("/picture?name=")
    tab.get_by_role("link", name="Where is my image?").click()
    tab.get_by_label("PNG or JPEG").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": picture_file()}
    )
    tab.get_by_role("button", name="Find the nearest").click()
    tab.get_by_role("heading", name="Nearest by pixels").wait_for()


@pytest.mark.slow
def test_no_text_of_the_plot_overlaps_another(visit, measured, assert_no_text_overlaps):
    tab = visit(measured, "/picture?name=0/1", 390)
    assert_no_text_overlaps(tab.locator(".plot"))
    tab.set_viewport_size({"width": 1280, "height": 900})
    assert_no_text_overlaps(tab.locator(".plot"))
