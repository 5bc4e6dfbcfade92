"""The same scores from other draws: how far two independent sets agree at the top.

WORK/repeated/    features at another seed; removed once the section is measured
"""

from __future__ import annotations

import numpy as np

from whence import artefacts
from whence.attribution.request import AttributionRequest
from whence.diffusion.examples import Examples
from whence.evaluation.asked import Kind, Use, asked
from whence.evaluation.leaderboard.attributions import chosen_methods
from whence.evaluation.leaderboard.board import RANDOM, Board, needs_drawn
from whence.evaluation.leaderboard.queries import random_scores, reported
from whence.evaluation.ranking.repeatability import Repeatability, repeatability


def repeated(board: Board) -> dict[str, Repeatability]:
    """Return how the scores of held-out queries agree between two seeds of draws, by method."""
    bank, store = board.bank, board.work / "repeated"
    columns = np.flatnonzero(asked(bank.drawn, bank.development, Kind.HELD_OUT, Use.REPORTED))
    queries = Examples(tuple(bank.queries[q] for q in columns), bank.queries_data.images(columns))
    first = reported(board, [Kind.HELD_OUT])
    methods = [one for one in chosen_methods(board) if not needs_drawn(one)]
    settings = board.settings(board.draws, board.config.seed + 1)
    request = AttributionRequest.of(board.target, bank.data, queries, methods, settings)
    second = board.quick_scores(request, store, "gradients of other draws")
    artefacts.discard(store)
    found = {name: repeatability(first[name][1], one.scores.double().numpy()) for name, one in second.items()}
    other = random_scores(board, (len(columns), len(bank.examples)), "repeated")
    return {**found, RANDOM: repeatability(first[RANDOM][1], other)}
