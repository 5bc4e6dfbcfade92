"""Training a member again: the only check that does not rely on the record of the holder.

A check returns its finding in words, or raises ProofError.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import DEFAULT, Engine
from whence.ensemble.model import member_path
from whence.ensemble.training import member_config
from whence.errors import ConfigError, ProofError
from whence.proof.certificate import Certificate
from whence.proof.root import EnsembleTrees
from whence.proof.run_checks import member_data

#: Largest ‖w' - w‖ / ‖w - w₀‖ that counts as rounding, with the retrained weights w', the stated w, the untrained w₀.
#: On 300 steps of 8x8 digits another number of threads made it 4e-6, other kernels 8e-5 (8e-3 after only 6
#: steps), one of 750 images added or left out 0.4 to 0.6.
ROUNDING = 0.05
_COLUMNS = ("rows", "visits", "timesteps", "flipped")


def choose_member(certificate: Certificate, member: int | None) -> int:
    """Return the member to retrain: the given one, or one that nobody could foresee.

    Raises:
        ConfigError: The given member did not draw the picture.
    """
    if member is None:
        return secrets.choice(certificate.members)
    if member not in certificate.members:
        raise ConfigError(f"Member {member} did not draw the picture; those that did are {certificate.members}.")
    return member


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
