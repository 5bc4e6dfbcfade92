"""The Python of the pages runs, and prints what they say it prints."""

import re
import runpy
from pathlib import Path

import pytest

from whence.evaluation.prediction.lds import bank_lds
from whence.scores.stored import read_scores

NAMES = runpy.run_path(str(Path(__file__).parent / "pages.py"))
PAGES, blocks = NAMES["PAGES"], NAMES["blocks"]
TESTS = Path(__file__).parent.parent
#: Pages with Python, and the test that runs it.
RUN_BY = {
    "README.md": "test_readme.py",
    "docs/attribution.md": "test_readme.py",
    "docs/credit.md": "credit/test_worked_examples.py",
    "docs/evaluation.md": "evaluation/leaderboard/test_measure.py",
    "docs/examples.md": "docs/test_python.py",
    "docs/extending.md": "test_readme.py",
    "docs/ranker.md": "similarity/test_ranker.py",
    "docs/scores.md": "docs/test_python.py",
    "docs/text-to-image.md": "cli/test_text_to_image.py",
}


def test_all_python_of_the_pages_is_run_by_some_test():
    assert {page for page, text in PAGES.items() if blocks(text, "python")} == set(RUN_BY)
    for page, test in RUN_BY.items():
        assert Path(page).name in (TESTS / test).read_text("utf-8")


def test_the_small_example_of_scores(capsys):
    code, _ = blocks(PAGES["docs/scores.md"], "python")
    exec(code, {})
    assert capsys.readouterr().out == "tensor([[0.1875, 0.1250]])\n"
    for number in ("0.1875", "0.125"):
        assert f"**{number}**" in PAGES["docs/scores.md"]


def test_a_method_of_ones_own_joins_a_comparison(tmp_path, monkeypatch, tiny_bank):
    """On a bank of 24 images in place of the shipped one."""
    monkeypatch.chdir(tmp_path)
    [code] = blocks(PAGES["docs/examples.md"], "python")
    assert "draws=16" in code
    assert 'Bank.open("digits")' in code
    names: dict = {}
    exec(code.replace("draws=16", "draws=8").replace('"digits"', repr(str(tiny_bank.path))), names)
    tables = bank_lds(names["bank"], read_scores([Path("compared")]))
    for table in tables.values():
        assert {row.name for row in table.rows} == {"own", "d-trak", "random"}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


@pytest.mark.slow
def test_the_example_of_scores_with_digits(capsys):
    """Numbers to the last digit that is shown, and what the text says about them."""
    _, code = blocks(PAGES["docs/scores.md"], "python")
    shown = next(text for text in blocks(PAGES["docs/scores.md"]) if text.startswith("image "))
    names: dict = {}
    exec(code.replace("config=config", "config=config, engine=whence.Engine(1)"), names)
    made = capsys.readouterr().out
    assert re.sub(r"\d", "0", made) == re.sub(r"\d", "0", shown)
    assert numbers(made) == pytest.approx(numbers(shown), rel=0.03, abs=1.01e-4)
    row, error = names["row"], names["scores"].standard_error[0]
    best, next_one = row.topk(2).indices.tolist()
    assert round(float(row[best] / row.median())) == 26
    assert round(float(row[best] / error[best])) == 13
    assert float((row[best] - row[next_one]) / error[[best, next_one]].norm()) == pytest.approx(2.5, abs=0.2)
