"""The report of an ensemble: everything that it drew, on one page that needs no network, server or script."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from whence import artefacts, images
from whence.diffusion.shipped_base import base_name
from whence.ensemble import Ensemble, Samples, ablations
from whence.ensemble.influence import independence_note
from whence.ensemble.landscape import landscapes
from whence.ensemble.model import member_name
from whence.errors import join_names
from whence.report.ensemble.ablation_card import ABLATIONS, HINT, ablation_cards, comparison
from whence.report.ensemble.landscape_card import LANDSCAPES, landscape_cards, loss_readings, nearest_command, outcomes
from whence.report.ensemble.radii import compare_radii
from whence.report.ensemble.unit import TrainingImages
from whence.report.picture import CRISP, LARGE, SMALL, Picture, data_uri, quoted
from whence.report.template import fill, flat_settings, versions
from whence.report.text import number, plural, unit_phrase
from whence.statistics.placebo_test import LEVEL, default_placebos, placebos_needed

#: Pictures of which the typical distance is taken.
COMPARED = 64
#: Pictures shown of a set, and sets shown.
PICTURES, SETS = 200, 20


def write_report(ensemble: Ensemble, out: Path | None = None, beside: Sequence[Ensemble] = ()) -> Path:
    """Return the path of the report of an ensemble, written as one self-contained HTML file that replaces an older one.

    `out` is by default ``report.html`` in the ensemble's directory. The radii of the ensembles `beside` are compared
    with this one's.

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
    artefacts.read_verified(ensemble.path / "data", "dataset")
    training = TrainingImages(ensemble.data, ensemble.codebook)
    sets, drawn_again = sample_sets(ensemble), ablations(ensemble)
    comparisons = [comparison(ablation) for ablation in drawn_again]
    cards = ablation_cards(drawn_again[:ABLATIONS], training)
    all_landscapes = [*landscapes(ensemble), *landscapes(ensemble, groups=True)]
    shown_landscapes = list(landscape_cards(all_landscapes[:LANDSCAPES], training, loss_readings(ensemble)))
    longest = max(ensemble.data.size[1:])
    links = {card.name: f"#{card.anchor}" for card in reversed(shown_landscapes)}
    links |= {card.name: f"#{card.anchor}" for card in reversed(cards)}
    return fill(
        "report.html.j2",
        name=ensemble.path.resolve().name,
        version=str(ensemble.manifest.environment["whence"]),
        about=overview(ensemble, sets, training.grouped),
        grouped=training.grouped,
        base=base_name(ensemble.base.folder) if ensemble.base else None,
        combined=any(samples.drawing.combine == "weights" for samples in sets),
        pictures=sum(len(samples.names) for samples in sets),
        ablatable=any(not samples.without for samples in sets),
        galleries=[gallery(samples, ensemble.codebook.members, links) for samples in sets[:SETS]],
        sets_left_out=max(0, len(sets) - SETS),
        cards=cards,
        ablations=len(drawn_again),
        ablations_left_out=max(0, len(drawn_again) - ABLATIONS),
        landscapes=shown_landscapes,
        landscapes_left_out=max(0, len(all_landscapes) - LANDSCAPES),
        outcomes=outcomes([landscape.influence() for landscape in all_landscapes]),
        nearest_command=nearest_command(ensemble, all_landscapes),
        shared=independence_note(ensemble.codebook.members),
        level=f"{LEVEL:.0%}",
        radii=compare_radii([ensemble, *beside]) if beside else None,
        hints=sum(ablation.is_hint for ablation in comparisons),
        unmatched=sum(ablation.placebo is None for ablation in comparisons),
        hint=HINT,
        notes=[str(note) for note in ensemble.manifest.facts.get("notes", [])],
        provenance=provenance(ensemble),
        commands=commands(ensemble, sets),
        crisp=longest <= CRISP,
        shrunk=longest > LARGE,
    )


def overview(ensemble: Ensemble, sets: Sequence[Samples], grouped: bool) -> dict[str, Any]:
    """The ensemble in words and figures. `grouped` says whether units are more than single training images."""
    book, sampler = ensemble.codebook, sets[0].drawing.sampler if sets else ensemble.config.sampler
    examples = plural(len(ensemble.data), "training image")
    counts = book.bits.sum(axis=1)
    fewest, most = int(counts.min()), int(counts.max())
    return {
        "training_set": f"{examples} in {plural(len(book.units), 'unit')}" if grouped else examples,
        "members": book.members,
        "units": len(book.units),
        "shown_to": book.weight,
        "units_per_member": f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}",
        "sampler": f"{plural(sampler.steps, 'step')} ({sampler.method})",
        "scale": _typical_distance(sets),
    }


def _typical_distance(sets: Sequence[Samples]) -> str:
    """The median distance between two pictures of the first set; empty where there are not two."""
    if not sets or len(sets[0].names) < 2:
        return ""
    pictures = sets[0].pictures[:COMPARED]
    rows, columns = torch.triu_indices(len(pictures), len(pictures), offset=1)
    return number(images.distance(pictures[rows], pictures[columns]).median().item())


def provenance(ensemble: Ensemble) -> dict[str, dict[str, str]]:
    """How the ensemble was made: tables of names and values, by title."""
    manifest, book = ensemble.manifest, ensemble.codebook
    members = [manifest.parts[member_name(m)] for m in range(book.members)]
    return {
        "Fingerprints": {
            "ensemble": manifest.fingerprint,
            "training data": str(manifest.inputs["data"]),
            **{f"base: {part}": str(value) for part, value in manifest.inputs.get("base", {}).items()},
        },
        "Settings": {"codebook_seed": str(book.seed), **flat_settings(manifest.made["config"])},
        "Versions": versions(manifest),
        "Members": {
            f"member {m}": f"{plural(int(book.bits[m].sum()), 'unit')}, fingerprint {fingerprint[:12]}"
            for m, fingerprint in enumerate(members)
        },
    }


def commands(ensemble: Ensemble, sets: Sequence[Samples]) -> dict[str, str]:
    """Commands that make more, by what they do."""
    path, unit = shlex.quote(str(ensemble.path)), shlex.quote(ensemble.codebook.units[0])
    first = next((samples for samples in sets if not samples.without), None)
    name, seed, drawn = (first.names[-1], first.seed, len(first.names)) if first else ("0/0", 0, 0)
    needed = placebos_needed(len(ensemble.codebook.units))
    placebos = "" if default_placebos(len(ensemble.codebook.units)) >= needed else f" --placebos {needed}"
    prompt = "" if ensemble.base is None else ' --prompt "..."'
    return {
        "draw": f"whence ensemble sample {path} --count {drawn + 16} --seed {seed}{prompt}",
        "nearest": f"whence ensemble ablate {path} --sample {name} --nearest 3",
        "ablate": f"whence ensemble ablate {path} --sample {name} --unit {unit}",
        "keep": f"whence ensemble ablate {path} --sample {name} --unit {unit} --keep-only",
        "landscape": f"whence ensemble landscape {path} --samples {name}{placebos}",
        "without": f"whence ensemble sample {path} --count 16 --seed 1 --without {unit}{prompt}",
        "export": f"whence ensemble export {path} --without {unit} --format lora opt-out.safetensors",
        "report": f"whence report {path}",
    }


@dataclass(frozen=True)
class Gallery:
    """A set of pictures that were drawn together."""

    title: str  # what they are
    explanation: str  # which members drew them
    pictures: tuple[Picture, ...]  # the first of them
    left_out: int  # how many are not shown

    @property
    def linked(self) -> bool:
        """Whether some of them are explained further down."""
        return any(picture.link for picture in self.pictures)


def sample_sets(ensemble: Ensemble) -> list[Samples]:
    """Return the pictures that this ensemble drew, not another one: those of all members first, by seed and units."""
    sets = [
        Samples.open(folder)
        for folder in artefacts.whole(ensemble.path / "samples", "*")
        if re.fullmatch(r"\d+(-without-.+)?", folder.name)
        and artefacts.read_manifest(folder, "samples").inputs["ensemble"] == ensemble.manifest.fingerprint
    ]
    return sorted(sets, key=lambda samples: (bool(samples.without), samples.seed, samples.without))


def prompted(samples: Samples) -> str:
    """How prompts guide the drawing, and how adapters are combined, in sentences; empty without text."""
    prompts = samples.drawing.prompts
    if prompts is None:
        return ""
    away = f", away from “{prompts.negative}”" if prompts.negative else ""
    combine = "predictions" if samples.drawing.combine == "predictions" else "changes of the weights"
    return f" Guidance {prompts.scale:g}{away}. Each step takes the mean of the members' {combine}."


def gallery(samples: Samples, members: int, links: Mapping[str, str]) -> Gallery:
    """The first pictures of a set; `links` are the places on the page where a picture is explained, by its name."""
    names, without = samples.names, samples.without
    suffix = f", drawn without {unit_phrase(without)}" if without else ""
    title = (f"Pictures {names[0]} to {names[-1]}" if len(names) > 1 else f"Picture {names[0]}") + suffix
    explanation = f"Drawn by all {members} members.{prompted(samples)}"
    if without:
        explanation = (
            f"No member that drew them was trained on {unit_phrase(without)}. "
            f"{len(samples.manifest.made['members'])} of {plural(members, 'member')} drew them.{prompted(samples)} "
            + (f"The units: {join_names(without, most=20)}." if len(without) > 3 else "")
        )
        links = {}
    captions = samples.captions or ("",) * len(names)
    pictures = [
        Picture(data_uri(image, SMALL), f"Picture {name}{suffix}", name, quoted(caption), links.get(name, ""))
        for name, image, caption in zip(names, images.to_pixels(samples.pictures[:PICTURES]), captions, strict=False)
    ]
    return Gallery(title, explanation, tuple(pictures), len(names) - len(pictures))
