"""The scores that all sections look at: every method at the damping that was chosen, and likeness of pixels.

WORK/scores/METHOD/          scores of all queries, with standard errors
WORK/scores-drawn/METHOD/    of methods that explain the way to a picture: of the drawn queries
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.attribution.method import Method
from whence.attribution.scores_folder import ScoresFolder
from whence.errors import MismatchError
from whence.evaluation.leaderboard.board import PIXELS, Board, needs_drawn
from whence.evaluation.leaderboard.collect import collect
from whence.scores.stored import StoredScores, read_scores


@cache
def chosen_methods(board: Board) -> tuple[Method, ...]:
    """The gradient methods, each at the damping that was chosen for it."""
    found = collect(board)[board.draws]
    return tuple(replace(one, damping=found.damping(one)) if one.damped else one for one in board.methods)


@cache
def attributions(board: Board) -> tuple[StoredScores, ...]:
    """Scores of the bank's queries by every method, made where they are missing."""
    methods = chosen_methods(board)
    _attribute(board, [one for one in methods if not needs_drawn(one)], PIXELS, drawn=False)
    _attribute(board, [one for one in methods if needs_drawn(one)], (), drawn=True)
    folders = [board.work / _folder(drawn) / one for drawn in (False, True) for one in _wanted(board, drawn)]
    return read_scores(folders)


def _wanted(board: Board, drawn: bool) -> list[str]:
    """Names of the methods that ask for one kind of queries."""
    names = [one.name for one in chosen_methods(board) if needs_drawn(one) == drawn]
    return names if drawn else [*names, *PIXELS]


def _folder(drawn: bool) -> str:
    return "scores-drawn" if drawn else "scores"


def _attribute(board: Board, methods: list[Method], pixels: tuple[str, ...], *, drawn: bool) -> None:
    """Make the scores that are missing, or were made otherwise."""
    out, request = board.work / _folder(drawn), board.request([*methods], board.draws, drawn=drawn) if methods else None
    missing: list[Method | str] = [one for one in methods if not (request and _is_there(board, one, drawn))]
    missing += [name for name in pixels if not (out / name).is_dir()]
    if not missing:
        return
    if request:
        try:
            ScoresFolder(out, request).is_claimed()
        except MismatchError:
            artefacts.discard(out)
    with board.progress("scores") as report:
        attribute(
            board.target,
            board.bank.data,
            board.queries(drawn),
            missing,
            config=board.settings(board.draws),
            out=out,
            store=board.work / "features",
            workers=board.workers,
            scored=report,
        )


def _is_there(board: Board, one: Method, drawn: bool) -> bool:
    """Whether the scores of a method are there, with as many draws and this damping."""
    place = board.work / _folder(drawn) / one.name
    if not place.is_dir():
        return False
    made = artefacts.read_manifest(place, "scores").made
    return bool(made["config"] == board.settings(board.draws).record() | {"damping": one.damping})
