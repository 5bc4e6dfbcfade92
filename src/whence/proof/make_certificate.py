"""Making a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whence import artefacts
from whence.engine import DEFAULT, Engine
from whence.ensemble import Ensemble, ablate
from whence.ensemble.model import member_name, member_path
from whence.errors import ConfigError
from whence.proof import statements
from whence.proof.certificate import Certificate, Content, Example, Picture, Survivor, Unit
from whence.proof.near_duplicates import near_duplicates, training_rows
from whence.proof.root import EnsembleTrees, code_word, commit


def certify(
    ensemble: Ensemble,
    sample: str,
    units: Sequence[str],
    *,
    engine: Engine = DEFAULT,
) -> Certificate:
    """Return the certificate of a picture without some units. The picture is drawn if it is not there yet.

    Args:
        ensemble: A whole ensemble.
        sample: SEED/INDEX of a picture that it has drawn.
        units: The units that are left out together.
        engine: Where work runs. Its report is called with (network evaluations done, evaluations in all).

    Returns:
        The certificate. Its `root` is the hash that should have been published.

    Raises:
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units.
        ArtefactError: The sample has not been drawn, or the run is damaged.
        ConfigError: The sample was drawn in other canonical batches than those of the ensemble.
    """
    [ablation] = ablate(ensemble, sample, units, engine=engine)
    sampler, batch_size = ablation.manifest.made["sampler"], ensemble.config.sampler.batch_size
    if sampler["batch_size"] != batch_size:
        raise ConfigError(
            f"Picture {sample} was drawn in batches of {sampler['batch_size']}; a certificate is for pictures drawn in "
            f"the ensemble's own, of {batch_size}."
        )
    trees = commit(ensemble)
    near = near_duplicates(trees.data, ablation.units, training_rows(trees, ablation.survivors))
    ids = [id for unit in ablation.units for id in _ids(trees, unit)] + [duplicate.id for duplicate in near]
    fields: dict[str, Any] = {
        "kind": "certificate",
        "root": trees.root.hash,
        "root_of": trees.root,
        "ensemble": Content.of(ensemble.manifest),
        "sample": ablation.sample,
        "sampler": sampler,
        "picture": Picture.of(ablation.pictures["counterfactual"]),
        "units": tuple(_unit(trees, unit) for unit in ablation.units),
        "survivors": tuple(_survivor(ensemble, member) for member in ablation.survivors),
        "examples": tuple(_example(trees, id) for id in dict.fromkeys(ids)),
        "near": near,
        "environment": artefacts.environment(),
    }
    draft = Certificate.model_construct(**fields)
    return Certificate.sealed(
        **fields,
        statement=statements.statement(draft),
        proven=statements.PROVEN,
        not_proven=statements.not_proven(draft),
    )


def _ids(trees: EnsembleTrees, unit: str) -> list[str]:
    return [trees.data.ids[n] for n in trees.data.examples_of(unit)]


def _unit(trees: EnsembleTrees, unit: str) -> Unit:
    return Unit(
        unit=unit,
        word=code_word(trees.ensemble.codebook, unit),
        ids=tuple(_ids(trees, unit)),
        place=trees.units.place(trees.units.positions(unit)[0]),
    )


def _example(trees: EnsembleTrees, id: str) -> Example:
    data, n = trees.data, trees.data.index_of(id)
    fingerprint, value = data.fingerprints[n], [id, list(data.units[n])]
    [index] = [k for k in trees.images.positions(fingerprint) if trees.images.entries[k][1] == value]
    return Example(id=id, fingerprint=fingerprint, units=data.units[n], place=trees.images.place(index))


def _survivor(ensemble: Ensemble, member: int) -> Survivor:
    run = Content.of(artefacts.read_manifest(member_path(ensemble.path, member), "model"))
    return Survivor(member=member, fingerprint=ensemble.manifest.parts[member_name(member)], run=run)
