"""What the pages of audits say, to people who are not of the field."""

import re

import numpy as np
import pytest

from whence import artefacts
from whence.audit.make_data_audit import audit_data
from whence.audit.make_membership import audit_membership
from whence.audit.make_memorisation import audit_memorisation
from whence.audit.membership import MembershipAudit, PlaceboChances
from whence.data import load
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.errors import MismatchError
from whence.report.audit import write_data_page, write_membership_page, write_memorisation_page
from whence.report.audit.data_page import CAUTION
from whence.report.audit.membership_sentences import OPEN, _against_placebos, membership_sentences
from whence.report.audit.memorisation_sentences import hit_words, memorisation_sentences

ACCUSING = re.compile(r"stole|theft|thief|guilty|infring|caught", re.IGNORECASE)


@pytest.fixture(scope="module")
def controls():
    return load("digits:test").select(range(40))


@pytest.fixture(scope="module")
def membership(run, digits, controls, tmp_path_factory):
    return audit_membership(run, digits.select(range(6)), controls, tmp_path_factory.mktemp("pages") / "a", draws=8)


def of_statistics(path, pictures, controls):
    """An audit of given statistics."""

    def build(part):
        for name, values in {"pictures": pictures, "controls": controls}.items():
            ids = [f"{name} {n}" for n in range(len(values))]
            artefacts.write_table(part / f"{name}.parquet", {"id": ids, "statistic": np.array(values, np.float64)})
        return {"notes": [], "placebos": None}

    artefacts.ensure(path, MembershipAudit.kind, inputs={}, made={"seed": 0}, build=build)
    return MembershipAudit.open(path)


def test_the_first_sentence_is_about_mistakes_and_nothing_is_said_to_be_absent(membership):
    for level in (0.2, 0.9):
        first, verdict, *_ = sentences = membership_sentences(membership, level)
        assert "20 pictures that the model never saw, it wrongly marked" in first
        assert "probably" in first
        assert verdict.startswith(("Hint: ", "No answer: "))
        assert not ACCUSING.search(" ".join(sentences))


def test_with_too_few_comparison_pictures_that_is_said_first_and_nothing_else(membership):
    first, *others = membership_sentences(membership, 0.01)
    assert first == "No answer: 40 comparison pictures were given; 198 are needed for 1 mistake in 100."
    assert others == [f"{OPEN} The answer for all 6 together is left out too."]


def test_the_verdict_follows_from_marks_and_the_warning_stands_once(tmp_path):
    comparison = np.linspace(-2, 2, 400)
    hint = membership_sentences(of_statistics(tmp_path / "a", [9.0, 9.0, 0.0], comparison), 0.01)
    assert hint[1].startswith("Hint: 2 of 3 pictures are marked")
    assert hint[1].endswith("pictures 0, pictures 1.")
    assert " ".join(hint).count("no accusation") == 1
    one = membership_sentences(of_statistics(tmp_path / "b", [9.0], comparison), 0.01)
    assert one[1].startswith("Hint: the picture is marked")
    assert "together" not in " ".join(one)
    none = membership_sentences(of_statistics(tmp_path / "c", [0.0, -1.0], comparison), 0.01)
    assert none[1] == f"No answer: none of the 2 pictures is marked. {OPEN}"
    assert "accusation" not in " ".join(none)
    group = membership_sentences(of_statistics(tmp_path / "d", np.full(20, 1.5), comparison), 0.01)
    assert group[1].startswith("Hint: no picture is marked on its own, but all 20 together")


def test_expected_mistakes_follow_from_the_measured_rate(tmp_path):
    comparison = np.linspace(-2, 2, 400)
    audit = of_statistics(tmp_path / "a", [9.0, 9.0], comparison)
    share = audit.test(0.1).alarms
    sentence = membership_sentences(audit, 0.1)[2]
    assert f"1 mistake in {round(1 / (2 * share.value))} such tests" in sentence
    assert f"not more than 1 mistake in {max(2, round(1 / (2 * share.interval.high)))} such tests" in sentence


def test_placebos_mark_or_give_no_answer():
    few = PlaceboChances(np.array([0.5, 0.001]), 0.02, 0.0005)
    said = _against_placebos(few, 2, 0.01)
    assert "test is weak" in said[0]
    assert said[1].startswith("Hint: 1 of 2 pictures is marked")
    assert "may be in the training data" in said[-1]
    assert " ".join(said).count("no accusation") == 1
    said = _against_placebos(PlaceboChances(np.array([0.5]), 0.5, 0.3), 1, 0.01)
    assert said[1].startswith("No answer: ")
    assert "rarer than 30%" in said[1]


def test_the_page_of_membership(membership, digits, controls, tmp_path):
    def page(level):
        pictures, out = digits.select(range(6)), tmp_path / "a.html"
        return write_membership_page(membership, pictures, controls, level, out, model="runs").read_text("utf-8")

    text = page(0.1)
    assert "Were these pictures in the training data?" in text
    assert "model runs · page of 20" in text
    assert "Some of the comparison pictures" in text
    assert text.count("<figure") == 16
    assert "<script" not in text
    percentages = re.findall(r'<span class="line">([\d.]+%)</span>', text)
    assert len(percentages) == 6
    assert {len(one.partition(".")[2]) for one in percentages} == {2}
    assert text.count('class="marked"') == membership.test(0.1).found.sum()
    assert "There are no percentages" in page(0.01)
    assert not re.search(r'class="line">[\d.]+%', page(0.01))
    with pytest.raises(MismatchError):
        write_membership_page(membership, digits.select(range(6)), None, 0.1, tmp_path / "b.html", model="runs")


def test_the_page_of_data_sorts_without_a_script(run, digits, tmp_path):
    audit = audit_data(run, digits, tmp_path / "a", draws=8, engine=Engine(1))
    text = write_data_page(audit, digits, tmp_path / "a.html", model="run").read_text("utf-8")
    assert text.count("<article") == 24
    assert "All 24 images" in text
    assert "<b>0</b>" not in text
    assert text.index(CAUTION) < text.index("<article")
    assert 'id="by-copies"' not in text  # all have one
    for column in audit.columns:
        if not audit.standing_out(column.name, 1):
            continue
        assert f'id="by-{column.name}"' in text
        assert f"#by-{column.name}:checked" in text
        ranks = sorted(map(int, re.findall(rf"--{column.name}:(\d+);", text)))
        assert ranks == list(range(1, 25))
    assert "<script" not in text


def test_the_page_of_memorisation(run, digits, tmp_path):
    drawn = Examples(("0/0", "0/1"), load("digits:test").images([0, 1]))
    audit = audit_memorisation(run, digits, drawn, tmp_path / "a", held_out=load("digits:test").select(range(2, 60)))
    sentences = memorisation_sentences(audit)
    assert "of 2 pictures about 0.03 would be called a copy by mistake (1.7%)" in sentences[0]
    assert sentences[1].startswith("0 of 2 drawn pictures are called copies")
    text = write_memorisation_page(audit, digits, drawn, tmp_path / "a.html", model="run").read_text("utf-8")
    assert "nearly the same as training pictures?" in text
    assert "drawn picture 0/1" in text
    assert not ACCUSING.search(text)


def test_below_a_limit_that_the_user_chose_nothing_is_called_a_copy(run, digits, tmp_path):
    drawn = Examples(("0/0", "0/1"), load("digits:test").images([0, 1]))
    audit = audit_memorisation(run, digits, drawn, tmp_path / "a", threshold=0.999)
    said = " ".join([*memorisation_sentences(audit), *(hit_words(audit, hit) for hit in audit.hits)])
    assert f"{len(audit.hits)} of 2 drawn pictures" in said
    assert "is nearest to" in said
    page = write_memorisation_page(audit, digits, drawn, tmp_path / "a.html", model="run").read_text("utf-8")
    assert "below the limit that the user chose" in page
    for text in (said, page):
        assert "called a cop" not in text
        assert "are copies" not in text
