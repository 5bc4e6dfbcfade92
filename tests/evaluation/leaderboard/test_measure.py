"""Sections are measured once, of one bank, and have the columns that the page shows."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from whence.attribution.attributor import no_progress
from whence.attribution.methods import METHODS
from whence.cli.app import app
from whence.errors import ConfigError, MismatchError
from whence.evaluation.bank import Bank
from whence.evaluation.leaderboard.attributions import attributions, chosen_methods
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.collect import collect
from whence.evaluation.leaderboard.damping import damping_of
from whence.evaluation.leaderboard.folds import folds
from whence.evaluation.leaderboard.leaderboard_cost import leaderboard_cost
from whence.evaluation.leaderboard.measure import STEPS, measure, missing
from whence.evaluation.leaderboard.sections import read_sections

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


@pytest.mark.parametrize("section", COLUMNS)
def test_columns(measured, section):
    found = read_sections(measured.work)[section]
    for column, methods in COLUMNS[section].items():
        assert set(methods.split()) <= set(found.column(column)), column
    assert found.notes


def test_curves(measured):
    found = read_sections(measured.work)
    assert {name: [one.x for one in points] for name, points in found["draws"].curves["lds over draws"].items()} == {
        name: [8.0, 12.0] for name in ("tangent", "d-trak", "trak", "das")
    }
    damped = found["choices"].curves["damping"]
    assert set(damped) == {"tangent", "d-trak", "trak", "journey-trak", "das"}
    assert [one.x for one in damped["trak"]] == [0.01, 1.0, 10.0]


def test_scores_have_the_damping_of_the_board(measured):
    own = {one.name: one.damping for one in chosen_methods(measured) if one.damped}
    seen = collect(measured)[12].measured
    for one in attributions(measured):
        if one.name in own:
            assert one.manifest.made["config"]["damping"] == own[one.name]
            assert own[one.name] == damping_of(METHODS[one.name], seen[one.name])


def test_what_is_there_is_not_measured_again(measured):
    before = {path: path.stat().st_mtime_ns for path in measured.work.glob("*.json")}
    again, told = Board(measured.bank, measured.work, measured.config, workers=1), []
    measure(again, told=told.append)
    assert told == []
    assert missing(again) == []
    assert {path: path.stat().st_mtime_ns for path in measured.work.glob("*.json")} == before
    assert leaderboard_cost(again).seconds == 0


def test_other_settings_are_measured(measured):
    config = measured.config.model_copy(update={"traced": 3})
    assert missing(Board(measured.bank, measured.work, config)) == list(STEPS)


def test_another_pool_is_measured(measured, tmp_path):
    bank = Bank.open(shutil.copytree(measured.bank.path, tmp_path / "bank"))
    shutil.rmtree(bank.path / "pools" / "deterministic-50%")
    assert missing(Board(Bank.open(bank.path), measured.work, measured.config)) == ["deterministic"]


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
    assert missing(board, ["choices", "lds"]) == ["lds"]
    measure(board, ["lds"])
    assert missing(board, ["choices", "lds"]) == []


def test_fewer_draws_start_anew(board):
    config = board.config.model_copy(update={"draws": (8,), "methods": ("trak",)})
    fewer = Board(board.bank, board.work, config, workers=1)
    assert collect(fewer)[8].measured["trak"] == collect(board)[8].measured["trak"]


def test_no_fold_is_predicted_from_its_own_losses(whole_bank):
    pool, other = whole_bank.pool("test"), Bank.open(whole_bank.path)
    before, losses = folds(whole_bank), pool.losses.copy()
    losses[before[0].rows] += np.random.default_rng(0).normal(size=losses[before[0].rows].shape)
    vars(other)["pools"] = {**whole_bank.pools, "test": replace(pool, losses=losses)}
    after = folds(other)
    for name, scores in before[0].scores.items():
        np.testing.assert_array_equal(scores, after[0].scores[name])
        assert not np.array_equal(before[1].scores[name], after[1].scores[name])


def test_plan_writes_nothing(whole_bank, board_config, tmp_path):
    config = board_config.model_copy(update={"methods": ("trak",), "ensemble_methods": ("trak",)})
    planned = leaderboard_cost(Board(whole_bank, tmp_path / "new", config, workers=1))
    assert planned.seconds > 0
    assert planned.work.startswith(", ".join(STEPS))
    assert not (tmp_path / "new").exists()


def test_command(whole_bank, tmp_path):
    words = ["leaderboard", str(whole_bank.path), "--work", str(tmp_path / "new"), "--only", "ldss"]
    wrong = CliRunner().invoke(app, words)
    assert isinstance(wrong.exception, ConfigError)
    assert not (tmp_path / "new").exists()
