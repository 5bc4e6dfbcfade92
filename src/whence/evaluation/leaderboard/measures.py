"""The section ``measures``: the measures of the papers that the methods come from."""

from __future__ import annotations

import numpy as np

from whence.evaluation.asked import Kind
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.figures import Rows, figure, made_section
from whence.evaluation.leaderboard.queries import reported
from whence.evaluation.leaderboard.repeated import repeated
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.leaderboard.themselves import outlier_count, outliers_found, traced
from whence.evaluation.ranking.retrieval import precision
from whence.evaluation.ranking.specificity import specificity

TOP = 10


def measures_section(board: Board) -> Section:
    """Measure the section."""
    rows: Rows = {}
    for name, (_, scores) in reported(board).items():
        found = specificity(scores, TOP)
        rows[name] = {
            "unique in top 10": figure(found.different),
            "recurring in half": figure(found.recurring),
        }
    _add_classes(board, rows)
    for name, own in traced(board).items():
        rows[name] |= {"traced first": figure(own.first), "traced in top 10": figure(own.near)}
    for name, seen in outliers_found(board).items():
        rows[name] |= {"outliers AUC": figure(seen.area), "outliers found": figure(seen.recall)}
    for name, both in repeated(board).items():
        rows[name]["repeatability"] = figure(both.correlation)
    return made_section("measures", rows, _notes(board))


def _add_classes(board: Board, rows: Rows) -> None:
    """Add how many of the top examples are of the class of a held-out query, where there are classes."""
    bank = board.bank
    labels, given = np.array(bank.queries_data.captions, object), np.array(bank.classes)
    for name, (columns, scores) in reported(board, [Kind.HELD_OUT]).items():
        right = labels[columns][:, None] == given
        if right.any():
            rows[name]["class in top 10"] = figure(precision(scores, right, TOP))


def _notes(board: Board) -> list[str]:
    config, bank = board.config, board.bank
    return [
        "Unique in top 10: different training images among the first 10 of all queries that are not for development. "
        "Recurring in half: share of the training images that are among the first 10 of half of the queries; less is "
        "more specific. Class in top 10: share of the first 10 that is of the class of a held-out query.",
        f"Traced: {min(config.traced, len(bank.examples))} training images given as queries, with draws of their own; "
        "pixels find them by definition. Outliers: in a model of its own "
        f"{outlier_count(board)} training images are black-and-white gratings; self-influence at "
        f"{config.self_draws} draws is to find them. AUC: how often an outlier has more of it than another image.",
        "Repeatability: rank correlation between two seeds of draws over the examples that are among the first 100 of "
        f"either, held-out queries, {board.draws} draws each.",
        "Methods that explain the way to a picture can't be asked about these pictures and are left out.",
    ]
