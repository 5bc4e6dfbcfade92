"""The section ``measures``: measures that were proposed in the papers of the methods.

WORK/repeated/    features at another seed; removed once the section is measured
"""

from __future__ import annotations

import numpy as np

from whence import artefacts
from whence.attribution.request import AttributionRequest
from whence.evaluation.leaderboard.board import RANDOM, Board, needs_drawn
from whence.evaluation.leaderboard.scores import chosen_methods, held_out_queries, random_scores, reported_scores
from whence.evaluation.leaderboard.sections import Rows, Section, SectionSpec, make_figure, make_section
from whence.evaluation.leaderboard.self_influence import find_outliers, outlier_count, trace_training_images
from whence.evaluation.query_kinds import Kind
from whence.evaluation.ranking.repeatability import Repeatability, repeatability
from whence.evaluation.ranking.retrieval import precision
from whence.evaluation.ranking.specificity import specificity

TOP = 10


def measure_measures(board: Board) -> Section:
    """Measure the section."""
    rows: Rows = {}
    for name, (_, scores) in reported_scores(board).items():
        specific = specificity(scores, TOP)
        rows[name] = {
            "unique in top 10": make_figure(specific.different),
            "recurring in half": make_figure(specific.recurring),
        }
    _add_classes(board, rows)
    for name, tracing in trace_training_images(board).items():
        rows[name] |= {
            "traced first": make_figure(tracing.first),
            "traced in top 10": make_figure(tracing.in_top),
        }
    for name, outliers in find_outliers(board).items():
        rows[name] |= {"outliers AUC": make_figure(outliers.area), "outliers found": make_figure(outliers.recall)}
    for name, repeated in _repeatability(board).items():
        rows[name]["repeatability"] = make_figure(repeated.correlation)
    return make_section("measures", rows, _notes(board))


def _add_classes(board: Board, rows: Rows) -> None:
    """Add how many of the top examples are of the class of a held-out query, where there are classes."""
    bank = board.bank
    query_classes, classes = np.array(bank.queries_data.classes, object), np.array(bank.classes)
    for name, (columns, scores) in reported_scores(board, [Kind.HELD_OUT]).items():
        right = query_classes[columns][:, None] == classes
        if right.any():
            rows[name]["class in top 10"] = make_figure(precision(scores, right, TOP))


def _repeatability(board: Board) -> dict[str, Repeatability]:
    """How the scores of held-out queries agree between two seeds of draws, by method."""
    queries, store = held_out_queries(board), board.work / "repeated"
    first = {name: scores for name, (_, scores) in reported_scores(board, [Kind.HELD_OUT]).items()}
    methods = [method for method in chosen_methods(board) if not needs_drawn(method)]
    settings = board.settings(board.draws, board.config.seed + 1)
    request = AttributionRequest.of(board.target, board.bank.data, queries, methods, settings)
    second = {
        name: scores.scores.double().numpy()
        for name, scores in board.quick_scores(request, store, "gradients of other draws").items()
    }
    artefacts.discard(store)
    second[RANDOM] = random_scores(board, (len(queries.ids), len(board.bank.examples)), "repeated")
    return {name: repeatability(first[name], scores) for name, scores in second.items()}


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


MEASURES = SectionSpec(
    name="measures",
    title="Measures of the methods' papers",
    question="Are different queries traced to different images, to their own class, to themselves? Do images that "
    "don't belong stand out by their influence on themselves? Do other draws give the same order?",
    measure=measure_measures,
    overview={"traced first": "traced first", "outliers, AUC": "outliers AUC"},
)
