"""Writing the report of scores: one page that needs no network, server or script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from whence import artefacts
from whence.report.overview import flat
from whence.report.pictures import CRISP, SMALL, data_uri
from whence.report.scores.cards import OPEN, SHOWN, QueryCard, query_cards
from whence.report.scores.folder import Attributions
from whence.report.scores.methods import method_rows, pairs, top_of
from whence.report.scores.norms import norm_plot
from whence.report.scores.shares import concentrations, kept, largest, share_plot
from whence.report.templates import fill

#: Pairs of methods that are unfolded.
PAIRS = 10


def write_scores_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of scores: one self-contained HTML file.

    Args:
        folder: A folder with the scores of one or more methods (each a directory) and ``pictures/``; gradient norms
            in ``norms.parquet`` (columns readout, timestep, norm) are plotted where they are there.
        out: The file; default ``report.html`` in the folder. One that is there is replaced.

    Returns:
        The file.

    Raises:
        ArtefactError: There are no scores, or something is missing or damaged.
        MismatchError: Scores or pictures are of different queries, examples or data.
    """
    out = out or folder / "report.html"
    artefacts.write_bytes(out, render(folder).encode("utf-8"))
    return out


@dataclass(frozen=True)
class Image:
    """A training image, which the page holds once and shows wherever it is named."""

    anchor: str
    source: str


def render(folder: Path) -> str:
    """The report as HTML."""
    found = Attributions.read(folder)
    cards, (height, width) = list(query_cards(found)), found.pictures.examples.values.shape[-2:]
    count, held = len(found.any.examples), _images(found, cards)
    shares = concentrations(found.scores)
    curves = count > 1 and any(one.curve is not None for one in shares)
    return fill(
        "scores.html.j2",
        styles=("report.css", "scores.css"),
        name=found.path.resolve().name,
        version=str(next(iter(found.manifests.values())).environment["whence"]),
        crisp=max(height, width) <= CRISP,
        size=(width, height),
        found=found,
        examples=count,
        draws=sorted({one.draws for one in found.scores.values() if one.draws}),
        errors=any(one.standard_error is not None for one in found.scores.values()),
        signed=any(one.sign != "unsigned" for one in found.scores.values()),
        unsigned=any(one.sign == "unsigned" for one in found.scores.values()),
        cards=cards,
        thumbs={card.name: data_uri(found.pictures.query(card.name), SMALL) for card in cards},
        images=list(held.values()),
        anchors={n: image.anchor for n, image in held.items()},
        shown=SHOWN,
        unfolded=OPEN,
        methods=list(method_rows(found.scores, cards)),
        shares=shares,
        kept=[largest(k, count) for k in kept(count)],
        share_plot=share_plot(shares, count, "shares-plot") if curves else "",
        pairs=pairs(found.scores),
        listed_pairs=PAIRS,
        top=top_of(count),
        norms=[
            norm_plot(*own, f"norms-{k}", f"Norm of the gradient against timestep: {readout}")
            for k, (readout, own) in enumerate(found.norms.items())
        ],
        making=dict(_making(found)),
    )


def _images(found: Attributions, cards: Sequence[QueryCard]) -> dict[int, Image]:
    """The training images on the page, by column; those that were not kept are left out."""
    kept = set(found.pictures.examples.ids)
    shown = {
        entry.column: entry.name
        for card in cards
        for answer in card.answers
        for entry in (*answer.proponents, *answer.opponents)
    }
    return {
        n: Image(f"e{n}", data_uri(found.pictures.example(name), SMALL))
        for n, name in sorted(shown.items())
        if name in kept
    }


def _making(found: Attributions) -> Iterator[tuple[str, dict[str, str]]]:
    """How the scores were made: titled tables of names and values."""
    if found.told:
        yield "Asked", dict(found.told)
    for name, manifest in found.manifests.items():
        settings = {key: value for key, value in manifest.made.items() if key != "values"}
        fingerprints = {"fingerprint": manifest.fingerprint, **{f"of {k}": str(v) for k, v in manifest.inputs.items()}}
        yield name, {**flat(settings), **fingerprints}
    yield "Versions", {name: str(value) for name, value in next(iter(found.manifests.values())).environment.items()}
