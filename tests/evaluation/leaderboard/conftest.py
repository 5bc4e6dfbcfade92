import shutil

import pytest

from whence.engine import Engine
from whence.evaluation.bank import Bank, PoolRequest, build_pool
from whence.evaluation.leaderboard.board import Board, LeaderboardConfig
from whence.evaluation.leaderboard.development import develop
from whence.gradients.compression import Compression

#: One method of each kind of features, with and without damping, of one set of weights and of several.
METHODS = ("tangent", "d-trak", "trak", "journey-trak", "das", "tracin")
CONFIG = LeaderboardConfig(
    methods=METHODS,
    draws=(8, 12),
    dampings=(0.01, 1.0, 10.0),
    compression=Compression(width=64),
    traced=4,
    outliers=3,
    self_draws=8,
    members=8,
    ensemble_methods=("trak",),
    ensemble_draws=8,
    ensemble_queries=1,
    samples=2,
)


@pytest.fixture(scope="session")
def board_config() -> LeaderboardConfig:
    """Six methods, 12 draws, 64 features."""
    return CONFIG


@pytest.fixture(scope="session")
def whole_bank(tiny_bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """`tiny_bank` with a development pool; only to be read."""
    bank = Bank.open(shutil.copytree(tiny_bank.path, tmp_path_factory.mktemp("leaderboard") / "bank"))
    build_pool(bank, PoolRequest("development", 6), engine=Engine(1))
    return Bank.open(bank.path)


@pytest.fixture(scope="session")
def made_board(whole_bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A leaderboard whose features are there; its work is only to be read."""
    board = Board(whole_bank, tmp_path_factory.mktemp("work") / "work", CONFIG, workers=1)
    develop(board)
    return board


@pytest.fixture
def board(made_board: Board, tmp_path) -> Board:
    """A leaderboard with features, whose work a test may change."""
    work = shutil.copytree(made_board.work, tmp_path / "work")
    return Board(made_board.bank, work, CONFIG, workers=1)
