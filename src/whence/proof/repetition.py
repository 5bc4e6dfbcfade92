"""Repetition: the survivors draw the picture again, or their mean is made again, to compare it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from whence import artefacts, images
from whence.diffusion.adapters.adapter_file import adapter_tensors
from whence.diffusion.adapters.low_rank import LowRank
from whence.engine import DEFAULT, Engine
from whence.ensemble import Ensemble
from whence.ensemble.opt_out import opt_out
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.errors import ProofError
from whence.proof.adapter_certificate import ROUNDING, SIDES, AdapterCertificate, AdapterTensor
from whence.proof.certificate import BOUND, PictureCertificate, float_digest
from whence.proof.document_checks import certificate_drawing, picture_pixels


def require_redrawn(certificate: PictureCertificate, ensemble: Ensemble, engine: Engine = DEFAULT) -> str:
    """Check that the members draw the picture: bit for bit, or within a few grey levels per pixel."""
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


def redraw(certificate: PictureCertificate, ensemble: Ensemble, engine: Engine = DEFAULT) -> Tensor:
    """Return the picture float32 [C, H, W] as these members draw it here, without writing to the run directory."""
    seed, index = map(int, certificate.sample.split("/"))
    trajectory = Trajectory(seed, index, tuple(certificate.members))
    with TemporaryDirectory() as scratch:
        drawing = certificate_drawing(certificate)
        drawn = draw_trajectories(ensemble, [trajectory], drawing, Path(scratch), engine.here())
        return torch.clone(drawn["pictures"][0])


def require_remade(certificate: AdapterCertificate, ensemble: Ensemble, file: Path | None = None) -> str:
    """Return the finding that the mean of the members is that of the certificate: bit for bit, or within rounding.

    Rounding is told by ΔW of the file, which must have the stated tensors.

    Raises:
        ProofError: It is another one, or it has other tensors and there is no file.
    """
    made = opt_out(ensemble, certificate.unit_names, certificate.rank)
    if not isclose(made.error, certificate.error, rel_tol=ROUNDING, abs_tol=ROUNDING**2):
        raise ProofError(
            f"Made again at rank {certificate.rank}, the file has an error of {made.error:.3e}; stated is "
            f"{certificate.error:.3e}."
        )
    tensors = adapter_tensors(made.weights)
    if AdapterTensor.of_each(tensors) == certificate.tensors:
        return f"the mean of {len(made.survivors)} members, made again, has the same tensors to the last bit"
    if file is None:
        raise ProofError(
            "The mean of the members, made again, has other tensors. A file that was cut to a rank has other ones on "
            "another machine, and only ΔW is the same: give the file with --file."
        )
    difference = _difference(artefacts.read_tensors(file), tensors)
    if not difference <= ROUNDING:
        raise ProofError(f"The mean of the members, made again, differs by {difference:.1e} of ΔW from the file.")
    return (
        f"the mean of {len(made.survivors)} members, made again, differs by {difference:.1e} of ΔW ({ROUNDING:.0e} "
        "allowed): not bit for bit, as on another machine or version"
    )


def _difference(stated: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> float:
    """‖ΔW' - ΔW‖ / ‖ΔW‖ over all layers."""
    if stated.keys() != again.keys():
        raise ProofError("The mean of the members, made again, changes other layers than the file.")
    names, squares = [name.removesuffix(SIDES[0]) for name in stated if name.endswith(SIDES[0])], [0.0, 0.0]
    for name in names:
        one, other = (_delta(tensors, name) for tensors in (stated, again))
        squares[0] += float((other - one).square().sum())
        squares[1] += float(one.square().sum())
    return float((squares[0] / max(squares[1], 1e-30)) ** 0.5)


def _delta(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    a, b = (tensors[name + side].double() for side in SIDES)
    return LowRank(a, b).delta()
