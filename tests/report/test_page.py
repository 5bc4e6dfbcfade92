import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from whence.engine import Engine
from whence.ensemble import Ensemble, ablate_each, ablations, sample, train_ensemble
from whence.errors import ArtefactError
from whence.report import write_report
from whence.report.ensemble import render
from whence.report.ensemble.ablation_card import comparison
from whence.report.text import number, unit_phrase


class Reader(HTMLParser):
    """Tags with their attributes, and the text, as a browser takes them from the page."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def source(page: Path) -> str:
    return page.read_text("utf-8")


@pytest.fixture(scope="module")
def reader(source: str) -> Reader:
    return Reader(source)


def test_every_picture_is_there_by_name(reader):
    names = [f"0/{k}" for k in range(5)] + [f"1/{k}" for k in range(3)]
    assert set(names) <= set(" ".join(reader.texts).split())
    assert "Pictures 0/0 to 0/4 Drawn by all 6 members." in reader.text
    assert "Pictures 1/0 to 1/2, drawn without unit u2 No member that drew them was trained on unit u2." in reader.text


def test_every_ablation_is_told_with_its_distances(full, reader):
    found = ablations(full)
    assert len(found) == 5
    for one in found:
        figures = comparison(one)
        assert (figures.distance, figures.placebo) == (one.distance, one.placebo_distance)
        head = f"{figures.title} {figures.label} {figures.sentence} Picture {one.sample} → "
        story = reader.text.partition(head)[2].partition("What ")[0]
        told = [f"{number(d)} from picture {one.sample}, drawn by 3 members" for d in (one.distance, figures.placebo)]
        assert re.fullmatch(rf".* Change {told[0]} .* Placebo Change {told[1]} ", story), story


def test_a_card_shows_what_was_removed_and_what_is_alike(full, reader):
    assert reader.text.count("Closest training images by pixels: a likeness, not a cause") == 2
    assert reader.text.count("What was removed") == 4
    assert reader.text.count("What these members saw") == 1
    assert reader.text.count("Closest units, each by its most similar image:") == 2
    for n in full.data.examples_of("u3"):
        assert f" {full.data.ids[n]} " in reader.text


def test_twins_are_pointed_out(full, reader):
    unit = unit_phrase(full.data.units[1])
    assert f"identical twin, {full.data.ids[1]} of {unit}, which was not removed:" in reader.text


def test_keep_only_is_told_the_other_way_round(reader):
    assert "Only members that saw unit u3" in reader.text
    assert "Drawn only by the members that saw unit u3, the picture moves by" in reader.text


def test_what_it_proves_and_how_it_was_made_are_told(full, reader):
    for expected in (
        "40 training images in 10 units",
        "not an estimate",
        "no p-value",
        "near copies are not searched for",
        full.manifest.fingerprint,
        full.data.fingerprint,
        "training.learning_rate 0.002",
        "torch",
        "member 5",
        "a note <script>alert(1)</script>",
    ):
        assert expected in reader.text
    assert f"whence ensemble ablate '{full.path}' --sample 0/4 --unit" in reader.text


def test_names_from_users_are_text_and_nothing_else(full, source, reader):
    assert reader.count("script") == reader.count("i") == 0
    assert full.path.name in reader.text
    assert not [attributes for _, attributes in reader.tags if {name for name in attributes if name.startswith("on")}]
    for name in (full.data.ids[0], full.codebook.units[0], full.codebook.units[1], full.data.captions[0]):
        assert name in reader.text
        assert name not in source


def test_the_page_needs_nothing_else(source, reader):
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", source))
    assert {"script", "link", "iframe", "object", "embed", "base", "form"}.isdisjoint(tag for tag, _ in reader.tags)
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(pictures) > 40
    for attributes in pictures:
        assert set(attributes) == {"src", "alt"}
        assert attributes["src"].startswith("data:image/png;base64,")
        assert attributes["alt"]
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    places = {attributes.get("id") for _, attributes in reader.tags}
    assert all(link.startswith("#") and link[1:] in places for link in links)


def test_a_policy_forbids_everything_but_its_own_pictures_and_styles(reader):
    policies = [a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_same_ensemble_gives_the_same_page(full, source):
    assert render(full) == source


def test_the_page_lies_in_the_ensemble_and_leaves_it_whole(ensemble):
    out = write_report(ensemble)
    assert out == ensemble.path / "report.html"
    assert write_report(ensemble) == out
    assert Ensemble.open(ensemble.path).manifest == ensemble.manifest
    assert not list(ensemble.path.glob(".*.tmp"))


def test_pictures_without_ablations_come_with_the_command(ensemble):
    text = Reader(render(ensemble)).text
    assert "No picture has been drawn again without a unit yet." in text
    assert f"whence ensemble ablate {ensemble.path} --sample 0/3 --nearest 3" in text
    assert "No picture has been drawn yet" not in text


def test_no_pictures_come_with_the_command(ensemble):
    sample(ensemble, count=1, seed=3, without=["u1"], engine=Engine(1))
    (ensemble.path / "samples" / "0").rename(ensemble.path / "elsewhere")
    text = Reader(render(ensemble)).text
    assert "Picture 3/0, drawn without unit u1" in text
    assert "First, all members must draw pictures: whence ensemble sample" in text
    (ensemble.path / "samples" / "3-without-u1").rename(ensemble.path / "elsewhere too")
    text = Reader(render(ensemble)).text
    assert f"No picture has been drawn yet. This command draws some: whence ensemble sample {ensemble.path}" in text


def test_a_large_run_is_cut_and_says_so(full, monkeypatch):
    monkeypatch.setattr("whence.report.ensemble.PICTURES", 2)
    monkeypatch.setattr("whence.report.ensemble.SETS", 1)
    monkeypatch.setattr("whence.report.ensemble.ABLATIONS", 2)
    monkeypatch.setattr("whence.report.ensemble.ablation_card.SHOWN", 1)
    text = Reader(render(full)).text
    for said in ("3 more pictures", "1 more picture set", "3 more ablations", "3 more training images"):
        assert f"… and {said}, not shown here." in text
    assert "8 pictures drawn 5 drawn again" in text
    assert text.count("To compare: as many members") == 2
    assert "shown smaller" not in text


def test_shrunk_pictures_are_called_so(full, monkeypatch):
    monkeypatch.setattr("whence.report.ensemble.LARGE", 7)
    monkeypatch.setattr("whence.report.ensemble.CRISP", 7)
    reader = Reader(render(full))
    assert "Pictures are shown smaller than they are; distances are those of the full pictures." in reader.text
    assert ("body", {}) in reader.tags


def test_where_no_code_word_is_left_there_is_no_placebo(tiny_data, tiny_config, tmp_path):
    six = replace(tiny_data, units=tuple((f"u{n % 6}",) for n in range(len(tiny_data))))
    crowded = train_ensemble(six, tmp_path / "ens", members=4, config=tiny_config, engine=Engine(1))
    sample(crowded, count=1, engine=Engine(1))
    ablate_each(crowded, [("0/0", ["u1"]), ("0/0", ["u2"])], engine=Engine(1))
    text = Reader(render(crowded)).text
    assert "Without unit u1 No placebo to compare with Without unit u1 the picture moves by" in text
    assert "0 of 2 pictures moved at least 1.5 times as far as their placebo, 2 had none." in text
    assert "To compare:" not in text


def test_pictures_of_another_ensemble_are_not_shown(ensemble, full):
    theirs = full.path / "samples" / "1-without-u2"
    shutil.copytree(theirs, ensemble.path / "samples" / theirs.name)
    assert "1/0" not in Reader(render(ensemble)).text


@pytest.mark.parametrize("name", ["data/pixels.safetensors", "samples/0/pictures.safetensors"])
def test_damaged_pictures_are_refused(ensemble, flip_byte, name):
    flip_byte(ensemble.path / name)
    with pytest.raises(ArtefactError, match="damaged"):
        write_report(ensemble)
    assert not (ensemble.path / "report.html").exists()
