"""Runs beside each other: radius and placebo radius against the size of the training set."""

import itertools
import math
import re
import shutil
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.cli.app import main
from whence.ensemble import Ensemble
from whence.ensemble.landscape import landscapes
from whence.errors import ArtefactError, MismatchError
from whence.report.ensemble import render
from whence.report.ensemble.radii import LETTER, NARROW, EnsembleRadii, Place, _letters, compare_radii, radius_plot
from whence.report.text import number

FAR, FLAT = [3.0, *(k / 10 for k in range(9))], [0.9 - k / 20 for k in range(10)]


@pytest.fixture
def other(ensemble, tmp_path) -> Ensemble:
    """The same ensemble elsewhere, without landscapes."""
    return Ensemble.open(shutil.copytree(ensemble.path, tmp_path / "other <b>run"))


@pytest.fixture
def two(ensemble, other, write_landscape) -> list[Ensemble]:
    write_landscape(ensemble, "0/0", FAR, [k / 30 for k in range(30)])
    write_landscape(ensemble, "0/1", FLAT, [k / 20 for k in range(20)])
    write_landscape(other, "0/0", FLAT, [0.5, 0.25, 0.125])
    return [ensemble, other]


def test_figures_are_geometric_means_over_landscapes(two):
    first, second = compare_radii(two).ensembles
    readings = [one.influence() for one in landscapes(two[0])]
    assert first.radius == pytest.approx(math.sqrt(3.0 * 0.9))
    for name in ("matched", "placebo"):
        values = [getattr(one, f"{name}_radius") for one in readings]
        assert getattr(first, name) == pytest.approx(math.sqrt(values[0] * values[1]))
    assert second.radius == pytest.approx(0.9)
    assert second.placebo == pytest.approx(0.5)
    assert second.matched == pytest.approx(landscapes(two[1])[0].influence().matched_radius)
    assert first.details == "40 training images, 10 units, 6 members, 2 landscapes, compared among 10"
    assert second.details == "40 training images, 10 units, 6 members, 1 landscape, compared among 3"


def test_the_page_has_a_table_and_a_plot(two):
    source = render(two[0], beside=two[1:])
    for run in compare_radii(two).ensembles:
        cells = "".join(f"<td>{number(value)}</td>" for value in (run.radius, run.matched, run.placebo))
        assert cells in source.replace("\n", "")
    assert "<b>A</b> ens" in source
    assert "<b>B</b> other &lt;b&gt;run" in source
    assert "other <b>run" not in source
    assert source.count('<circle class="radius"') == 2
    assert 'href="#beside"' in source
    assert "may be there by luck" in source


def test_without_others_nothing_of_it_appears(two):
    source = render(two[0])
    assert 'id="beside"' not in source
    assert "Radius against training set size" not in source


def test_a_run_given_twice_counts_once(two):
    assert [run.letter for run in compare_radii([*two, two[0]]).ensembles] == ["A", "B"]


def test_where_there_is_nothing_to_compare_it_says_so(two, ensemble, write_landscape):
    shutil.rmtree(two[1].path / "landscapes")
    with pytest.raises(ArtefactError, match=r"has no landscapes to compare. First: whence ensemble landscape .*run"):
        render(two[0], beside=two[1:])
    write_landscape(two[1], "0/0", [0.0] * 10, [])
    _, second = compare_radii(two).ensembles
    assert second.numbers == ("0", "–", "–")
    assert compare_radii(two).plot.count('<circle class="radius"') == 1


def test_pictures_of_another_size_are_refused(two):
    data = two[1].data
    object.__setattr__(two[1], "data", replace(data, pixels=data.pixels[:, :, :4]))
    with pytest.raises(MismatchError, match=r"ens has 1x8x8, .*run has 1x4x8. Leave out all but one size."):
        compare_radii(two)


def test_the_command_takes_runs_beside(two, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["whence", "report", *map(str, (two[0].path, "--beside", two[1].path))])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "The report:" in capsys.readouterr().out
    assert (two[0].path / "report.html").read_text() == render(two[0], beside=two[1:])


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)), min_size=1, max_size=12))
def test_every_mark_lies_inside_the_plot(values):
    ensembles = [
        EnsembleRadii(chr(65 + k), "", images, "", radius, None, placebo)
        for k, (images, radius, placebo) in enumerate(values)
    ]
    plot = radius_plot(ensembles, "a", "b", "c")
    heights = [float(y) for y in re.findall(r'c?y="([\d.]+)%"', plot)]
    assert len(heights) >= 2 * len(values)
    assert all(0 <= y <= 100 for y in heights)
    assert all(0 <= float(x) <= 100 for x in re.findall(r'<svg x="([\d.e+-]+)%"', plot))


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([-10.0, 0.0, 10.0])), min_size=1, max_size=20))
def test_letters_never_overlap(places):
    found = _letters({chr(65 + k): Place(*place) for k, place in enumerate(places)})
    parts = [re.search(r'x="([\d.e+-]+)%".*translate\(([\d.e+-]+)\).*>([A-Z ]+)</text>', part) for part in found]
    edges = [
        (NARROW * float(part[1]) / 100 + float(part[2]), LETTER * len(part[3].split()) / 2) for part in parts if part
    ]
    assert sorted(letter for part in parts for letter in part[3].split()) == [chr(65 + k) for k in range(len(places))]
    for (a, half), (b, other_half) in itertools.pairwise(sorted(edges)):
        assert b - a >= half + other_half - 0.1
