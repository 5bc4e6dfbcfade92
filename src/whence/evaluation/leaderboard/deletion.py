"""The section ``deletion``: removals that come with the bank; no model is retrained."""

from __future__ import annotations

from whence.errors import ArtefactError
from whence.evaluation.deletion import (
    Deletion,
    DeletionComparison,
    DeletionEffects,
    read_deletion,
    read_random_baseline,
    top_count,
)
from whence.evaluation.leaderboard.board import RANDOM, Board
from whence.evaluation.leaderboard.scores import stored_scores
from whence.evaluation.leaderboard.sections import Figure, Rows, Section, SectionSpec, make_figure, make_section
from whence.scores.scores import Scores
from whence.statistics.statistic import mean_of

#: The method that the others are compared with.
LIKENESS = "pixel-cosine"


def measure_deletion(board: Board) -> Section:
    """Measure the section."""
    bank = board.bank
    scores = {stored.name: bank.require(stored.scores, stored.manifest) for stored in stored_scores(board)}
    deletions = {name: removed for name, values in scores.items() if (removed := _read_deletion(board, values))}
    rows: Rows = {}
    chance = top_count(board.config.top, len(bank.examples)) / len(bank.examples)
    for name, deletion in deletions.items():
        rows[name] = _columns(board, deletion)
        rows[name]["sets that agree"] = make_figure(mean_of(deletion.overlap(bank, scores[name]), chance))
        if LIKENESS in deletions and name != LIKENESS:
            comparison = DeletionComparison.of(bank, deletion, deletions[LIKENESS])
            rows[name]["difference to pixel-cosine"] = make_figure(comparison.loss)
    zeros = [zero for deletion in deletions.values() if (zero := read_random_baseline(bank, deletion)) is not None]
    if zeros:
        rows[RANDOM] = _columns(board, zeros[0])
    return make_section("deletion", rows, _notes(board, deletions))


def _read_deletion(board: Board, scores: Scores) -> Deletion | None:
    """The removals by a method that come with the bank, if there are any."""
    try:
        return read_deletion(board.bank, scores, top=board.config.top)
    except ArtefactError:
        return None


def _columns(board: Board, deletion: Deletion) -> dict[str, Figure | None]:
    """The effects of removals on the loss and on the picture, beyond those of random removals."""
    effects = DeletionEffects.of(board.bank, deletion)
    return {
        "increase of the loss": make_figure(effects.loss.increase),
        "share of queries": make_figure(effects.loss.worse),
        "distance of the picture": make_figure(effects.picture.increase if effects.picture else None),
    }


def _notes(board: Board, deletions: dict[str, Deletion]) -> list[str]:
    if not deletions:
        return [f"The bank has no measured removal of the top {board.config.top} by any method."]
    first = next(iter(deletions.values())).removal
    return [
        f"For each of {len(first.queries)} queries the {first.removed.shape[1]} training images of the largest scores "
        f"({board.config.top}) are removed and a model is trained again, with {len(first.seeds)} training seeds. "
        "Another model is trained without as many random images of the same classes. Figures are the first model minus "
        "the second. Intervals are over queries.",
        "Share of queries: how many queries have a higher loss than without the random images; by chance one half. "
        "Distance of the picture: it is drawn again from its noise; how much further is it from the query?",
        "Sets that agree: the removed images were chosen when the bank was built; this is the share of them that "
        "today's scores name too.",
    ]


DELETION = SectionSpec(
    name="deletion",
    title="Deletion",
    question="Does removing what a method names hurt the query more than removing random images of the same classes?",
    measure=measure_deletion,
    removals=True,
    overview={"deletion: loss": "increase of the loss"},
)
