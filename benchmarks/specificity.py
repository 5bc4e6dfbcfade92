"""Do gradients of large norm decide who is influential? Two kinds of pictures, whose gradients differ in norm.

300 digits and 250 gratings in black and white, one model, its checkpoints and record. Queries: held-out digits,
held-out gratings and pictures that the model draws. For every method:

* *general*: training examples among the top 20 of at least half of all queries; *general of a kind*: among those of at
  least half of the queries of one kind, added up over the kinds; *unique*: different examples in all these top 20;
* *norm*: mean norm of the gradients of what is in them, over that of all examples;
* *right, digits* and *right, gratings*: share of the top 10 that is of the query's own kind.

Intervals are of 95%, over queries; those of a kind are drawn again among themselves for *general of a kind*. A random
order is one line.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import whence
from whence.cli.show import progress
from whence.engine import Engine
from whence.evaluation.ranking.retrieval import precision
from whence.evaluation.ranking.specificity import specificity
from whence.gradients.features import Feature
from whence.gradients.stored_features import StoredFeatures
from whence.report.scores import write_scores_report
from whence.statistics.ranks import top_columns
from whence.statistics.statistic import Statistic as Statistic
from whence.statistics.statistic import mean_of

RUNS = Path("runs/specificity")
DIGITS, GRATINGS, QUERIES, DRAWS = 300, 250, 40, 64
BATCH, EPOCHS, CHECKPOINTS = 50, 30, 6
METHODS = ("tracin", "retrac", "tracin-cp", "gas", "gradient-cosine", "trak", "d-trak")
TOP, RIGHT = 20, 10


def main() -> None:
    """Measure and print; writes specificity.json and the report of the scores."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    digits, other = whence.load("digits"), gratings(GRATINGS + QUERIES)
    data = mixed(digits.select(range(DIGITS)), other.select(range(GRATINGS)))
    asked = mixed(whence.load("digits:test").select(range(QUERIES)), other.select(range(GRATINGS, GRATINGS + QUERIES)))
    with progress("model") as report:
        whence.train(data, RUNS / "model", settings(), engine=Engine(report=report))
    drawn = whence.read_queries(whence.DiffusionModel.load(RUNS / "model"), f"sample:{QUERIES}")
    pictures = torch.cat([asked.images(range(len(asked))), drawn.values])
    queries = whence.Examples((*asked.ids, *drawn.ids), pictures)
    with progress("gradients") as report:
        found = whence.attribute(
            RUNS / "model",
            data,
            queries,
            METHODS,
            config=whence.AttributionConfig(draws=DRAWS),
            out=RUNS / "scores",
            engine=Engine(report=report),
        )
    norms = gradient_norms(data.ids)
    order = {name: one.scores.numpy() for name, one in found.items()}
    order["random order"] = np.random.default_rng(0).random((len(queries.ids), len(data)))
    results = {name: summary(scores, kinds(queries.ids), kinds(data.ids), norms) for name, scores in order.items()}
    numbers = {name: {column: asdict(found) for column, found in row.items()} for name, row in results.items()}
    (RUNS / "specificity.json").write_text(json.dumps(numbers, indent=1))
    is_grating = kinds(data.ids) == "grating"
    ratio = np.median(norms[is_grating]) / np.median(norms[~is_grating])
    print(f"gradient norm of gratings over that of digits, medians: {ratio:.2f}\n")
    columns = list(next(iter(results.values())))
    print(f"| method | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in results.items():
        print(f"| {name} | {' | '.join(shown(row[column]) for column in columns)} |")
    print(f"\n{write_scores_report(RUNS / 'scores')}")


def settings() -> whence.Config:
    """Of the model, which predicts the clean picture: what can't be seen under the noise is then most of a gradient."""
    chosen = whence.Config().updated("model", channels=(16, 32), prediction="sample")
    steps = EPOCHS * (DIGITS + GRATINGS) // BATCH
    return chosen.updated("training", batch_size=BATCH, steps=steps, checkpoints=CHECKPOINTS)


def gratings(count: int) -> whence.Dataset:
    """Stripes in black and white, each of its own direction, width and phase; nothing that a digit has."""
    source, (rows, columns) = np.random.default_rng(0), np.indices((8, 8))
    angle, frequency, phase = (
        source.uniform(*ends, (count, 1, 1)) for ends in ((0, np.pi), (0.8, 2.5), (0, 2 * np.pi))
    )
    waves = np.sin(frequency * (np.cos(angle) * columns + np.sin(angle) * rows) + phase)
    ids = tuple(map(str, range(count)))
    pixels = ((waves > 0) * 255).astype(np.uint8)[:, None]
    return whence.Dataset(ids, pixels, tuple((i,) for i in ids), (None,) * count)


def mixed(digits: whence.Dataset, other: whence.Dataset) -> whence.Dataset:
    """Both kinds in one set; ids begin with the kind."""
    ids = (*(f"digit {name}" for name in digits.ids), *(f"grating {name}" for name in other.ids))
    pixels = np.concatenate([digits.pixels, other.pixels])
    return whence.Dataset(ids, pixels, tuple((i,) for i in ids), (None,) * len(ids))


def kinds(ids: tuple[str, ...]) -> np.ndarray:
    """The kind of every id: digit, grating, or the seed of a picture that was drawn."""
    return np.array([name.replace("/", " ").split()[0] for name in ids])


def gradient_norms(ids: tuple[str, ...]) -> np.ndarray:
    """Root mean square over the recorded visits of ‖∇loss‖ of every example, [N]; the mean over checkpoints."""
    found = []
    for path in (RUNS / "scores" / "features").glob("*/recorded-*"):
        features = StoredFeatures.open(path, Feature("loss"))
        place = {name: row for row, name in enumerate(features.ids)}
        found.append(features.norms().square().mean(1).sqrt()[[place[name] for name in ids]].numpy())
    return np.asarray(np.mean(found, 0))


def summary(scores: np.ndarray, asked: np.ndarray, given: np.ndarray, norms: np.ndarray) -> dict[str, Statistic]:
    """The numbers of one method, with their intervals; an example's kind is digit or grating."""
    everywhere, of_a_kind = specificity(scores, TOP), specificity(scores, TOP, kinds=asked)
    loud = norms[top_columns(scores, TOP)].mean(1) / norms.mean()
    found = {
        "unique": everywhere.different,
        "general": everywhere.recurring.times(len(given)),
        "general of a kind": of_a_kind.recurring.times(len(given)),
        "norm": mean_of(loud, chance=1.0),
    }
    for kind in ("digit", "grating"):
        own = asked == kind
        found[f"right, {kind}s"] = precision(scores[own], given == asked[own][:, None], RIGHT)
    return found


def shown(found: Statistic) -> str:
    """A number and its interval."""
    return f"{found.value:.3g} ({found.interval.low:.3g} to {found.interval.high:.3g})"


if __name__ == "__main__":
    main()
