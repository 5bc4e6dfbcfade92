"""Sections are measured once, of one bank, and have the columns that the page shows."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from whence.attribution.attributor import no_progress
from whence.attribution.methods import METHODS
from whence.cli.app import app
from whence.errors import ConfigError, MismatchError
from whence.evaluation.bank import Bank
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.development import choose_damping, develop
from whence.evaluation.leaderboard.measure import (
    MEASURED,
    SECTIONS,
    leaderboard_cost,
    measure,
    read_sections,
    unmeasured_sections,
)
from whence.evaluation.leaderboard.page import write_page
from whence.evaluation.leaderboard.scores import chosen_methods, stored_scores
from whence.evaluation.prediction.retraining_methods import make_folds

COLUMNS = {
    "lds": {
        "held-out": "trak random pixel tangent tracin",
        "drawn": "trak random journey-trak",
        "held-out squared": "trak random",
        "drawn squared": "trak random journey-trak",
        "difference to best": "random journey-trak",
    },
    "deterministic": {"50%": "trak random pixel-cosine journey-trak"},
    "runtime": {"seconds": "trak pixel journey-trak tracin", "draws": "trak"},
    "measures": {
        "unique in top 10": "trak random pixel",
        "recurring in half": "trak random pixel",
        "class in top 10": "trak random pixel",
        "traced first": "trak random pixel",
        "traced in top 10": "trak random pixel",
        "outliers AUC": "trak random pixel-dot tracin",
        "outliers found": "trak random",
        "repeatability": "trak random tracin",
    },
    "calibration": {"R2": "trak random pixel tracin", "slope": "tracin"},
    "ensemble": {"rank correlation": "trak random pixel", "recall at 10": "trak random pixel"},
}


@pytest.fixture(scope="module")
def measured(made_board, tmp_path_factory) -> Board:
    """A leaderboard with all sections."""
    work = shutil.copytree(made_board.work, tmp_path_factory.mktemp("measured") / "work")
    board = Board(made_board.bank, work, made_board.config, workers=1)
    measure(board)
    return board


@pytest.mark.slow
@pytest.mark.parametrize("section", COLUMNS)
def test_columns(measured, section):
    found = read_sections(measured.work)[section]
    for column, methods in COLUMNS[section].items():
        assert set(methods.split()) <= set(found.column(column)), column
    assert found.notes


@pytest.mark.slow
def test_curves(measured):
    found = read_sections(measured.work)
    assert {name: [one.x for one in points] for name, points in found["draws"].curves["lds over draws"].items()} == {
        name: [8.0, 12.0] for name in ("tangent", "d-trak", "trak", "das")
    }
    damped = found["choices"].curves["damping"]
    assert set(damped) == {"tangent", "d-trak", "trak", "journey-trak", "das"}
    assert [one.x for one in damped["trak"]] == [0.01, 1.0, 10.0]


@pytest.mark.slow
def test_scores_have_the_damping_of_the_board(measured):
    own = {one.name: one.damping for one in chosen_methods(measured) if one.damped}
    seen = develop(measured)[12].lds
    for one in stored_scores(measured):
        if one.name in own:
            assert one.manifest.made["config"]["damping"] == own[one.name]
            assert own[one.name] == choose_damping(METHODS[one.name], seen[one.name])


@pytest.mark.slow
def test_what_is_there_is_not_measured_again(measured):
    before = {path: path.stat().st_mtime_ns for path in measured.work.glob("*.json")}
    again, told = Board(measured.bank, measured.work, measured.config, workers=1), []
    measure(again, tell=told.append)
    assert told == []
    assert unmeasured_sections(again) == []
    assert {path: path.stat().st_mtime_ns for path in measured.work.glob("*.json")} == before
    assert leaderboard_cost(again).seconds == 0


@pytest.mark.slow
def test_other_settings_are_measured(measured):
    config = measured.config.model_copy(update={"traced": 3})
    assert unmeasured_sections(Board(measured.bank, measured.work, config)) == list(MEASURED)


@pytest.mark.slow
def test_another_pool_is_measured(measured, tmp_path):
    bank = Bank.open(shutil.copytree(measured.bank.path, tmp_path / "bank"))
    shutil.rmtree(bank.path / "pools" / "deterministic-50%")
    assert unmeasured_sections(Board(Bank.open(bank.path), measured.work, measured.config)) == ["deterministic"]


@pytest.mark.slow
def test_another_bank_is_refused(measured, base, monkeypatch):
    monkeypatch.setitem(base.manifest.made, "seed", 1)
    with pytest.raises(MismatchError, match="leaderboard of another bank"):
        measure(Board(base, measured.work, measured.config))


def test_no_such_section(board):
    with pytest.raises(ConfigError, match="no section 'ldss'"):
        measure(board, ["ldss"])


def test_interrupted_it_continues(board):
    def broken(title):
        if title == "scores":
            raise KeyboardInterrupt
        return no_progress(title)

    with pytest.raises(KeyboardInterrupt):
        measure(Board(board.bank, board.work, board.config, workers=1, progress=broken), ["choices", "lds"])
    assert unmeasured_sections(board, ["choices", "lds"]) == ["lds"]
    measure(board, ["lds"])
    assert unmeasured_sections(board, ["choices", "lds"]) == []


def test_fewer_draws_start_anew(board):
    config = board.config.model_copy(update={"draws": (8,), "methods": ("trak",)})
    fewer = Board(board.bank, board.work, config, workers=1)
    assert develop(fewer)[8].lds["trak"] == develop(board)[8].lds["trak"]


def test_no_fold_is_predicted_from_its_own_losses(whole_bank):
    pool, other = whole_bank.pool("test"), Bank.open(whole_bank.path)
    before, losses = make_folds(whole_bank), pool.losses.copy()
    losses[before[0].rows] += np.random.default_rng(0).normal(size=losses[before[0].rows].shape)
    vars(other)["pools"] = {**whole_bank.pools, "test": replace(pool, losses=losses)}
    after = make_folds(other)
    for name, scores in before[0].scores.items():
        np.testing.assert_array_equal(scores, after[0].scores[name])
        assert not np.array_equal(before[1].scores[name], after[1].scores[name])


def test_plan_writes_nothing(whole_bank, board_config, tmp_path):
    config = board_config.model_copy(update={"methods": ("trak",), "ensemble_methods": ("trak",)})
    planned = leaderboard_cost(Board(whole_bank, tmp_path / "new", config, workers=1))
    assert planned.seconds > 0
    assert planned.work.startswith(", ".join(MEASURED))
    assert not (tmp_path / "new").exists()


def test_command(whole_bank, tmp_path):
    words = ["leaderboard", str(whole_bank.path), "--work", str(tmp_path / "new"), "--only", "ldss"]
    wrong = CliRunner().invoke(app, words)
    assert isinstance(wrong.exception, ConfigError)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_measure_of_ones_own_is_one_file_and_one_registration(measured, monkeypatch, tmp_path):
    docs = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text("utf-8")
    _, code = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
    names = {}
    exec(code, names)
    spec = names["CONCENTRATION"]
    monkeypatch.setitem(SECTIONS, spec.name, spec)
    monkeypatch.setitem(MEASURED, spec.name, spec.measure)
    measure(measured, [spec.name])
    page = write_page(measured.work, tmp_path).read_text()
    (measured.work / "concentration.json").unlink()
    assert "## Concentration" in page
    assert "| method | share of the top 10 |" in page
