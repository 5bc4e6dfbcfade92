"""The section ``deletion``: removals that the bank comes with; nothing is retrained."""

from __future__ import annotations

from whence.errors import ArtefactError
from whence.evaluation.deletion import Comparison, Deletion, Figures, measured_deletion, top_count, zero_of
from whence.evaluation.leaderboard.attributions import attributions
from whence.evaluation.leaderboard.board import RANDOM, Board
from whence.evaluation.leaderboard.figures import Rows, figure, made_section
from whence.evaluation.leaderboard.sections import Figure, Section
from whence.scores.scores import Scores
from whence.statistics.statistic import mean_of

#: The method that the others are compared with.
LIKENESS = "pixel-cosine"


def deletion_section(board: Board) -> Section:
    """Measure the section."""
    scores = {one.name: board.bank.require(one.scores, one.manifest) for one in attributions(board)}
    found = {name: one for name, own in scores.items() if (one := _measured(board, own)) is not None}
    rows: Rows = {}
    for name, one in found.items():
        rows[name] = _figures(board, one)
        rows[name]["sets that agree"] = figure(mean_of(one.overlap(board.bank, scores[name]), _share(board)))
        if LIKENESS in found and name != LIKENESS:
            compared = Comparison.of(board.bank, one, found[LIKENESS])
            rows[name]["difference to pixel-cosine"] = figure(compared.loss)
    zeros = [zero for one in found.values() if (zero := zero_of(board.bank, one)) is not None]
    if zeros:
        rows[RANDOM] = _figures(board, zeros[0])
    return made_section("deletion", rows, _notes(board, found))


def _measured(board: Board, scores: Scores) -> Deletion | None:
    """The removals by a method that the bank comes with, if there are any."""
    try:
        return measured_deletion(board.bank, scores, top=board.config.top)
    except ArtefactError:
        return None


def _figures(board: Board, one: Deletion) -> dict[str, Figure | None]:
    """What removals did to the loss and to the picture, beyond random ones."""
    made = Figures.of(board.bank, one)
    return {
        "increase of the loss": figure(made.loss.increase),
        "share of queries": figure(made.loss.worse),
        "distance of the picture": figure(made.picture.increase if made.picture else None),
    }


def _share(board: Board) -> float:
    """Share of the sets that agrees by chance."""
    examples = len(board.bank.examples)
    return top_count(board.config.top, examples) / examples


def _notes(board: Board, found: dict[str, Deletion]) -> list[str]:
    if not found:
        return [f"The bank has no measured removal of the top {board.config.top} by any method."]
    first = next(iter(found.values())).wanted
    return [
        f"For each of {len(first.queries)} queries the {first.removed.shape[1]} training images of the largest scores "
        f"({board.config.top}) are removed and a model is trained again, with {len(first.seeds)} training seeds; "
        "beside it one without as many random images of the same classes. Figures are the first minus the second; "
        "intervals are over queries.",
        "Share of queries: of those whose loss is higher than without the random images; by chance one half. Distance "
        "of the picture: how much further from the query the picture is that is drawn again from its noise.",
        "Sets that agree: which share of the images that were removed when the bank was built today's scores name.",
    ]
