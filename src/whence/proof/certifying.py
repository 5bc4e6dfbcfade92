"""Making a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whence import artefacts
from whence.engine import Report, silent
from whence.ensemble import Ensemble, ablate
from whence.ensemble.model import member_name, member_path
from whence.errors import ConfigError
from whence.proof import words
from whence.proof.certificate import Certificate, Content, Example, Picture, Survivor, Unit
from whence.proof.near import near_duplicates, rows_seen
from whence.proof.root import Committed, code_word, commit


def certify(
    ensemble: Ensemble,
    sample: str,
    units: Sequence[str],
    *,
    workers: int | None = None,
    report: Report = silent,
) -> Certificate:
    """Return the certificate of a picture without some units; the picture is drawn if it is not there yet.

    Args:
        ensemble: A whole ensemble.
        sample: SEED/INDEX of a picture that it has drawn.
        units: The units that are left out together.
        workers: Processes; default one for each core.
        report: Called with (network evaluations done, evaluations in all).

    Returns:
        The certificate; its `root` is what should have been published.

    Raises:
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units.
        ArtefactError: The sample has not been drawn, or the run is damaged.
        ConfigError: The sample was drawn in other canonical batches than the ensemble's.
    """
    [ablation] = ablate(ensemble, sample, units, workers=workers, report=report)
    sampler, own = ablation.manifest.made["sampler"], ensemble.config.sampler.batch_size
    if sampler["batch_size"] != own:
        raise ConfigError(
            f"Picture {sample} was drawn in batches of {sampler['batch_size']}; a certificate is for pictures drawn in "
            f"the ensemble's own, of {own}."
        )
    committed = commit(ensemble)
    near = near_duplicates(committed.data, ablation.units, rows_seen(committed, ablation.survivors))
    shown = dict.fromkeys(id for unit in ablation.units for id in _ids(committed, unit))
    fields: dict[str, Any] = {
        "kind": "certificate",
        "root": committed.root.hash,
        "root_of": committed.root,
        "ensemble": Content.of(ensemble.manifest),
        "sample": ablation.sample,
        "sampler": sampler,
        "picture": Picture.of(ablation.pictures["counterfactual"]),
        "units": tuple(_unit(committed, unit) for unit in ablation.units),
        "survivors": tuple(_survivor(ensemble, member) for member in ablation.survivors),
        "examples": tuple(_example(committed, id) for id in dict.fromkeys([*shown, *(one.id for one in near)])),
        "near": near,
        "environment": artefacts.environment(),
    }
    draft = Certificate.model_construct(**fields)
    return Certificate.sealed(
        **fields, statement=words.statement(draft), proven=words.PROVEN, not_proven=words.not_proven(draft)
    )


def _ids(committed: Committed, unit: str) -> list[str]:
    return [committed.data.ids[n] for n in committed.data.examples_of(unit)]


def _unit(committed: Committed, unit: str) -> Unit:
    return Unit(
        unit=unit,
        word=code_word(committed.ensemble.codebook, unit),
        ids=tuple(_ids(committed, unit)),
        place=committed.units.place(committed.units.positions(unit)[0]),
    )


def _example(committed: Committed, id: str) -> Example:
    data, n = committed.data, committed.data.index_of(id)
    fingerprint, value = data.fingerprints[n], [id, list(data.units[n])]
    [index] = [k for k in committed.images.positions(fingerprint) if committed.images.entries[k][1] == value]
    return Example(id=id, fingerprint=fingerprint, units=data.units[n], place=committed.images.place(index))


def _survivor(ensemble: Ensemble, member: int) -> Survivor:
    run = Content.of(artefacts.read_manifest(member_path(ensemble.path, member), "model"))
    return Survivor(member=member, fingerprint=ensemble.manifest.parts[member_name(member)], run=run)
