import dataclasses
import re
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from whence.cli.app import app
from whence.credit.credit import Credit, Explained
from whence.credit.stored_credit import write_credit
from whence.errors import ArtefactError, DataError, MismatchError, WhenceWarning
from whence.report import CREDIT, ENSEMBLE, page_of
from whence.report.credit import share_bar, write_credit_report, write_statement
from whence.report.credit.sentences import account, finding
from whence.report.credit.share import BehaviourShares
from whence.report.credit.statement import file_name, share_line

TEXT = re.compile(r"<style>.*?</style>|<svg.*?</svg>|<[^>]*>", re.DOTALL)


def text_of(source: str) -> str:
    return " ".join(TEXT.sub(" ", source).split())


def shared(shares, replicates=None, none=0.0, all=10.0, efficient=False) -> BehaviourShares:
    """Shares in one behaviour; replicates [R, U]."""
    names = tuple("abcdefgh"[: len(shares)])
    explained = Explained("diversity", "Diversity", "bits", None, none, all)
    drawn = None if replicates is None else np.asarray(replicates, np.float32)[:, None]
    owned = tuple((name,) for name in names)
    return BehaviourShares.of(
        Credit("one", efficient, names, owned, (explained,), np.array([shares], float), drawn, {}), "diversity"
    )


def around(shares, half: float) -> np.ndarray:
    return np.asarray(shares) + np.linspace(-half, half, 201)[:, None]


@pytest.mark.parametrize(
    ("share", "half", "verdict", "label", "sure"),
    [
        (5.0, 1.0, "above", "Above zero", "Likely from 40% to 60%. All of this range is above zero"),
        (-5.0, 1.0, "below", "Below zero", "the number is lower"),
        (0.5, 1.0, "nothing", "Could as well be nothing", "Zero lies in this range"),
        (0.0, 0.0, "nothing", "Could as well be nothing", "Zero lies in this range"),
        (5.0, None, "unknown", "Uncertainty not known", "How sure this is, is not known."),
    ],
)
def test_a_verdict_is_what_the_interval_says(share, half, verdict, label, sure):
    found = shared([share, 1.0], None if half is None else around([share, 1.0], half / 0.95))
    words = finding(found, found.of_unit("a"))
    assert (words.verdict, words.label) == (verdict, label)
    assert sure in words.certainty.replace("60.0", "60")


@pytest.mark.parametrize(
    ("none", "all", "shares", "number"),
    [
        (0.0, 10.0, [2.5, 1.0], "25%"),
        (0.0, 10.0, [-0.4, 1.0], "−4.0%"),
        (0.0, 1.0, [2.5, -2.0], "+2.50 bits"),
        (1.0, 0.0, [-0.5, 0.1], "−0.500 bits"),
        (float("nan"), 10.0, [2.5, 1.0], "+2.50 bits"),
        (0.0, 0.0, [0.0, 0.0], "0.00 bits"),
        (0.0, 0.0, [2.5e-6, 0.0], "+2.50 × 10⁻⁶ bits"),
    ],
)
def test_a_percentage_only_of_a_whole_that_no_share_exceeds(none, all, shares, number):
    found = shared(shares, none=none, all=all)
    assert finding(found, found.of_unit("a")).number == number


def test_no_percentage_where_an_interval_is_wider_than_the_whole():
    found = shared([5.0, 1.0], around([5.0, 1.0], 6.0))
    assert finding(found, found.of_unit("a")).number == "+5.0 bits"


def test_places_come_with_a_range():
    found = shared([3.0, 2.0, 1.0], [[3, 2, 1], [2, 3, 1]] * 50)
    told = {one.unit: (one.place, one.places) for one in found.shares}
    assert told == {"a": (1, (1, 2)), "b": (2, (1, 2)), "c": (3, (3, 3))}
    assert [one.place for one in shared([1.0, 2.0, 2.0]).shares] == [1, 1, 3]


@pytest.mark.parametrize(
    ("shares", "none", "all", "rest", "note"),
    [
        ([2.0, 3.0], 1.0, 10.0, "+4.00", "less than the whole"),
        ([6.0, 6.0], 1.0, 10.0, "−3.00", "more than the whole"),
        ([6.0, 6.0], float("nan"), 10.0, "not known", "not both measured"),
    ],
)
def test_an_account_adds_up_or_says_why_not(shares, none, all, rest, note):
    lines = account(shared(shares, none=none, all=all), "a")
    assert [one.number for one in lines][1:3] == [f"+{one:.2f}" for one in shares]
    assert (lines[3].title, lines[3].number) == ("Owed to nobody in particular", rest)
    assert note in lines[3].note
    numbers = [one.number.replace("−", "-") for one in lines]
    if none == none:
        assert sum(map(float, numbers[:4])) == pytest.approx(float(numbers[4]))
    else:
        assert numbers[0] == "not measured"


def test_the_remainder_of_shares_that_need_not_add_up_has_an_interval():
    found = shared([2.0, 3.0], around([2.0, 3.0], 1.0))
    assert found.remainder_interval == pytest.approx((5.0 - 1.9, 5.0 + 1.9), abs=0.01)
    assert "Likely from +3.10 to +6.90 bits." in account(found)[2].note
    assert shared([5.0, 5.0], around([5.0, 5.0], 1.0), efficient=True).remainder_interval is None


@pytest.mark.parametrize(
    ("share", "half", "style"),
    [
        (3.0, 1.0, "proponent"),
        (-3.0, 1.0, "opponent"),
        (-0.3, 1.0, "opponent within"),
        (3.0, None, "proponent untested"),
    ],
)
def test_bars_show_sign_and_doubt(share, half, style):
    found = shared([share, 4.0], None if half is None else around([share, 4.0], half))
    drawn = share_bar(found, found.of_unit("a"))
    assert f'class="{style}"' in drawn
    assert drawn.count('class="error"') == (0 if half is None else 3)


def test_a_line_has_a_mark_for_everybody():
    drawn = share_line(shared([1.0, -2.0, 3.0, 4.0]), "b")
    assert drawn.count('class="other"') == 3
    assert "Shares of all 4 contributors" in drawn


@pytest.fixture(scope="module")
def statement(folder, tmp_path_factory):
    return text_of(
        write_statement(folder, "artist 1", tmp_path_factory.mktemp("statement") / "one.html").read_text("utf-8")
    )


@pytest.mark.parametrize(
    "said",
    [
        "Every share here is an estimate.",
        "In short",
        "−",
        "Owed to nobody in particular",
        "What this does not mean",
        "It is not money",
        "128 models, each trained further",
        "It does not cover how far short training is",
        "An untrained model.",
        "Counted in other ways",
        "Leave one out",
        "How sure this is, is not known.",
        "Picture 0/1 &lt;b&gt;",
    ],
)
def test_a_statement_says(statement, said):
    assert said in statement


@pytest.mark.parametrize("claim", ["contributed", "proves", "% of the picture", "owes", "royalt", "guarantee"])
def test_a_statement_does_not_claim(statement, claim):
    assert claim not in statement


def test_a_statement_shows_the_pictures_of_the_contributor_alone(folder, images, tmp_path):
    source = write_statement(folder, "artist 5", tmp_path / "one.html").read_text("utf-8")
    own = [images.ids[n] for n in images.examples_of("artist 5")]
    assert re.findall(r'alt="Training picture ([^"]*)"', source) == own
    assert "belong to other contributors" not in source
    assert "1 of these training pictures belong" in write_statement(folder, "artist 11", tmp_path / "2").read_text(
        "utf-8"
    )


def test_the_estimator_can_be_chosen_and_the_first_adds_up(folder, tmp_path):
    told = {
        name: text_of(write_statement(folder, "artist 5", tmp_path / "one.html", name).read_text("utf-8"))
        for name in (None, "shapley", "leave-one-out", "add-one-in")
    }
    assert told[None] == told["shapley"]
    assert "hands out the whole change" in told["shapley"]
    assert "no share was rescaled" in told["leave-one-out"]
    assert "every set of contributors was measured only once" in told["add-one-in"]
    assert "Likely from" not in told["add-one-in"].partition("Counted in other ways")[0]


def test_pages_hold_no_script_and_load_nothing(folder, images, tmp_path):
    unit = next(own[0] for own in images.units if "script" in own[0])
    for page in (
        write_statement(folder, unit, tmp_path / "one.html"),
        write_credit_report(folder, tmp_path / "all.html"),
    ):
        source = page.read_text("utf-8")
        assert "<script" not in source
        assert "<b>" not in source.partition("Single pictures")[2].partition("</h3>")[0]
        assert set(re.findall(r'(?:src|href)="(?!#)([a-z]+):', source)) == {"data"}


def test_the_report_shows_every_share_and_the_remainder(folder, tmp_path):
    source = write_credit_report(folder, tmp_path / "all.html").read_text("utf-8")
    told = text_of(source)
    credits = [Credit.read(folder / name) for name in ("shapley", "leave-one-out", "add-one-in")]
    shares = sum(one.shares.size for one in credits)
    assert source.count('class="drawn"') == shares
    assert told.count("Owed to nobody in particular") == 1 + sum(len(one.explained) for one in credits)
    negative = Credit.read(folder / "shapley").shares[0, 1]
    assert negative < 0
    assert f"{negative:.3f}".replace("-", "−") in told
    assert told.index("Shapley") < told.index("Leave one out") < told.index("Add one in")


def test_of_many_contributors_those_below_zero_are_not_folded(contributed, credit_of, write_folder, tmp_path):
    images = contributed(300, [f"someone {k}" for k in range(40)])
    credit = credit_of(images, "shapley", True)
    folder = write_folder(tmp_path / "many", images, credit)
    source = write_credit_report(folder).read_text("utf-8")
    folded = re.findall(r"<summary>\d+ more contributors</summary>\s*(<table.*?</table>)", source, re.DOTALL)
    assert len(folded) == len(credit.explained)
    assert not any("opponent" in table for table in folded)
    assert source.count('class="drawn"') == credit.shares.size


def test_links_lead_to_the_tables_beside_the_page(folder, tmp_path):
    beside = shutil.copytree(folder, tmp_path / "credit")
    source = write_credit_report(beside).read_text("utf-8")
    links = re.findall(r'href="([^#"][^":]*)"', source)
    assert len(links) == 15
    assert all((beside / link).exists() for link in links)
    away = write_credit_report(folder, tmp_path / "away" / "all.html").read_text("utf-8")
    assert re.findall(r'href="([^#"][^":]*)"', away) == []


def test_pages_of_shares_that_say_nothing_of_how_are_whole(images, credit_of, write_folder, tmp_path):
    silent = dataclasses.replace(credit_of(images, "shapley", True), how={})
    folder = write_folder(tmp_path / "credit", images, silent)
    assert write_statement(folder, "artist 5").exists()
    assert write_credit_report(folder).exists()


@pytest.mark.parametrize("missing", ["data", "queries"])
def test_pages_without_pictures_are_whole(folder, tmp_path, missing):
    beside = shutil.copytree(folder, tmp_path / "credit")
    shutil.rmtree(beside / missing)
    source = write_statement(beside, "artist 5").read_text("utf-8")
    assert ("were not kept" in source) == (missing == "data")
    assert write_credit_report(beside).exists()


def test_file_names_are_plain_and_differ():
    names = ["artist 5", "../artist 5", "a/b", "a b", "a:b", "", ".", "x" * 300, "Ünal", "(none)"]
    found = [file_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert all("/" not in name and name not in ("", ".", "..") and len(name) < 80 for name in found)


def test_shares_of_former_contributors_are_removed_and_it_is_said(images, credit_of, tmp_path):
    shapley, banzhaf = credit_of(images, "shapley", True), credit_of(images, "banzhaf", False)
    for credit in (shapley, banzhaf, shapley):
        write_credit(credit, tmp_path, {}, {})
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["banzhaf", "shapley"]
    renamed = dataclasses.replace(banzhaf, units=tuple("abcdefghijklm"))
    with pytest.warns(WhenceWarning, match="of other contributors or images were removed; compute them again: shapley"):
        write_credit(renamed, tmp_path, {}, {})
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["banzhaf"]
    assert write_credit_report(tmp_path).exists()


def test_what_is_wrong_is_said(folder, images, credit_of, contributed, write_folder, tmp_path):
    with pytest.raises(DataError, match="There is no contributor 'nobody'; there are 13"):
        write_statement(folder, "nobody", tmp_path / "one.html")
    with pytest.raises(ArtefactError, match="no shares by 'banzhaf'; there are shapley"):
        write_statement(folder, "artist 5", tmp_path / "one.html", "banzhaf")
    with pytest.raises(ArtefactError, match="whence credit compute"):
        write_credit_report(tmp_path)
    other = dataclasses.replace(credit_of(images, "banzhaf", False), units=tuple("abcdefghijklm"))
    with pytest.raises(MismatchError, match="different contributors"):
        write_credit_report(write_folder(tmp_path / "two", images, credit_of(images, "shapley", True), other))
    with pytest.raises(MismatchError, match="is not the data"):
        write_credit_report(write_folder(tmp_path / "less", contributed(30), credit_of(images, "shapley", True)))
    assert [one.name for one in tmp_path.rglob("*.html")] == []


def test_the_commands(folder, tmp_path):
    beside, runner = shutil.copytree(folder, tmp_path / "credit"), CliRunner()
    assert page_of(beside) is CREDIT
    assert page_of(tmp_path) is ENSEMBLE
    said = runner.invoke(app, ["credit", "statement", str(beside), "--unit", "artist 5"])
    assert (said.exit_code, said.output.endswith("statements/artist 5.html\n")) == (0, True)
    said = runner.invoke(app, ["report", str(beside)])
    assert (said.exit_code, said.output.endswith("report.html\n")) == (0, True)
    assert (beside / "statements/artist 5.html").exists()
    assert (beside / "report.html").exists()
    refused = runner.invoke(app, ["report", str(beside), "--beside", str(beside)])
    assert refused.exit_code == 2
