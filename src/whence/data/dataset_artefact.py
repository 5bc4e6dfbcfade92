"""Data sets on disk: artefacts of kind ``dataset``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.artefacts import Manifest
from whence.data.dataset import Dataset
from whence.data.fingerprints import Fingerprints
from whence.data.own_units import compact
from whence.data.recipe import Recipe
from whence.errors import ArtefactError, DataError
from whence.ragged import rows_in, tensors_of

#: Kind of the artefact.
KIND = "dataset"
#: The file of all pixels.
PIXELS = "pixels.safetensors"
_EXAMPLES = "examples.parquet"


def write(dataset: Dataset, path: Path) -> Manifest:
    """Write a data set as an artefact of kind ``dataset``; one that is whole already is left as it is.

    The column ``class`` is written only where classes differ from captions, ``weight`` where weights are not 1, and
    ``framing`` where images are no whole originals.

    Returns:
        Its manifest.

    Raises:
        MismatchError: Another data set is at `path`.
    """

    def build(part: Path) -> dict[str, Any]:
        columns: dict[str, Any] = {"id": dataset.ids, "units": dataset.units, "caption": dataset.captions}
        if dataset.classes != dataset.captions:
            columns["class"] = dataset.classes
        if dataset.weights:
            columns["weight"] = dataset.weights
        if dataset.framings:
            columns["framing"] = dataset.framings
        columns["fingerprint"] = dataset.fingerprints
        artefacts.write_tensors(part / PIXELS, tensors_of("pixels", dataset.tensor))
        artefacts.write_table(part / _EXAMPLES, {name: list(values) for name, values in columns.items()})
        recipe = {"recipe": asdict(dataset.recipe)} if dataset.recipe else {}
        return {"examples": len(dataset), "units": len(dataset.unit_ids), "notes": list(dataset.notes), **recipe}

    return artefacts.ensure(path, KIND, inputs={"data": dataset.fingerprint}, made={}, build=build)


@artefacts.reader
def read(path: Path) -> Dataset:
    """Read a data set that `write` wrote; pixels are mapped from disk and not hashed again.

    Returns:
        The data set, with the fingerprints that were recorded. Without a column ``class`` its classes are its captions.

    Raises:
        ArtefactError: It is not a whole data set, or ids, units, captions, classes or fingerprints are not
            those that the manifest states. For damaged pixels use `artefacts.verify`.
    """
    manifest = artefacts.read_manifest(path, KIND)
    table = artefacts.read_table(path / _EXAMPLES)
    arrays = artefacts.read_arrays(path / PIXELS)
    try:
        ids, captions = tuple(table["id"]), tuple(table["caption"])
        classes = tuple(table["class"]) if "class" in table else captions
        units = compact(tuple(map(tuple, table["units"])), ids)
        dataset = Dataset(
            ids=ids,
            pixels=rows_in("pixels", arrays),
            units=units,
            captions=captions,
            classes=classes,
            notes=tuple(manifest.facts.get("notes", ())),
            weights=tuple(table.get("weight", ())),
            recipe=_recipe(manifest.facts.get("recipe")),
            framings=tuple(map(tuple, table.get("framing", ()))),
        )
        # Names stay as they were written, composed or not: what was trained on them goes by them.
        vars(dataset).update(ids=ids, units=units, captions=captions, classes=classes)
    except (KeyError, TypeError, DataError) as error:
        raise ArtefactError(f"{path} is damaged: {error}") from None
    vars(dataset)["fingerprints"] = Fingerprints.of(table["fingerprint"])
    stated = manifest.inputs.get("data")
    if dataset.fingerprint != stated:
        raise ArtefactError(
            f"{path} is damaged: its training examples have the fingerprint {dataset.fingerprint}, "
            f"recorded was {stated}."
        )
    if "class" in table:
        artefacts.verify(path, manifest, within=_EXAMPLES)
    return dataset


def _recipe(facts: dict[str, Any] | None) -> Recipe | None:
    """The recipe of the facts of a manifest, with its list as a tuple."""
    return None if facts is None else Recipe(**{**facts, "beyond": tuple(facts["beyond"])})
