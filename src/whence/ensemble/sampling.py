"""Pictures of an ensemble, as artefacts.

runs/ens/samples/0/               pictures 0/0, 0/1, ... by all members
runs/ens/samples/1-without-17/    pictures 1/0, ... by the members that never saw unit 17
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from whence import artefacts, images
from whence.artefacts import Manifest
from whence.config import SamplerConfig
from whence.diffusion.sampling import sampling_steps
from whence.engine import Report, silent
from whence.ensemble.model import Ensemble
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.errors import ArtefactError, ConfigError


@dataclass(frozen=True)
class Samples:
    """Pictures SEED/0 ... SEED/K-1.

    Attributes:
        path: Their directory.
        manifest: Seed, count, sampler, removed units and the members that drew them.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Samples:
        """Return samples, checking every file by hash.

        Raises:
            ArtefactError: They are missing, unfinished or damaged.
        """
        manifest = artefacts.read_manifest(path, "samples")
        artefacts.verify(path, manifest)
        return cls(path, manifest)

    @property
    def seed(self) -> int:
        """The SEED of the names."""
        return int(self.manifest.made["seed"])

    @property
    def without(self) -> list[str]:
        """Units that the members which drew them never saw."""
        return list(self.manifest.made["without"])

    @property
    def sampler(self) -> SamplerConfig:
        """How they were drawn."""
        return SamplerConfig(**self.manifest.made["sampler"])

    @property
    def names(self) -> list[str]:
        """SEED/INDEX of every picture."""
        return [f"{self.seed}/{index}" for index in range(self.manifest.made["count"])]

    @cached_property
    def pictures(self) -> Tensor:
        """Float32 [K, C, H, W] in [-1, 1]."""
        return artefacts.read_tensors(self.path / "pictures.safetensors")["pictures"]


def sample(
    ensemble: Ensemble,
    *,
    count: int = 16,
    seed: int = 0,
    without: Sequence[str] = (),
    sampler: SamplerConfig | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Samples:
    """Draw pictures from the mean prediction of all members, or of those that never saw some units.

    Args:
        ensemble: A whole ensemble.
        count: Pictures SEED/0 ... SEED/COUNT-1. A picture doesn't depend on how many are drawn.
        seed: The SEED of the names.
        without: Units to leave out.
        sampler: Method and steps; default the ensemble's configuration.
        workers: Processes; default one for each core.
        report: Called with (network evaluations done, evaluations in all).

    Returns:
        The samples; drawn only if they are not there yet.

    Raises:
        NoSurvivorsError: Every member saw one of the units.
        MismatchError: Pictures of this seed were drawn by another sampler or ensemble.
        ConfigError: A number is out of range.
    """
    if count < 1 or seed < 0:
        raise ConfigError(f"--count must be at least 1 and --seed at least 0; given {count} and {seed}.")
    sampler = sampler or ensemble.config.sampler
    sampling_steps(ensemble.schedule, sampler)
    without = ensemble.codebook.in_order(without) if without else []
    members = ensemble.codebook.survivors(without) if without else list(range(ensemble.codebook.members))
    path = samples_path(ensemble, seed, without)
    inputs = {"ensemble": ensemble.manifest.fingerprint}
    made: dict[str, Any] = {
        "seed": seed,
        "count": count,
        "without": without,
        "members": members,
        "sampler": sampler.record(),
    }
    if path.exists():
        there = artefacts.read_manifest(path, "samples").made["count"]
        artefacts.existing(path, "samples", inputs=inputs, made=made | {"count": there})
        if there >= count:
            report(1, 1)
            return Samples.open(path)
    with artefacts.create(path, "samples", inputs=inputs, made=made) as part:
        trajectories = [Trajectory(seed, index, tuple(members)) for index in range(made["count"])]
        pictures = draw_trajectories(ensemble, trajectories, sampler, part / "parts", workers, report)
        artefacts.write_tensors(part / "pictures.safetensors", {"pictures": pictures})
        for index, picture in enumerate(pictures):
            images.write_png(part / f"{index:05d}.png", images.to_pixels(picture))
        images.write_png(part / "sheet.png", images.sheet(images.to_pixels(pictures)))
        artefacts.discard(part / "parts")
    return Samples.open(path)


def find_sample(ensemble: Ensemble, name: str) -> tuple[Samples, int]:
    """Return the samples that the picture SEED/INDEX belongs to, and its index.

    Raises:
        ConfigError: The name is not SEED/INDEX.
        ArtefactError: It has not been drawn by this ensemble.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", name)
    if not match:
        raise ConfigError(f"A sample is named SEED/INDEX, like 0/3; given {name!r}.")
    seed, index = int(match[1]), int(match[2])
    path = samples_path(ensemble, seed, [])
    count = 0
    if path.exists():
        samples = Samples.open(path)
        if samples.manifest.inputs["ensemble"] != ensemble.manifest.fingerprint:
            raise ArtefactError(
                f"{path} was drawn by another ensemble (fingerprint {samples.manifest.inputs['ensemble'][:12]}, "
                f"this one is {ensemble.manifest.fingerprint[:12]}). Delete it and draw it again."
            )
        count = samples.manifest.made["count"]
        if index < count:
            return samples, index
    raise ArtefactError(
        f"Picture {name} has not been drawn yet ({count} pictures of seed {seed} are there). "
        f"First: whence ensemble sample {ensemble.path} --seed {seed} --count {index + 1}"
    )


def samples_path(ensemble: Ensemble, seed: int, without: Sequence[str]) -> Path:
    """Where the pictures of a seed are."""
    return ensemble.path / "samples" / (f"{seed}-without-{units_key(without)}" if without else f"{seed}")


def units_key(units: Sequence[str]) -> str:
    """Return a name for a set of units that can be part of a path.

    Example:
        >>> units_key(["17", "230"])
        '17+230'
        >>> units_key(["../é"])
        'set-032c8707dc60'
    """
    joined = "+".join(units)
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,60}", joined) and not joined.startswith(("only-", "set-"))
    return joined if plain and not any("+" in unit for unit in units) else "set-" + artefacts.digest(list(units))[:12]
