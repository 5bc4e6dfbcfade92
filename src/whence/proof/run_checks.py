"""Checks of a certificate that need the run directory. Each returns its finding, or raises ProofError.

Training a member again is the only one that does not rely on the record of the holder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.adapters.adapter import FILE_NAMES
from whence.diffusion.adapters.adapter_file import adapter_tensors
from whence.diffusion.adapters.initial_weights import initial_weights
from whence.diffusion.draws import Batches
from whence.diffusion.encoding import FOLDER, KIND
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import DEFAULT, Engine
from whence.ensemble import Ensemble
from whence.ensemble.model import member_path
from whence.ensemble.training import member_config
from whence.errors import ProofError
from whence.proof.make_certificate import near_duplicates, training_rows
from whence.proof.relative_certificate import RelativeCertificate
from whence.proof.root import EnsembleTrees, Root, commit
from whence.proof.survivor_certificate import SurvivorCertificate

#: Largest ‖w' - w‖ / ‖w - w₀‖ that counts as rounding, with the retrained weights w', the stated w, the untrained w₀.
#: On 300 steps of 8x8 digits another number of threads made it 4e-6, other kernels 8e-5 (8e-3 after only 6
#: steps), one of 750 images added or left out 0.4 to 0.6.
ROUNDING = 0.05
_COLUMNS = ("rows", "visits", "timesteps", "flipped")


def open_run(path: Path, root: Root) -> EnsembleTrees:
    """Return the ensemble in a run directory if it is the one of the root; every file is checked by hash.

    Raises:
        ProofError: The ensemble or its data are others; the message says what differs.
    """
    fingerprint = artefacts.read_manifest(path, "ensemble").fingerprint
    if fingerprint != root.ensemble:
        raise ProofError(
            f"{path} is another ensemble than the root is of: fingerprint {fingerprint[:12]}, expected "
            f"{root.ensemble[:12]}."
        )
    trees = commit(Ensemble.open(path))
    for name in Root.model_fields:
        actual, stated = getattr(trees.root, name), getattr(root, name)
        if actual != stated:
            raise ProofError(f"The {name} in {path} are not those of the root: {actual} is there, {stated} is stated.")
    return trees


def require_records(certificate: SurvivorCertificate, trees: EnsembleTrees) -> str:
    """Return the finding that no batch of a surviving member holds an image of the units.

    The record of a survivor is compared with the batches that codebook and seed give. All members are checked to be
    trained on the images of their code words, because this ties the images of the units to the ensemble.

    Raises:
        ProofError: A member was trained on other images, or its record is not of its settings.
    """
    removed = {id for unit in certificate.units for id in unit.ids}
    batches = 0
    for member in range(trees.ensemble.codebook.members):
        folder, data = member_path(trees.ensemble.path, member), member_data(trees, member)
        if artefacts.read_manifest(folder, "model").inputs.get("data") != data.fingerprint:
            raise ProofError(f"Member {member} was trained on other images than the codebook gives it.")
        if member in certificate.members:
            record = Record(folder)
            _require_record(record, data, removed, f"member {member}")
            batches += len(record)
    return f"no image of the units in {batches:,} recorded batches of {len(certificate.members)} members"


def require_base(certificate: RelativeCertificate, trees: EnsembleTrees) -> str:
    """Return the finding that the noise schedule is that of the base, and the encoding by it and of these images.

    That the base has the stated fingerprints is checked when the run is opened.

    Raises:
        ProofError: Members were trained with another noise schedule, or on an encoding of other images.
    """
    ensemble = trees.ensemble
    assert ensemble.base is not None
    schedule = ensemble.reference_model.process.record()
    if certificate.survivors[0].run.made["model"] != schedule:
        raise ProofError("The members were trained with another noise schedule than that of the base.")
    folder = ensemble.path / FOLDER
    encoding = artefacts.read_verified(folder, KIND)
    encoders = {"codec": certificate.base.autoencoder, "text": certificate.base.text_encoder}
    if encoding.inputs != {"data": trees.data.ungrouped.fingerprint, **encoders}:
        raise ProofError("The latents and embedded captions are of other images, or by another base.")
    return f"{ensemble.base.folder} has the stated network, autoencoder and text encoder"


def member_data(trees: EnsembleTrees, member: int) -> Dataset:
    """Return the training examples that the codebook gives a member."""
    rows = trees.ensemble.codebook.examples(member, trees.data)
    data = trees.data.select(rows)
    vars(data)["fingerprints"] = tuple(trees.data.fingerprints[n] for n in rows)
    return data


def _require_record(record: Record, data: Dataset, removed: set[str], name: str) -> None:
    config, rows, visits = record.training, record["rows"].numpy(), record["visits"].numpy()
    if removed & set(record.ids):
        raise ProofError(f"The examples of {name} hold {min(removed & set(record.ids))!r}, an image of the units.")
    if record.ids != data.ids:
        raise ProofError(f"The examples of {name} are not those that the codebook gives it.")
    if rows.shape != (config.steps, config.batch) or not ((rows >= 0) & (rows < len(data))).all():
        raise ProofError(f"The record of {name} is not of {config.steps} batches of {config.batch} examples.")
    expected = Batches(data.ids, config.batch, config.seed)
    for step in range(config.steps):
        expected_rows, expected_visits = expected(step)
        if not (np.array_equal(rows[step], expected_rows) and np.array_equal(visits[step], expected_visits)):
            raise ProofError(f"The record of {name} is not of its seed: step {step} has another batch.")


def require_all_near_duplicates(certificate: SurvivorCertificate, trees: EnsembleTrees) -> str:
    """Check that the near-duplicates that remain are those that are listed."""
    rows = training_rows(trees, certificate.members)
    if near_duplicates(trees.data, certificate.unit_names, rows) != certificate.near:
        raise ProofError("The near-duplicates that remain in the data are not those that are listed.")
    return f"the {len(certificate.near)} listed are the nearest of the {len(rows)} images that the members saw"


def require_retrained(trees: EnsembleTrees, member: int, engine: Engine = DEFAULT) -> str:
    """Return the finding that a member, trained again, has the same batches, and weights that differ by rounding.

    An adapter is trained on images that are encoded again, because their encoding in the run is the holder's word.

    Raises:
        ProofError: It has other batches or weights.
    """
    ensemble = trees.ensemble
    config, folder = member_config(ensemble.config, member), member_path(ensemble.path, member)
    name, data = NETWORK_FILE if ensemble.base is None else FILE_NAMES[0], member_data(trees, member)
    with TemporaryDirectory() as scratch:
        again = Path(scratch) / "member"
        train(data, again, config, base=None if ensemble.base is None else ensemble.base.folder, engine=engine)
        columns = (*_COLUMNS, "dropped") if config.training.caption_dropout else _COLUMNS
        _require_same_batches(folder, again, member, columns)
        if artefacts.file_digest(again / name) == artefacts.file_digest(folder / name):
            return f"member {member}, trained again, has the same batches and the same weights to the last bit"
        largest, relative = _difference(folder / name, again / name, _untrained(ensemble, data, config))
    difference = f"differ by up to {largest:.1e}, which is {relative:.1e} of the way that training moved them"
    if not relative <= ROUNDING:
        raise ProofError(f"Member {member} was not trained as its record says: retrained, the weights {difference}.")
    return (
        f"member {member}, trained again, has the same batches; its weights {difference}. Another machine or version "
        "can explain that, so this makes the record likely; only equality to the last bit proves it"
    )


def _untrained(ensemble: Ensemble, data: Dataset, config: Config) -> dict[str, Tensor]:
    """The weights from which the training of a member begins, by their names in its file."""
    if ensemble.base is None or config.adapter is None:
        return DiffusionModel.new(config.model, data.size, config.training.seed).network.state_dict()
    return adapter_tensors(initial_weights(ensemble.base.open().network, config.adapter, config.training.seed))


def _require_same_batches(folder: Path, again: Path, member: int, columns: Sequence[str]) -> None:
    stated, actual = Record(folder), Record(again)
    if stated.ids != actual.ids or any(not torch.equal(stated[name], actual[name]) for name in columns):
        raise ProofError(f"Member {member}, trained again, sees other batches than its record says.")


def _difference(stated: Path, again: Path, untrained: dict[str, Tensor]) -> tuple[float, float]:
    """Largest difference of a weight, and ‖w' - w‖ / ‖w - w₀‖ over all of them."""
    w, other = artefacts.read_tensors(stated), artefacts.read_tensors(again)
    shapes = [{name: tensor.shape for name, tensor in weights.items()} for weights in (w, other, untrained)]
    if shapes[0] != shapes[1] or shapes[0] != shapes[2]:
        raise ProofError("The weights are not those of a network with these settings.")
    change = [other[name].double() - w[name].double() for name in w]
    moved = [w[name].double() - untrained[name].double() for name in w]
    norms = [
        torch.linalg.vector_norm(torch.cat([tensor.flatten() for tensor in tensors])).item()
        for tensors in (change, moved)
    ]
    return max(tensor.abs().max().item() for tensor in change), norms[0] / max(norms[1], 1e-30)
