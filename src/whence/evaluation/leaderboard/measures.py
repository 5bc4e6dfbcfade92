"""The section ``measures``: measures that were proposed in the papers of the methods.

WORK/repeated/          features at another seed; removed once the section is measured
WORK/outliers/model/    a model like the bank's; some of its training images were replaced by gratings
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.request import AttributionRequest
from whence.attribution.target import Target
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.diffusion.training import train
from whence.engine import Engine
from whence.evaluation.leaderboard.board import PIXELS, RANDOM, Board, needs_drawn
from whence.evaluation.leaderboard.scores import chosen_methods, held_out_queries, random_scores, reported_scores
from whence.evaluation.leaderboard.sections import Rows, Section, SectionSpec, make_figure, make_section
from whence.evaluation.queries import Kind
from whence.evaluation.ranking.repeatability import Repeatability, repeatability
from whence.evaluation.ranking.retrieval import Outliers, Tracing, outliers, precision, tracing
from whence.evaluation.ranking.specificity import specificity
from whence.seeds import derived_seed
from whence.similarity.attributors import attributor

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
    for name, traces in trace_training_images(board).items():
        rows[name] |= {"traced first": make_figure(traces.first), "traced in top 10": make_figure(traces.in_top)}
    for name, result in find_outliers(board).items():
        rows[name] |= {"outliers AUC": make_figure(result.area), "outliers found": make_figure(result.recall)}
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
    settings = board.settings(board.draws, board.config.seed + 1)
    request = AttributionRequest.of(board.target, board.bank.data, queries, _methods(board), settings)
    by_method = board.quick_scores(request, store, "gradients of other draws")
    artefacts.discard(store)
    second = {name: method.scores.double().numpy() for name, method in by_method.items()}
    second[RANDOM] = random_scores(board, (len(queries.ids), len(board.bank.examples)), "repeated")
    return {name: repeatability(first[name], scores) for name, scores in second.items()}


def _notes(board: Board) -> list[str]:
    config, bank = board.config, board.bank
    return [
        "Unique in top 10: number of different training images among the first 10 of all queries that are not for "
        "development. Recurring in half: share of the training images that are among the first 10 of half of the "
        "queries; less is more specific. Class in top 10: share of the first 10 that have the held-out query's class.",
        f"Traced: {min(config.traced, len(bank.examples))} training images are queries, with draws of their own. "
        "Similarity of pixels finds them by definition. Outliers: another model is trained on data in which "
        f"{outlier_count(board)} training images are black-and-white gratings. Self-influence at {config.self_draws} "
        "draws should find them. AUC: how often an outlier has a larger self-influence than another image.",
        "Repeatability: rank correlation between scores of two seeds of draws, over the examples that are among the "
        f"first 100 of either seed, for held-out queries at {board.draws} draws.",
        "Methods with curvature have no figures of outliers: they would keep whole gradients of all training images.",
        "Methods that explain the way to a picture are left out: nobody drew these pictures.",
    ]


def trace_training_images(board: Board) -> dict[str, Tracing]:
    """Return where some training images come in the ranking for themselves, by method."""
    data, count = board.bank.data, min(board.config.traced, len(board.bank.data))
    source = np.random.default_rng(derived_seed(board.config.seed, "traced"))
    rows = np.sort(source.permutation(len(data))[:count])
    queries = Examples(tuple(data.ids[n] for n in rows), data.images(rows))
    request = AttributionRequest.of(board.target, data, queries, _methods(board), board.settings(board.draws))
    by_method = board.quick_scores(request, board.work / "features", "gradients of training images")
    by_method |= {name: attributor(name, data)(queries.tensor, queries.ids) for name in PIXELS}
    scores = {name: method.scores.double().numpy() for name, method in by_method.items()}
    scores[RANDOM] = random_scores(board, (count, len(data)), "traced")
    return {name: tracing(values, rows) for name, values in scores.items()}


def find_outliers(board: Board) -> dict[str, Outliers]:
    """Return how well self-influence tells outliers from the other images of which a model is trained, by method."""
    data, replaced = replace_with_gratings(board.bank.data, outlier_count(board), board.config.seed)
    folder = board.work / "outliers"
    with board.progress("a model of data with outliers") as report:
        train(data, folder / "model", board.bank.config, engine=Engine(report=report))
    queries = Examples(data.ids, data.images(range(len(data))))
    settings, model = board.settings(board.config.self_draws), Target.open(folder / "model")
    methods = [method for method in _methods(board) if method.curvature is None]
    request = AttributionRequest.of(model, data, queries, methods, settings)
    scores = board.quick_scores(request, folder / "features", "gradients of all training images")
    artefacts.discard(folder / "features")
    scores["pixel-dot"] = attributor("pixel-dot", data)(queries.tensor, queries.ids)
    self_influence = {name: method.scores.double().numpy().diagonal() for name, method in scores.items()}
    self_influence[RANDOM] = random_scores(board, (1, len(data)), "outliers")[0]
    return {name: outliers(values, replaced) for name, values in self_influence.items()}


def outlier_count(board: Board) -> int:
    """Return how many training images are replaced by gratings; at most a quarter."""
    return min(board.config.outliers, len(board.bank.data) // 4)


def replace_with_gratings(data: Dataset, count: int, seed: int) -> tuple[Dataset, np.ndarray]:
    """Return the data with some images replaced by black and white stripes, and which were replaced, bool [N]."""
    source = np.random.default_rng(derived_seed(seed, "gratings"))
    chosen = np.sort(source.permutation(len(data))[:count])
    rows, columns = np.indices(data.size[1:])
    angle, frequency, phase = (
        source.uniform(low, high, (count, 1, 1)) for low, high in ((0, np.pi), (0.8, 2.5), (0, 2 * np.pi))
    )
    waves = np.sin(frequency * (np.cos(angle) * columns + np.sin(angle) * rows) + phase)
    pixels, replaced = np.array(data.pixels), np.zeros(len(data), bool)
    pixels[chosen], replaced[chosen] = ((waves > 0) * 255).astype(np.uint8)[:, None], True
    return replace(data, pixels=pixels, notes=()), replaced


def _methods(board: Board) -> list[Method]:
    """The methods that can attribute any picture."""
    return [method for method in chosen_methods(board) if not needs_drawn(method)]


MEASURES = SectionSpec(
    name="measures",
    title="Measures of the methods' papers",
    question="Do different queries name different images? Are these of the query's own class? Is a training image "
    "traced to itself? Do outliers have a large influence on themselves? Do other draws give the same order?",
    measure=measure_measures,
    overview={"traced first": "traced first", "outliers, AUC": "outliers AUC"},
)
