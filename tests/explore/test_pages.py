"""Pages, tables and links of the three kinds of collections."""

import csv
import io
import re

import pytest
import torch

import whence
from whence.ensemble import Ensemble
from whence.ensemble.ablation import ablations
from whence.ensemble.losses import Losses
from whence.explore.make_collection import open_collection
from whence.similarity.attributors import pixel


def tables_of(visitor, address: str):
    """The same page as JSON and as CSV, which must agree."""
    page = visitor.json(address)
    answer = visitor.get(f"{address}{'&' if '?' in address else '?'}format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == len(page["rows"])
    for row, other in zip(rows, page["rows"], strict=True):
        assert list(row) == list(other)
    return page


def links(page: str) -> set[str]:
    return {link.replace("&amp;", "&") for link in re.findall(r'(?:href|src)="(/[^"]*)"', page)}


@pytest.mark.parametrize("kind", ["measured", "styled", "scored", "shared", "shared_alone"])
def test_every_link_of_every_page_leads_somewhere(visitor, request, kind):
    """From the first page on; nothing is loaded from elsewhere, and no script or style is inside a page."""
    someone, seen, waiting = visitor(request.getfixturevalue(kind)), set(), ["/"]
    while waiting and len(seen) < 150:
        address = waiting.pop(0)
        if address in seen:
            continue
        seen.add(address)
        answer = someone.get(address)
        assert answer.status_code == 200, address
        if answer.headers["content-type"].startswith("text/html"):
            assert not re.search(r"(?:href|src|action)=\"(?!/|data:|#)", answer.text)
            assert "style=" not in answer.text
            assert not re.search(r"<script(?! src=\"/static/explore.js\")", answer.text)
            waiting += sorted(links(answer.text) - seen)
    assert {"/static/report.css", "/where"} <= seen
    assert any(address.startswith("/picture") for address in seen)


def test_the_first_page_lists_searches_and_pages(visitor, measured, monkeypatch):
    someone = visitor(measured)
    page = tables_of(someone, "/")
    assert [row["name"] for row in page["rows"]] == ["0/0", "0/1", "0/2", "0/3", "1/0 without u2", "1/1 without u2"]
    assert [row["name"] for row in tables_of(someone, "/?q=WITHOUT")["rows"]] == ["1/0 without u2", "1/1 without u2"]
    assert "No picture has this" in someone.get("/?q=nothing-like-it").text
    monkeypatch.setattr("whence.explore.page.PICTURES", 4)
    assert [len(re.findall(r'src="/png\?', someone.get(f"/?page={k}").text)) for k in (1, 2)] == [4, 2]
    assert someone.get("/?page=3").status_code == 404


def test_prompts_stand_below_pictures_and_are_searched(visitor, styled):
    page = visitor(styled).get("/?q=STYLE+2").text
    assert page.count("“a three in style 2”") == 2
    assert '<input type="text" name="prompt"' in page


def test_effects_are_those_of_exact_losses(visitor, measured):
    ensemble = Ensemble.open(measured)
    [folder] = (measured / "losses").glob("*/manifest.json")
    influence = Losses.open(folder.parent, ensemble.codebook).influence_on("0/1")
    page = tables_of(visitor(measured), "/picture?name=0/1")
    order = [influence.units[u] for u in influence.order]
    assert [row["unit"] for row in page["rows"]] == order
    for row in page["rows"]:
        u = influence.units.index(row["unit"])
        assert row["effect"] == influence.effects[u].item()
        assert row["corrected_chance"] == influence.adjusted_p_values[u].item()
    assert page["answer"] == whence.ensemble.influence.conclusion(influence, "increase")


def test_a_landscape_is_read_with_its_placebos(visitor, measured):
    [drawn] = whence.landscapes(Ensemble.open(measured))
    influence = drawn.influence()
    page = tables_of(visitor(measured), "/picture?name=0/3")
    assert [row["unit"] for row in page["rows"]] == [influence.units[u] for u in influence.order]
    assert [row["effect"] for row in page["rows"]] == sorted(influence.effects.tolist(), reverse=True)
    assert {row["verdict"] for row in page["rows"]} == {"too few placebos to tell"}
    assert page["answer"] == whence.ensemble.influence.conclusion(influence)


def test_likeness_stands_beside_influence(visitor, measured):
    ensemble = Ensemble.open(measured)
    likeness = pixel(whence.sample(ensemble, count=4).pictures[:1], ["0/0"], ensemble.data).by_unit()
    nearest = dict(zip(likeness.examples, (-likeness.scores[0]).tolist(), strict=True))
    someone = visitor(measured)
    rows = someone.json("/picture?name=0/0")["rows"]
    assert {row["unit"]: row["distance"] for row in rows} == pytest.approx(nearest, abs=0.02)
    page = someone.get("/picture?name=0/0").text
    assert 'aria-labelledby="scatter-title"' in page
    assert "10 dots, one for each contributor" in page


def test_a_picture_without_a_reading_offers_one(visitor, measured):
    page = visitor(measured).get("/picture?name=0/2").text
    assert "Compute exact losses" in page
    assert "has not been measured yet" in page


def test_scores_are_those_of_the_folder_with_their_errors(visitor, scored):
    page = tables_of(visitor(scored), "/picture?name=a.png&by=tangent")
    scores = open_collection(scored).folder.scores["tangent"]
    row = dict(zip(scores.examples, scores.row("a.png").tolist(), strict=True))
    assert {one["image"]: one["effect"] for one in page["rows"]} == row
    assert [one["effect"] for one in page["rows"]] == sorted(row.values(), reverse=True)
    assert all(one["low"] < one["effect"] < one["high"] for one in page["rows"])


def test_scores_and_credit_have_no_exact_picture_and_say_why(visitor, scored, shared):
    for path in (scored, shared):
        page = visitor(path).get("/picture?name=a.png").text
        assert "a single model has seen all of them" in page
        assert 'action="/without"' not in page
        assert 'action="/draw"' not in page


def test_contributors_have_their_scores_together(visitor, scored):
    someone = visitor(scored)
    rows = {row["unit"]: row["effect"] for row in someone.json("/picture?name=a.png&by=tangent:units")["rows"]}
    collection = open_collection(scored)
    units = collection.folder.scores["tangent"].by_unit()
    assert rows == dict(zip(units.examples, units.row("a.png").tolist(), strict=True))
    assert set(rows) == {"anna", "ben", "cleo"}


def test_credit_shows_shares_and_whether_they_could_be_nothing(visitor, shared):
    page = tables_of(visitor(shared), "/picture?name=a.png")
    credit = next(iter(open_collection(shared).folder.credits.values()))
    own = dict(zip(credit.units, credit.shares[credit.index_of("a.png")].tolist(), strict=True))
    assert {row["unit"]: row["effect"] for row in page["rows"]} == own
    assert {row["verdict"] for row in page["rows"]} <= {"above zero", "below zero", "could as well be nothing"}


def test_where_is_my_image_by_id_contributor_and_caption(visitor, measured, scored):
    someone = visitor(measured)
    page = tables_of(someone, "/where?q=u3")
    assert page["units"] == ["u3"]
    first = open_collection(measured).training.ids[0]
    assert tables_of(someone, f"/where?q={first}")["rows"][0]["image"] == first
    assert "No training image has this" in someone.get("/where?q=zzz").text
    assert visitor(scored).json("/where?q=anna")["units"] == ["anna"]


def test_an_image_names_the_pictures_that_it_mattered_for(visitor, measured, scored):
    training = open_collection(measured).training
    someone = visitor(measured)
    page = tables_of(someone, f"/image?id={training.ids[0]}")
    assert {row["picture"] for row in page["rows"]} == {"0/0", "0/1", "0/3"}
    assert {row["unit_or_image"] for row in page["rows"]} == set(training.units[0])
    assert page["rows"] == tables_of(someone, f"/unit?name={training.units[0][0]}")["rows"]
    assert re.fullmatch(r"It stands out for (none|\d) of 3 pictures that were measured\.", page["answer"])
    scores = open_collection(scored)
    rows = visitor(scored).json(f"/image?id={scores.training.ids[5]}")["rows"]
    assert [row["effect"] for row in rows] == pytest.approx(
        [scores.folder.scores["tangent"].row(row["picture"])[5].item() for row in rows]
    )


def test_permalinks_give_the_same_answer_on_every_visit(explore, measured, visitor):
    for address in ("/picture?name=0/1", "/without?picture=0/1&unit=u3", "/unit?name=u3"):
        first, second = visitor(measured), visitor(measured)
        assert first.json(address) == first.json(address) == second.json(address)


def test_a_removal_that_was_drawn_is_shown_with_its_placebo(visitor, measured):
    [ablation] = ablations(Ensemble.open(measured))
    someone = visitor(measured)
    page = tables_of(someone, "/without?picture=0/1&unit=u3")
    assert page["drawn"]
    assert {row["picture"]: row["distance"] for row in page["rows"]} == {
        "counterfactual": ablation.distance,
        "placebo": ablation.placebo_distance,
    }
    html = someone.get("/without?picture=0/1&unit=u3").text
    assert "What was removed" in html
    assert "Draw it without unit u4" in someone.get("/without?picture=0/1&unit=u4").text


def test_pictures_that_not_all_members_drew_say_why_they_cannot_be_drawn_again(visitor, measured):
    page = visitor(measured).get("/without?picture=1/0+without+u2&unit=u3").text
    assert "was not drawn by all members" in page
    assert "<button>" not in page


def test_one_image_of_each_picture_is_its_own(visitor, measured):
    someone = visitor(measured)
    samples = whence.sample(Ensemble.open(measured), count=4)
    for name, picture in zip(samples.names, samples.pictures, strict=True):
        shown = someone.get(f"/png?picture={name}")
        assert shown.headers["content-type"] == "image/png"
        from whence.data.pixels import decode
        from whence.images import to_pixels

        assert torch.equal(
            torch.from_numpy(decode(shown.content, name, channels=1)), torch.from_numpy(to_pixels(picture))
        )
