"""Checks of a certificate that need the run directory. Each returns its finding, or raises ProofError.

Training a member again is the only one that does not rely on the record of the holder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from whence import artefacts, images
from whence.data import Dataset
from whence.diffusion.draws import Batches
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import DEFAULT, Engine
from whence.ensemble import Ensemble
from whence.ensemble.drawing import Drawing
from whence.ensemble.model import member_path
from whence.ensemble.training import member_config
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.errors import ProofError
from whence.proof.certificate import BOUND, Certificate, float_digest
from whence.proof.document_checks import certificate_sampler, picture_pixels
from whence.proof.make_certificate import near_duplicates, training_rows
from whence.proof.root import EnsembleTrees, Root, commit

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


def require_records(certificate: Certificate, trees: EnsembleTrees) -> str:
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


def require_all_near_duplicates(certificate: Certificate, trees: EnsembleTrees) -> str:
    """Check that the near-duplicates that remain are those that are listed."""
    names = [unit.unit for unit in certificate.units]
    rows = training_rows(trees, certificate.members)
    if near_duplicates(trees.data, names, rows) != certificate.near:
        raise ProofError("The near-duplicates that remain in the data are not those that are listed.")
    return f"the {len(certificate.near)} listed are the nearest of the {len(rows)} images that the members saw"


def require_redrawn(certificate: Certificate, ensemble: Ensemble, engine: Engine = DEFAULT) -> str:
    """Check that the members draw the picture: bit for bit, or within `BOUND` grey levels per pixel."""
    drawn = redraw(certificate, ensemble, engine)
    size = certificate.picture.size
    stated = np.frombuffer(picture_pixels(certificate.picture), np.uint8).reshape(size).astype(int)
    largest = int(np.abs(images.to_pixels(drawn).astype(int) - stated).max())
    exact = float_digest(drawn) == certificate.picture.floats
    if largest > (0 if exact else BOUND):
        allowed = "none, since the float32 values are those of the stated hash" if exact else BOUND
        raise ProofError(
            f"Drawn again, the picture differs by up to {largest} of 255 grey levels from the embedded one; allowed: "
            f"{allowed}."
        )
    if exact:
        return "drawn again, the picture is the same to the last bit"
    return (
        f"drawn again, the picture differs by up to {largest} of 255 grey levels ({BOUND} allowed): not bit for bit, "
        "as on another machine, device or version"
    )


def redraw(certificate: Certificate, ensemble: Ensemble, engine: Engine = DEFAULT) -> Tensor:
    """Return the picture float32 [C, H, W] as these members draw it here, without writing to the run directory."""
    seed, index = map(int, certificate.sample.split("/"))
    trajectory = Trajectory(seed, index, tuple(certificate.members))
    with TemporaryDirectory() as scratch:
        drawing = Drawing(certificate_sampler(certificate))
        drawn = draw_trajectories(ensemble, [trajectory], drawing, Path(scratch), replace(engine, workers=1))
        return torch.clone(drawn["pictures"][0])


def require_retrained(trees: EnsembleTrees, member: int, engine: Engine = DEFAULT) -> str:
    """Check that a member, trained again, has the same batches, and weights that differ by rounding at most."""
    ensemble = trees.ensemble
    config, folder = member_config(ensemble.config, member), member_path(ensemble.path, member)
    data = member_data(trees, member)
    with TemporaryDirectory() as scratch:
        again = Path(scratch) / "member"
        train(data, again, config, engine=engine)
        _require_same_batches(folder, again, member)
        if artefacts.file_digest(again / NETWORK_FILE) == artefacts.file_digest(folder / NETWORK_FILE):
            return f"member {member}, trained again, has the same batches and the same weights to the last bit"
        untrained = DiffusionModel.new(config.model, data.size, config.training.seed).network.state_dict()
        largest, relative = _difference(folder / NETWORK_FILE, again / NETWORK_FILE, untrained)
    difference = f"differ by up to {largest:.1e}, which is {relative:.1e} of the way that training moved them"
    if not relative <= ROUNDING:
        raise ProofError(f"Member {member} was not trained as its record says: retrained, the weights {difference}.")
    return (
        f"member {member}, trained again, has the same batches; its weights {difference}. Another machine or version "
        "can explain that, so this makes the record likely; only equality to the last bit proves it"
    )


def _require_same_batches(folder: Path, again: Path, member: int) -> None:
    stated, actual = Record(folder), Record(again)
    if stated.ids != actual.ids or any(not torch.equal(stated[name], actual[name]) for name in _COLUMNS):
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
