"""Making certificates. They list near-duplicates: images that look like those of the units, and that survivors saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from whence import artefacts
from whence.data import Dataset
from whence.diffusion.adapters.adapter_file import adapter_tensors
from whence.engine import DEFAULT, Engine
from whence.ensemble import Ensemble, ablate
from whence.ensemble.model import member_name, member_path
from whence.ensemble.opt_out import OptOut
from whence.errors import ConfigError
from whence.proof.adapter_certificate import AdapterCertificate, AdapterTensor
from whence.proof.certificate import Certificate, Picture, PictureCertificate, Prompt, PromptCertificate
from whence.proof.relative_certificate import BaseFingerprints
from whence.proof.root import EnsembleTrees, code_word, commit
from whence.proof.survivor_certificate import Content, Example, NearDuplicate, Survivor, SurvivorCertificate, Unit
from whence.similarity.nearest import squared_distances

#: Images listed for each image of the units. All identical images are listed.
NEAREST = 3
#: Pixels of training images that are held as floats at a time.
CHUNK = 2**23

C = TypeVar("C", bound=SurvivorCertificate)


def certify(ensemble: Ensemble, sample: str, units: Sequence[str], *, engine: Engine = DEFAULT) -> PictureCertificate:
    """Return the certificate of a picture without some units. The picture is drawn if it is not there yet.

    Args:
        ensemble: A whole ensemble.
        sample: SEED/INDEX of a picture that it has drawn.
        units: The units that are left out together.
        engine: Where work runs. Its report is called with (network evaluations done, evaluations in all).

    Returns:
        The certificate, of an ensemble of adapters a `PromptCertificate`. Its `root` is the hash that should have been
        published.

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
    fields = {
        "sample": ablation.sample,
        "sampler": sampler,
        "picture": Picture.of(ablation.pictures["counterfactual"]),
        **_survivor_fields(commit(ensemble), ablation.units, ablation.survivors),
    }
    prompts = ablation.drawing.prompts
    if prompts is None:
        return _sealed(Certificate, kind="certificate", **fields)
    [text] = prompts.of([ablation.sample])
    return _sealed(
        PromptCertificate,
        kind="prompt-certificate",
        base=_base(ensemble),
        prompt=Prompt(text=text, negative=prompts.negative, guidance=prompts.scale),
        combine=ablation.drawing.combine,
        **fields,
    )


def certify_adapter(ensemble: Ensemble, adapter: OptOut) -> AdapterCertificate:
    """Return the certificate of an adapter without some units.

    Raises:
        ConfigError: The adapter is of all members, so that nothing is left out.
        ArtefactError: The run is damaged.
    """
    if not adapter.units:
        raise ConfigError("The adapter is the mean of all members: no unit is left out, and nothing can be certified.")
    return _sealed(
        AdapterCertificate,
        kind="adapter-certificate",
        base=_base(ensemble),
        file=artefacts.digest(adapter.content),
        tensors=AdapterTensor.of_each(adapter_tensors(adapter.weights)),
        rank=adapter.rank,
        error=adapter.error,
        **_survivor_fields(commit(ensemble), adapter.units, adapter.survivors),
    )


def _sealed(form: type[C], /, **fields: Any) -> C:
    """The certificate with these fields, its sentences and its fingerprint."""
    return form.sealed(**fields, **form.model_construct(**fields).words())


def _survivor_fields(trees: EnsembleTrees, units: Sequence[str], survivors: Sequence[int]) -> dict[str, Any]:
    """The fields that all certificates have, but for the sentences."""
    near = near_duplicates(trees.data, units, training_rows(trees, survivors))
    ids = [id for unit in units for id in _ids(trees, unit)] + [duplicate.id for duplicate in near]
    return {
        "root": trees.root.hash,
        "root_of": trees.root,
        "ensemble": Content.of(trees.ensemble.manifest),
        "units": tuple(_unit(trees, unit) for unit in units),
        "survivors": tuple(_survivor(trees.ensemble, member) for member in survivors),
        "examples": tuple(_example(trees, id) for id in dict.fromkeys(ids)),
        "near": near,
        "environment": artefacts.environment(),
    }


def _base(ensemble: Ensemble) -> BaseFingerprints:
    return BaseFingerprints(**ensemble.manifest.inputs["base"])


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


def training_rows(trees: EnsembleTrees, members: Sequence[int]) -> np.ndarray:
    """Indices of the training examples that at least one of the members trained on, ascending."""
    rows = [trees.ensemble.codebook.examples(member, trees.data) for member in members]
    return np.unique(np.concatenate(rows))


def near_duplicates(data: Dataset, units: Sequence[str], rows: np.ndarray) -> tuple[NearDuplicate, ...]:
    """Return for every image of the units the `NEAREST` other images by pixels, and all identical ones.

    `rows` are the examples that survivors trained on, none of them of the units. Pairs are in the order of the units'
    images in the data, nearest first, ties by id.

    Example:
        >>> pixels = np.array([0, 0, 255, 51], np.uint8).reshape(4, 1, 1, 1)
        >>> data = Dataset(("a", "b", "c", "d"), pixels, (("u",), ("v",), ("v",), ("v",)), (None,) * 4)
        >>> [(duplicate.id, duplicate.distance) for duplicate in near_duplicates(data, ["u"], np.array([1, 2, 3]))]
        [('b', 0.0), ('d', 0.2), ('c', 1.0)]
    """
    removed = np.unique(np.concatenate([data.examples_of(unit) for unit in units]))
    nearest: dict[int, list[tuple[int, str]]] = {int(n): [] for n in removed}
    for block, squares in _squared_distances(data, removed, rows):
        for n, line in zip(removed.tolist(), squares.tolist(), strict=True):
            candidates = [(int(square), data.ids[row]) for square, row in zip(line, block, strict=True)]
            nearest[n] = _nearest(nearest[n] + candidates)
    return tuple(
        NearDuplicate(of=data.ids[n], id=id, distance=math.sqrt(square) / 255, identical=square == 0)
        for n, pairs in nearest.items()
        for square, id in pairs
    )


def _nearest(pairs: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [pair for k, pair in enumerate(sorted(pairs)) if k < NEAREST or pair[0] == 0]


def _squared_distances(data: Dataset, removed: np.ndarray, rows: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield blocks of rows and their squared distances in grey levels, float64 [R, n]: whole numbers, hence exact."""
    few = data.pixels[removed].reshape(len(removed), -1)
    step = max(1, CHUNK // few.shape[1])
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        yield block.tolist(), squared_distances(few, data.pixels[block].reshape(len(block), -1))
