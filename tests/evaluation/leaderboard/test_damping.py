"""The damping is chosen on the development pool and queries, and on nothing else."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.attribution.methods import METHODS
from whence.attribution.scoring import Seen
from whence.evaluation.bank import Bank, Pool
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.collect import collect
from whence.evaluation.leaderboard.damping import chosen, development_lds, grid, tried
from whence.evaluation.prediction.lds import lds


def rewritten(bank: Bank, name: str, change) -> Bank:
    """The bank with other losses in a pool."""
    path = bank.path / "pools" / name
    manifest, pool = artefacts.read_manifest(path, "pool"), Pool.read(path)
    artefacts.discard(path)
    replace(pool, losses=change(pool.losses.copy())).write(path, dict(manifest.inputs), dict(manifest.made))
    return Bank.open(bank.path)


@pytest.fixture
def own_bank(whole_bank, tmp_path) -> Bank:
    """A copy of the bank that a test may change."""
    return Bank.open(shutil.copytree(whole_bank.path, tmp_path / "bank"))


def measured(bank, board, tmp_path, name):
    """What is seen at 12 draws of a bank, with the features of another run."""
    shutil.copytree(board.work / "features", tmp_path / name / "features")
    config = board.config.model_copy(update={"draws": (12,)})
    return collect(Board(bank, tmp_path / name, config, workers=1))[12]


def test_only_development_counts(own_bank, made_board, tmp_path):
    shown = collect(made_board)[12]
    bank = rewritten(own_bank, "test", lambda losses: np.random.default_rng(0).random(losses.shape))

    def corrupted(losses):
        losses[:, :, ~own_bank.development] = np.random.default_rng(1).random(losses[:, :, ~own_bank.development].shape)
        return losses

    bank = rewritten(bank, "development", corrupted)
    assert measured(bank, made_board, tmp_path, "corrupted").measured == shown.measured


def test_development_counts(own_bank, made_board, tmp_path):
    bank = rewritten(own_bank, "development", lambda losses: np.random.default_rng(0).random(losses.shape))
    assert measured(bank, made_board, tmp_path, "other").measured != collect(made_board)[12].measured


def test_development_lds_is_the_mean_over_kinds(whole_bank):
    scores = np.random.default_rng(0).normal(size=(len(whole_bank.queries), len(whole_bank.examples)))
    pool = whole_bank.pool("development")
    values = lds(pool.kept, scores, pool.mean)
    kinds = [whole_bank.development & (whole_bank.drawn == kind) for kind in (False, True)]
    assert development_lds(whole_bank, whole_bank.queries, scores) == pytest.approx(
        np.mean([values[kind].mean() for kind in kinds])
    )


def test_drawn_queries_alone(whole_bank):
    names = [name for name, drawn in zip(whole_bank.queries, whole_bank.drawn, strict=True) if drawn]
    scores = np.random.default_rng(0).normal(size=(len(names), len(whole_bank.examples)))
    pool, development = whole_bank.pool("development"), whole_bank.development[whole_bank.drawn]
    values = lds(pool.kept, scores, pool.mean[:, whole_bank.drawn])
    assert development_lds(whole_bank, names, scores) == pytest.approx(values[development].mean())


@pytest.mark.parametrize("name", ["tangent", "trak", "das", "tracin"])
def test_grid_is_each_damping_by_itself(made_board, name):
    one = METHODS[name]
    work = made_board.request([one], 12, drawn=False).work(made_board.work / "features")
    looks, queries = work.looks(one), work.query_names(one)
    found = grid(work, {one: looks}, made_board.config.dampings)[one]
    assert list(found) == tried(one, made_board.config.dampings)
    for damping, values in found.items():
        slow = torch.zeros(len(queries), len(work.examples), dtype=torch.float64)
        for look in looks:
            seen = Seen.open(look, one.feature, work.examples.ids, queries)
            slow += seen.ordered(one.function(seen.evidence(), damping)) * seen.weights
        torch.testing.assert_close(torch.from_numpy(values), slow, rtol=1e-6, atol=1e-9)


def test_a_damping_that_is_refused_is_left_out(made_board):
    one = METHODS["das"]
    work = made_board.request([one], 12, drawn=False).work(made_board.work / "features")
    found = grid(work, {one: work.looks(one)}, (1e-300, 1.0))[one]
    assert list(found) == [1.0]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [({0.1: 0.2, 1.0: 0.1}, 0.1), ({0.1: float("nan"), 1.0: -0.5}, 1.0), ({0.1: float("nan")}, 7.0)],
)
def test_chosen(measured, expected):
    assert chosen(measured, usual=7.0) == expected
