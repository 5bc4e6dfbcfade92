"""What the pages of audits say, to people who are not of the field."""

import re

import numpy as np
import pytest

from whence.audit.make_data_audit import audit_data
from whence.audit.make_membership import audit_membership
from whence.audit.make_memorisation import audit_memorisation
from whence.audit.membership import PlaceboChances
from whence.data import load
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.report.audit import write_data_page, write_membership_page, write_memorisation_page
from whence.report.audit.sentences import CANNOT, _against_placebos, membership_sentences, memorisation_sentences

ACCUSING = re.compile(r"stole|theft|thief|guilty|infring|caught", re.IGNORECASE)


@pytest.fixture(scope="module")
def membership(run, digits, tmp_path_factory):
    controls = load("digits:test").select(range(40))
    place = tmp_path_factory.mktemp("pages") / "a"
    return audit_membership(run, digits.select(range(6)), controls, place, draws=8)


def test_the_first_sentence_is_about_mistakes_and_nothing_is_said_to_be_absent(membership):
    for level in (0.01, 0.2, 0.9):
        sentences = membership_sentences(membership, level)
        assert "by mistake" in sentences[0]
        assert "95% interval" in sentences[0]
        assert not ACCUSING.search(" ".join(sentences))
    assert CANNOT in membership_sentences(membership, 0.01)[1]
    assert "198 or more" in membership_sentences(membership, 0.01)[1]


def test_placebos_name_or_cannot_tell():
    few = PlaceboChances(np.array([0.5, 0.001]), 0.02, 0.0005)
    [said] = _against_placebos(few, 2, 0.01)
    assert "1 of 2 pictures" in said
    assert "This is no accusation" in said
    [said] = _against_placebos(PlaceboChances(np.array([0.5]), 0.5, 0.3), 1, 0.01)
    assert "no chance is below 30%" in said
    assert CANNOT in said


def test_the_page_of_membership(membership, digits, tmp_path):
    text = write_membership_page(membership, digits.select(range(6)), 0.1, tmp_path / "a.html").read_text("utf-8")
    assert "Were these pictures in the training data?" in text
    assert text.count("chance ") >= 6
    assert "<script" not in text


def test_the_page_of_data_sorts_without_a_script(run, digits, tmp_path):
    audit = audit_data(run, digits, tmp_path / "a", draws=8, engine=Engine(1))
    text = write_data_page(audit, digits, tmp_path / "a.html").read_text("utf-8")
    assert text.count("<article") == 24
    for column in audit.columns:
        assert f'id="by-{column.name}"' in text
        assert f"#by-{column.name}:checked" in text
        ranks = sorted(map(int, re.findall(rf"--{column.name}:(\d+);", text)))
        assert ranks == list(range(1, 25))
    assert "<script" not in text


def test_the_page_of_memorisation(run, digits, tmp_path):
    drawn = Examples(("0/0", "0/1"), load("digits:test").images([0, 1]))
    audit = audit_memorisation(run, digits, drawn, tmp_path / "a", held_out=load("digits:test").select(range(2, 60)))
    sentences = memorisation_sentences(audit)
    assert "by mistake" in sentences[0]
    assert "at most 1.7% are" in sentences[0]
    text = write_memorisation_page(audit, digits, drawn, tmp_path / "a.html").read_text("utf-8")
    assert "give back training pictures" in text
    assert not ACCUSING.search(text)
