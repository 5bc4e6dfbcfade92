"""Training images as queries: traced back to themselves, and outliers found by their influence on themselves.

WORK/outliers/model/    a model like the bank's, some of whose training images were replaced by gratings
"""

from __future__ import annotations

import numpy as np

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.request import AttributionRequest
from whence.attribution.target import Target
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.diffusion.training import train
from whence.evaluation.leaderboard.attributions import chosen_methods
from whence.evaluation.leaderboard.board import PIXELS, RANDOM, Board, needs_drawn
from whence.evaluation.leaderboard.queries import random_scores
from whence.evaluation.ranking.outliers import Outliers, outliers
from whence.evaluation.ranking.tracing import Tracing, tracing
from whence.seeds import derived_seed
from whence.similarity.attributors import attributor


def traced(board: Board) -> dict[str, Tracing]:
    """Return where some training images come in the ranking for themselves, by method."""
    data, count = board.bank.data, min(board.config.traced, len(board.bank.data))
    source = np.random.default_rng(derived_seed(board.config.seed, "traced"))
    rows = np.sort(source.permutation(len(data))[:count])
    queries = Examples(tuple(data.ids[n] for n in rows), data.images(rows))
    request = AttributionRequest.of(board.target, data, queries, _methods(board), board.settings(board.draws))
    found = board.quick_scores(request, board.work / "features", "gradients of training images")
    found |= {name: attributor(name, data)(queries.values, queries.ids) for name in PIXELS}
    scores = {name: one.scores.double().numpy() for name, one in found.items()}
    scores[RANDOM] = random_scores(board, (count, len(data)), "traced")
    return {name: tracing(own, rows) for name, own in scores.items()}


def self_influence(board: Board) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return S[n, n] by method on a model of data with outliers, [N] each, and which are outliers, bool [N]."""
    data, strange = with_gratings(board.bank.data, outlier_count(board), board.config.seed)
    place = board.work / "outliers"
    with board.progress("a model of data with outliers") as report:
        train(data, place / "model", board.bank.config, report=report)
    queries = Examples(data.ids, data.images(range(len(data))))
    settings, model = board.settings(board.config.self_draws), Target.open(place / "model")
    request = AttributionRequest.of(model, data, queries, _methods(board), settings)
    found = board.quick_scores(request, place / "features", "gradients of all training images")
    artefacts.discard(place / "features")
    own = {name: one.scores.double().numpy().diagonal() for name, one in found.items()}
    likeness = attributor("pixel-dot", data)(queries.values, queries.ids).scores.double().numpy().diagonal()
    return {**own, "pixel-dot": likeness, RANDOM: random_scores(board, (1, len(data)), "outliers")[0]}, strange


def outliers_found(board: Board) -> dict[str, Outliers]:
    """Return how well self-influence tells outliers from the other training images, by method."""
    found, strange = self_influence(board)
    return {name: outliers(own, strange) for name, own in found.items()}


def outlier_count(board: Board) -> int:
    """How many training images are replaced: so many, and a quarter at most."""
    return min(board.config.outliers, len(board.bank.data) // 4)


def with_gratings(data: Dataset, count: int, seed: int) -> tuple[Dataset, np.ndarray]:
    """Return the data with some images replaced by gratings, and which, bool [N].

    A grating is stripes in black and white, each of its own direction, width and phase, alike in all channels.

    Args:
        data: The training examples.
        count: How many are replaced.
        seed: Which, and by what.

    Example:
        >>> from whence.data import load
        >>> found, strange = with_gratings(load("digits").select(range(20)), 5, seed=0)
        >>> int(strange.sum()), sorted(set(found.pixels[strange].ravel().tolist()))
        (5, [0, 255])
    """
    source = np.random.default_rng(derived_seed(seed, "gratings"))
    chosen = np.sort(source.permutation(len(data))[:count])
    rows, columns = np.indices(data.size[1:])
    angle, frequency, phase = (
        source.uniform(low, high, (count, 1, 1)) for low, high in ((0, np.pi), (0.8, 2.5), (0, 2 * np.pi))
    )
    waves = np.sin(frequency * (np.cos(angle) * columns + np.sin(angle) * rows) + phase)
    pixels, strange = np.array(data.pixels), np.zeros(len(data), bool)
    pixels[chosen], strange[chosen] = ((waves > 0) * 255).astype(np.uint8)[:, None], True
    return Dataset(data.ids, pixels, data.units, data.captions), strange


def _methods(board: Board) -> list[Method]:
    """The methods that can be asked about any picture."""
    return [one for one in chosen_methods(board) if not needs_drawn(one)]
