"""Writing the report: everything that was drawn, on one page that needs no network, server or script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whence import artefacts
from whence.ensemble import Ensemble, ablations
from whence.ensemble.verdict import shared
from whence.report.beside import beside as runs_beside
from whence.report.cards import ABLATIONS, cards, comparison
from whence.report.examples import TrainingImages
from whence.report.gallery import SETS, gallery, sample_sets
from whence.report.landscapes import LANDSCAPES, ask_nearest, drawn_landscapes, landscape_cards, outcomes
from whence.report.losses import loss_readings
from whence.report.overview import commands, making, overview
from whence.report.pictures import CRISP, LARGE
from whence.report.templates import fill
from whence.report.words import HINT
from whence.statistics.placebo_test import LEVEL


def write_report(ensemble: Ensemble, out: Path | None = None, beside: Sequence[Ensemble] = ()) -> Path:
    """Write the report of an ensemble: one self-contained HTML file.

    Args:
        ensemble: A whole ensemble.
        out: The file; default ``report.html`` in the ensemble's directory. One that is there is replaced.
        beside: Ensembles whose radii are compared with this one's.

    Returns:
        The file.

    Raises:
        ArtefactError: Training images, pictures, ablations or landscapes are damaged; or with `beside`, an ensemble has
            no landscapes.
        MismatchError: An ensemble beside this one draws pictures of another size.
    """
    out = out or ensemble.path / "report.html"
    artefacts.write_bytes(out, render(ensemble, beside).encode("utf-8"))
    return out


def render(ensemble: Ensemble, beside: Sequence[Ensemble] = ()) -> str:
    """The report as HTML."""
    data = ensemble.path / "data"
    artefacts.read_verified(data, "dataset")
    training = TrainingImages(ensemble.data, ensemble.codebook)
    sets, found = sample_sets(ensemble), ablations(ensemble)
    figures = [comparison(one) for one in found]
    told = cards(found[:ABLATIONS], training)
    drawn = drawn_landscapes(ensemble)
    landscapes = list(landscape_cards(drawn[:LANDSCAPES], training, loss_readings(ensemble)))
    about, longest = overview(ensemble, sets, training.grouped), max(ensemble.data.size[1:])
    links = {card.name: f"#{card.anchor}" for card in reversed(landscapes)}
    links |= {card.name: f"#{card.anchor}" for card in reversed(told)}
    return fill(
        "report.html.j2",
        name=about.name,
        version=str(ensemble.manifest.environment["whence"]),
        about=about,
        grouped=training.grouped,
        pictures=sum(len(samples.names) for samples in sets),
        ablatable=any(not samples.without for samples in sets),
        galleries=[gallery(samples, ensemble.codebook.members, links) for samples in sets[:SETS]],
        sets_left_out=max(0, len(sets) - SETS),
        cards=told,
        ablations=len(found),
        ablations_left_out=max(0, len(found) - ABLATIONS),
        landscapes=landscapes,
        landscapes_left_out=max(0, len(drawn) - LANDSCAPES),
        outcomes=outcomes([one.reading() for one in drawn]),
        ask=ask_nearest(ensemble, drawn),
        shared=shared(ensemble.codebook.members),
        level=f"{LEVEL:.0%}",
        beside=runs_beside([ensemble, *beside]) if beside else None,
        hints=sum(one.is_hint for one in figures),
        unmatched=sum(one.placebo is None for one in figures),
        hint=HINT,
        notes=[str(note) for note in ensemble.manifest.facts.get("notes", [])],
        making=making(ensemble),
        commands=commands(ensemble, sets),
        crisp=longest <= CRISP,
        shrunk=longest > LARGE,
    )
