"""The report of scores: for every query its proponents and opponents in pictures, with their Monte Carlo error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from whence import artefacts
from whence.diffusion.examples import Examples
from whence.report.picture import CRISP, SMALL, data_uri
from whence.report.scores.ends_folder import EndsFolder, end_cards
from whence.report.scores.plots import concentrations, largest_phrase, norm_plot, share_counts, share_plot
from whence.report.scores.query_card import OPEN, SHOWN, QueryCard, query_cards
from whence.report.scores.score_folder import ScoreFolder
from whence.report.template import fill, fingerprints, flat_settings, versions
from whence.report.text import percent, plural, shorten
from whence.scores.ends import KIND, ScoreEnds
from whence.scores.scores import Scores
from whence.statistics.ranks import TOP, agreement

#: Pairs of methods that are unfolded.
PAIRS = 10
#: Characters of a caption on the page.
CAPTION = 200


def write_scores_report(folder: Path, out: Path | None = None) -> Path:
    """Return the path of the report of scores, written as one self-contained HTML file that replaces an older one.

    The folder holds the scores of one or more methods (each a directory) and ``pictures/``. Gradient norms in
    ``norms.parquet`` (columns readout, timestep, norm) are plotted where they are there. `out` is by default
    ``report.html`` in the folder.

    Raises:
        ArtefactError: There are no scores, or something is missing or damaged.
        MismatchError: Scores or pictures are of different queries, examples or data.
    """
    out = out or folder / "report.html"
    artefacts.write_bytes(out, render(folder).encode("utf-8"))
    return out


def render(path: Path) -> str:
    """The report as HTML: of scores, or else of the ends of scores."""
    if "scores" not in artefacts.kinds_in(path) and KIND in artefacts.kinds_in(path):
        ends = EndsFolder.read(path)
        return _page(ends, list(end_cards(ends)), ends.examples, kept=ends.count)
    folder = ScoreFolder.read(path)
    scores, count = folder.scores, len(folder.any.examples)
    shares = concentrations(scores)
    curves = count > 1 and any(method.curve is not None for method in shares)
    return _page(
        folder,
        list(query_cards(folder)),
        count,
        shares=shares,
        share_columns=[largest_phrase(k, count) for k in share_counts(count)],
        share_plot=share_plot(shares, count, "shares-plot") if curves else "",
        pairs=method_pairs(scores),
    )


def _page(folder: ScoreFolder | EndsFolder, cards: Sequence[QueryCard], count: int, **whole: Any) -> str:
    """The page of the cards of queries, with what is known only of whole scores of so many examples."""
    scores, pictures, sizes = folder.scores, folder.pictures, folder.pictures.examples.sizes
    height, width = (max(size[axis] for size in sizes) for axis in (-2, -1))
    return fill(
        "scores.html.j2",
        styles=("report.css", "scores.css"),
        name=folder.path.resolve().name,
        version=str(next(iter(folder.manifests.values())).environment["whence"]),
        crisp=max(height, width) <= CRISP,
        size=(width, height),
        folder=folder,
        examples=count,
        draws=sorted({method.draws for method in scores.values() if method.draws}),
        errors=folder.errors,
        signed=any(method.sign != "unsigned" for method in scores.values()),
        unsigned=any(method.sign == "unsigned" for method in scores.values()),
        cards=cards,
        thumbs={card.name: data_uri(pictures.query(card.name), SMALL) for card in cards},
        images=_images(folder, cards),
        texts={"queries": _captions(pictures.queries), "examples": _captions(pictures.examples)},
        shown=SHOWN,
        unfolded=OPEN,
        methods=list(method_rows(scores, cards, count)),
        listed_pairs=PAIRS,
        top=(min(TOP, count), percent(min(TOP, count) / count)),
        norms=[
            (readout, norm_plot(*values, f"norms-{k}", f"Norm of the gradient against timestep: {readout}"))
            for k, (readout, values) in enumerate(folder.norms.items())
        ],
        provenance=dict(_provenance(folder)),
        **{"kept": None, "shares": [], "share_columns": [], "share_plot": "", "pairs": []} | whole,
    )


def _images(folder: ScoreFolder | EndsFolder, cards: Sequence[QueryCard]) -> dict[str, tuple[int, str]]:
    """The training images that the page holds once for all cards: number and picture by id, of those that were kept."""
    results = [result for card in cards for result in card.results]
    shown = {entry.name for result in results for entry in (*result.proponents, *result.opponents)}
    names = [name for name in folder.pictures.examples.ids if name in shown]
    return {name: (n, data_uri(folder.pictures.example(name), SMALL)) for n, name in enumerate(names)}


def _captions(pictures: Examples) -> dict[str, str]:
    """Captions or prompts by id, where there are any, shortened for the page."""
    texts = pictures.captions or ("",) * len(pictures)
    return {id: shorten(text, CAPTION) for id, text in zip(pictures.ids, texts, strict=True) if text}


def _provenance(folder: ScoreFolder | EndsFolder) -> Iterator[tuple[str, dict[str, str]]]:
    """How the scores were made: tables of names and values, by title."""
    if folder.facts:
        yield "Request", dict(folder.facts)
    for name, manifest in folder.manifests.items():
        settings = {key: value for key, value in manifest.made.items() if key not in ("values", "units")}
        yield name, {**flat_settings(settings), **fingerprints(manifest)}
    yield "Versions", versions(next(iter(folder.manifests.values())))


@dataclass(frozen=True)
class MethodRow:
    """A method in words."""

    name: str  # its name
    values: Mapping[str, str]  # what it estimates, by title
    outcome: str  # for how many queries something rises above noise; empty without standard errors


@dataclass(frozen=True)
class MethodPair:
    """The agreement of two methods, on average over queries; in words."""

    names: tuple[str, str]  # the methods
    correlation: str  # Spearman's rank correlation over examples
    overlap: str  # share of the top examples of one method that are among those of the other


def method_rows(
    methods: Mapping[str, Scores | ScoreEnds], cards: Sequence[QueryCard], count: int
) -> Iterator[MethodRow]:
    """Every method in words, with its outcome on these cards of so many examples."""
    for k, (name, scores) in enumerate(methods.items()):
        counts = [rises for card in cards if (rises := card.results[k].rises) is not None]
        some = sum(map(bool, counts))
        outcome = f"Something rises above noise for {some:,} of {len(counts):,} queries" if counts else ""
        median = f", in the median {median_low(counts):,} of {count:,} examples" if some else ""
        values = {
            "Explains": scores.estimand.behaviour,
            "Imagined change": scores.estimand.intervention,
            "Training": scores.estimand.process,
            "Sign": scores.sign,
            "Draws": plural(scores.draws, "draw") if scores.draws else "none",
        }
        yield MethodRow(name, values, outcome + median)


def method_pairs(methods: Mapping[str, Scores]) -> list[MethodPair]:
    """The agreement of every two methods, the largest first; empty where there is one method or one example."""
    first = next(iter(methods.values()))
    if len(first.examples) < 2:
        return []
    pairs = []
    for (a, scores_a), (b, scores_b) in itertools.combinations(methods.items(), 2):
        both = agreement(first.queries, scores_a.scores.double().numpy(), scores_b.scores.double().numpy())
        defined = both.correlations[~np.isnan(both.correlations)]
        mean = float(defined.mean()) if len(defined) else float("nan")
        pairs.append((mean, MethodPair((a, b), _signed(mean), percent(float(both.recalls.mean())))))
    ranked = sorted(pairs, key=lambda pair: np.inf if np.isnan(pair[0]) else -pair[0])
    return [pair for _, pair in ranked]


def _signed(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
