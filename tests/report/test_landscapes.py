"""What the report says of landscapes: who is named, nobody, or that it can't be told."""

import itertools
import re
from html.parser import HTMLParser

import pytest
import torch

from whence import artefacts, images
from whence.ensemble.influence import Influence
from whence.ensemble.landscape import Landscape, landscapes
from whence.errors import ArtefactError
from whence.report.ensemble import render
from whence.report.ensemble.landscape_card import distance_plot, landscape_cards
from whence.report.ensemble.unit import TrainingImages
from whence.report.picture import SMALL, data_uri
from whence.report.plot import SIDE
from whence.report.text import number
from whence.statistics.ticks import linear_ticks, log_ticks

UNITS = [f"u{k}" for k in range(10)]
#: Ten units take 199 placebos at a family-wise error of 5%.
ENOUGH, FEW = [k / 199 for k in range(199)], [k / 198 for k in range(198)]
FLAT = [0.9 - k / 20 for k in range(10)]
FAR = [0.1, 0.2, 3.0, 0.3, 0.4, 0.5, 0.6, 2.0, 0.7, 0.8]


class Text(HTMLParser):
    """The text of a page, without its pictures' descriptions; ids of its elements."""

    def __init__(self, source: str):
        super().__init__()
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        self.texts.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.texts).split())


def card(ensemble, landscape):
    (found,) = landscape_cards([landscape], TrainingImages(ensemble.data, ensemble.codebook))
    return found


CASES = {
    "two units are named": (FAR, ENOUGH, "2 units named", "Above the placebos", ["Unit u2", "Unit u7"], "Above 199"),
    "nobody": (
        FLAT,
        ENOUGH,
        "Nobody in particular",
        "Largest, but not above the placebos",
        ["Unit u0", "Unit u1", "Unit u2"],
        "One distance of more than 0.995 would have been named; the largest is 0.9.",
    ),
    "one placebo too few, however large a distance": (
        FAR,
        FEW,
        "Too few placebos to name anybody",
        "Largest, but not shown to be above placebos: there are too few",
        ["Unit u2", "Unit u7", "Unit u9"],
        "it takes 199 placebos, and there are 198.",
    ),
    "no placebos": (
        FAR,
        [],
        "No placebos to name anybody",
        "Largest, but not shown to be above placebos: there are too few",
        ["Unit u2", "Unit u7", "Unit u9"],
        "it takes 199 placebos, and there are 0.",
    ),
    "nothing ever changes": (
        [0.0] * 10,
        [0.0] * 199,
        "Nobody in particular",
        "Largest, but not above the placebos",
        ["Unit u0", "Unit u1", "Unit u2"],
        "One distance of more than 0 would have been named; the largest is 0.",
    ),
}


@pytest.mark.parametrize(("units", "placebos", "label", "heading", "shown", "said"), CASES.values(), ids=CASES)
def test_who_is_named(ensemble, write_landscape, units, placebos, label, heading, shown, said):
    landscape = write_landscape(ensemble, "0/1", units, placebos)
    found = card(ensemble, landscape)
    assert (found.label, found.heading, [row.title for row in found.rows]) == (label, heading, shown)
    assert said in found.verdict[0]
    text = str(Text(render(ensemble)))
    for sentence in (label, heading, *found.verdict, *shown, *(words for _, words in found.keys)):
        assert sentence in text
    for value, words in found.radii:
        assert f"{value} {words}" in text
    for row in found.rows:
        told = f"Chance alone {row.alone}, corrected {row.corrected}." if placebos else "Chance alone"
        assert (f"{row.distance} away, drawn by 3 members. {told}" in text) == bool(placebos)
    assert ("threshold" in dict(found.keys)) == (len(placebos) >= 199)


def test_the_figures_are_those_of_the_reading(ensemble, write_landscape):
    landscape = write_landscape(ensemble, "0/1", FAR, ENOUGH)
    found, reading = card(ensemble, landscape), landscape.influence()
    keys = dict(found.keys)
    assert keys["named"] == "named: above the placebos (2)"
    assert keys["most"] == "largest placebo, 0.995: 2 units above it; 0.05 by chance"
    assert keys["band"] == "middle 90% of the placebos, 0.050 to 0.945"
    assert keys["threshold"] == "one unit alone would be named above 0.995"
    assert [value for value, _ in found.radii] == [number(3.0), number(reading.placebo_radius)]
    assert [(row.distance, row.alone, row.corrected) for row in found.rows] == [
        ("3.00", ".005", ".050"),
        ("2.00", ".005", ".050"),
    ]


def test_with_fewer_placebos_than_units_the_radius_is_told_of_as_many(ensemble, write_landscape):
    landscape = write_landscape(ensemble, "0/1", FAR, [0.5, 0.7])
    values, words = zip(*card(ensemble, landscape).radii, strict=True)
    assert words == (
        "radius: the largest distance of 10 units",
        "the largest of 2 of these units, on average",
        "placebo radius: the largest of 2 placebos",
    )
    assert values == ("3.00", number(landscape.influence().matched_radius), "0.700")


def test_a_unit_is_shown_in_pictures(ensemble, write_landscape):
    landscape = write_landscape(ensemble, "0/1", FAR, ENOUGH)
    row = card(ensemble, landscape).rows[1]
    assert [one.name for one in row.examples] == [ensemble.data.ids[n] for n in ensemble.data.examples_of("u7")]
    assert [one.text for one in row.pictures] == [
        "Picture 0/1",
        "Picture 0/1 without unit u7",
        "Picture 0/1 without unit u7: what changed, mid grey where nothing did",
    ]
    source = render(ensemble)
    assert all(one.source in source for one in row.pictures)
    assert len({one.source for one in row.pictures}) == 3


def test_units_left_out_together_have_a_card(ensemble, write_landscape):
    together = next(
        [a, b]
        for a, b in itertools.combinations(UNITS, 2)
        if (~ensemble.codebook.bits[:, ensemble.codebook.columns([a, b])]).all(1).any()
    )
    found = card(ensemble, write_landscape(ensemble, "0/1", [0.97], ENOUGH, together))
    assert found.label == found.heading == "Above the placebos"
    assert found.title == f"Picture 0/1, without units {' and '.join(together)} together"
    found = card(ensemble, write_landscape(ensemble, "0/2", [0.5], ENOUGH, together))
    assert found.label == found.heading == "Not above the placebos"
    assert len(found.verdict) == 1
    assert found.radii == ()


@pytest.mark.parametrize("placebos", [[], [0.5], ENOUGH], ids=len)
@pytest.mark.parametrize("units", [FAR, FLAT, [0.0] * 10], ids=["far", "flat", "zero"])
def test_the_marks_of_the_plot_lie_where_the_distances_are(ensemble, write_landscape, units, placebos):
    landscape = write_landscape(ensemble, "0/1", units, placebos)
    found = card(ensemble, landscape)
    top = 1.06 * max(units + placebos) or 1.0
    paths = dict(re.findall(r'<path class="(\w+)" d="([^"]*)"', found.plot))
    dots = [
        tuple(map(float, place))
        for name in ("named", "units")
        for place in re.findall(r"M([\d.]+) ([\d.]+)h0", paths.get(name, ""))
    ]
    assert len(re.findall("M", paths.get("named", ""))) == len(landscape.influence().influential)
    for k, ((x, y), distance) in enumerate(zip(dots, sorted(units, reverse=True), strict=True)):
        assert x == pytest.approx(SIDE * (k + 0.5) / len(units), abs=0.51)
        assert SIDE - y == pytest.approx(SIDE * distance / top, abs=0.6)
    assert ("beside" in paths) == bool(placebos)
    assert found.plot.count("<line class=") - found.plot.count('class="grid"') == (2 if len(placebos) >= 199 else 1) * (
        bool(placebos)
    )


def test_many_units_make_no_larger_a_plot():
    generator = torch.Generator().manual_seed(0)
    many = torch.rand(60_000, generator=generator, dtype=torch.float64)
    reading = Influence("0/0", tuple(map(str, range(60_000))), many, many[:3000])
    assert len(distance_plot(reading, "a", "b", "c")) < 80_000


@pytest.mark.parametrize("nasty", ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "&lt;b>"])
def test_words_in_a_plot_are_text(nasty):
    reading = Influence(nasty, (nasty,), torch.tensor([1.0]), torch.rand(30))
    plot = distance_plot(reading, "a", nasty, nasty)
    assert nasty not in plot
    assert str(Text(plot)).count(nasty) == 3


def test_names_of_units_are_text_and_nothing_else(full):
    source = render(full)
    names = full.codebook.units[:2]
    reading = next(one for one in landscapes(full) if one.sample == "0/0").influence()
    assert reading.influential == list(names)
    text = str(Text(source))
    for name in names:
        assert name not in source
        assert f"Unit {name}" in text
    assert "units: " + ", ".join(names) in text


def test_without_landscapes_there_is_no_section(tiny_ensemble):
    page = Text(render(tiny_ensemble))
    assert "landscapes" not in page.ids
    assert "Landscape" not in str(page)
    assert "counterfactuals" in page.ids
    assert "--samples 0/0" in str(page) or "--samples 0/3" in str(page)


def test_with_landscapes_alone_nothing_says_that_nothing_was_drawn_again(ensemble, write_landscape):
    write_landscape(ensemble, "0/1", FLAT, FEW)
    page = Text(render(ensemble))
    assert "counterfactuals" not in page.ids
    assert "No picture has been drawn again" not in str(page)
    assert "0 drawn again without something" not in str(page)
    assert "1 drawn without each unit: landscapes" in str(page)
    assert "0/1 0/2" in str(page)
    assert 'href="#landscape-0">0/1</a>' in render(ensemble)


def test_outcomes_limits_and_the_way_to_ask_about_fewer_are_told(ensemble, write_landscape):
    write_landscape(ensemble, "0/0", FAR, ENOUGH)
    write_landscape(ensemble, "0/1", FLAT, ENOUGH)
    write_landscape(ensemble, "0/2", FAR, FEW)
    text = str(Text(render(ensemble)))
    assert (
        "Of 3 landscapes, 1 name somebody, 1 nobody in particular, and 1 can't name anybody because there are too "
        "few placebos."
    ) in text
    assert f"whence ensemble influence {ensemble.path} --sample 0/2 --nearest 9" in text
    assert text.count("6 members give at most 21 independent numbers on a picture") == 2
    assert "Every counterfactual is exact. Which unit mattered is a statistic, with an error." in text


def test_of_a_landscape_only_what_is_shown_is_read(ensemble, write_landscape, monkeypatch):
    landscape = write_landscape(ensemble, "0/1", FAR, ENOUGH)
    read, opened = artefacts.read_tensors, []

    def counting(path):
        opened.append((path.parent.name, path.stem))
        return read(path)

    def everything(self):
        raise AssertionError("all pictures at once")

    monkeypatch.setattr(artefacts, "read_tensors", counting)
    monkeypatch.setattr(Landscape, "counterfactuals", everything)
    monkeypatch.setattr(Landscape, "placebos", everything)
    found = card(ensemble, Landscape.open(landscape.path))
    assert len(list((landscape.path / "shards").iterdir())) == 53
    assert [name for folder, name in opened if folder == "shards"] == ["00000", "00000", "00002"]
    assert len(found.rows) == 2


def test_pictures_are_those_of_the_landscape(ensemble, write_landscape):
    landscape = write_landscape(ensemble, "0/1", FAR, ENOUGH)
    row = card(ensemble, landscape).rows[0]
    without = landscape.counterfactual("u2")
    assert row.pictures[1].source == data_uri(images.to_pixels(without), SMALL)
    assert row.pictures[2].source == data_uri(images.difference(landscape.factual, without), SMALL)


def test_many_landscapes_and_names_are_cut_and_say_so(ensemble, write_landscape, monkeypatch):
    monkeypatch.setattr("whence.report.ensemble.LANDSCAPES", 1)
    monkeypatch.setattr("whence.report.ensemble.landscape_card.NAMED", 1)
    monkeypatch.setattr("whence.report.ensemble.unit.EXAMPLES", 2)
    write_landscape(ensemble, "0/0", FAR, ENOUGH)
    write_landscape(ensemble, "0/1", FAR, ENOUGH)
    text = str(Text(render(ensemble)))
    for said in ("1 more landscape", "1 more named unit", "2 more training images"):
        assert f"… and {said}, not shown here." in text
    assert text.count("2 units named") == 1
    assert "Of 2 landscapes, 2 name somebody" in text


@pytest.mark.parametrize("file", ["shards/00001.safetensors", "distances.safetensors", "units.parquet"])
def test_a_damaged_landscape_is_refused(ensemble, write_landscape, flip_byte, file):
    flip_byte(write_landscape(ensemble, "0/1", FAR, ENOUGH).path / file)
    with pytest.raises(ArtefactError, match="damaged"):
        render(ensemble)


def test_ticks_are_few_and_inside():
    for power in range(-6, 7):
        for lead in (1.0, 1.3, 2.0, 3.7, 5.0, 7.77, 9.99):
            top = lead * 10.0**power
            ticks = linear_ticks(top)
            assert 2 < len(ticks) <= 6
            assert ticks[0] == 0
            assert 0.5 * top < ticks[-1] <= top * (1 + 1e-9)
            for factor in (2.5, 10.0, 400.0, 1e5):
                ticks = log_ticks(top, top * factor)
                assert 2 <= len(ticks) <= 7
                assert ticks == sorted(set(ticks))
                assert top <= ticks[0]
                assert ticks[-1] <= top * factor
