"""Pictures of an ensemble, as artefacts.

runs/ens/samples/0/               pictures 0/0, 0/1, ... by all members
runs/ens/samples/1-without-17/    pictures 1/0, ... by the members that never saw unit 17
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from whence import artefacts, images, notebook
from whence.artefacts import Artefact
from whence.config import SamplerConfig
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import parse_name
from whence.engine import DEFAULT, Engine
from whence.ensemble.drawing import Combine, Drawing, complete_drawing
from whence.ensemble.model import Ensemble
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.errors import ArtefactError, ConfigError, MismatchError


@dataclass(frozen=True)
class Samples(Artefact):
    """Pictures SEED/0 ... SEED/K-1."""

    kind = "samples"

    @property
    def seed(self) -> int:
        """The SEED of the names."""
        return int(self.manifest.made["seed"])

    @property
    def without(self) -> list[str]:
        """Units that the members which drew them never saw."""
        return list(self.manifest.made["without"])

    @property
    def drawing(self) -> Drawing:
        """How they were drawn."""
        return Drawing.of(self.manifest.made)

    @property
    def captions(self) -> tuple[str, ...]:
        """Their prompts; none of members that take no text."""
        return self.drawing.captions(self.names)

    @property
    def names(self) -> list[str]:
        """SEED/INDEX of every picture."""
        return [f"{self.seed}/{index}" for index in range(self.manifest.made["count"])]

    @cached_property
    def pictures(self) -> Tensor:
        """Float32 [K, C, H, W] in [-1, 1]."""
        return self._tensors["pictures"]

    @property
    def examples(self) -> Tensor:
        """What the members drew: the pictures, or the latents that they were decoded from, float32 [K, ...]."""
        return self._tensors.get("latents", self.pictures)

    def _repr_html_(self) -> str:
        pixels, captions = images.to_pixels(self.pictures[: notebook.MOST]), self.captions
        texts = [(name, *captions[k : k + 1]) for k, name in enumerate(self.names)]
        cells = [notebook.picture(pixels[k] if k < len(pixels) else None, *text) for k, text in enumerate(texts)]
        without = f" without {', '.join(self.without)}" if self.without else ""
        return notebook.gallery(f"{len(texts)} pictures of seed {self.seed}{without}", cells)

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return artefacts.read_tensors(self.path / "pictures.safetensors")


def sample(
    ensemble: Ensemble,
    *,
    count: int = 16,
    seed: int = 0,
    without: Sequence[str] = (),
    sampler: SamplerConfig | None = None,
    prompts: Prompts | None = None,
    combine: Combine = "predictions",
    engine: Engine = DEFAULT,
) -> Samples:
    """Return pictures SEED/0 ... SEED/COUNT-1 by the mean of all members, or of those that never saw some units.

    A picture doesn't depend on how many are drawn; what is there already is not drawn again. `sampler` is by default
    that of the ensemble. Members that take text draw from prompts, by default the empty one; adapters are combined by
    their predictions or by their weights, see `Drawing`. The report is called with (network evaluations done,
    evaluations in all).

    Raises:
        NoSurvivorsError: Every member saw one of the units.
        MismatchError: Pictures of this seed were drawn by another sampler or ensemble.
        ConfigError: A number is out of range, or members that are whole networks get prompts or combined weights.
    """
    drawing = complete_drawing(ensemble.text, sampler or ensemble.config.sampler, prompts, combine)
    request = SampleRequest.make(ensemble, count, seed, without, drawing)
    with artefacts.lock(request.path.with_name(f"{request.path.name}-request")):
        trajectories = request.missing_trajectories()
        if not trajectories:
            engine.report(1, 1)
            return Samples.open(request.path)
        with artefacts.create(request.path, "samples", inputs=request.inputs, made=request.made) as part:
            scratch = part / artefacts.RESUME / "parts"
            drawn = draw_trajectories(ensemble, trajectories, request.drawing, scratch, engine)
            artefacts.write_tensors(part / "pictures.safetensors", drawn)
            for index, picture in enumerate(drawn["pictures"]):
                images.write_png(part / f"{index:05d}.png", images.to_pixels(picture))
            images.write_png(part / "sheet.png", images.sheet(images.to_pixels(drawn["pictures"])))
    return Samples.open(request.path)


@dataclass(frozen=True)
class SampleRequest:
    """The checked input of `sample`.

    Attributes:
        path: Directory of the samples.
        drawing: How they are drawn.
        inputs: Fingerprint of the ensemble.
        made: All other settings that they depend on.
    """

    path: Path
    drawing: Drawing
    inputs: dict[str, str]
    made: dict[str, Any]

    @classmethod
    def make(cls, ensemble: Ensemble, count: int, seed: int, without: Sequence[str], drawing: Drawing) -> SampleRequest:
        """Return the request, with every default filled in.

        Raises:
            ConfigError: A number is out of range.
        """
        if count < 1 or seed < 0:
            raise ConfigError(f"--count must be at least 1 and --seed at least 0; given {count} and {seed}.")
        ensemble.reference_model.process.sampling_steps(drawing.sampler.steps, drawing.sampler.method)
        units = ensemble.codebook.in_order(without) if without else []
        members = ensemble.codebook.survivors(units) if units else list(range(ensemble.codebook.members))
        made = {"seed": seed, "count": count, "without": units, "members": members, **drawing.record()}
        path = samples_path(ensemble, seed, units)
        return cls(path, drawing, {"ensemble": ensemble.manifest.fingerprint}, made)

    def missing_trajectories(self) -> list[Trajectory]:
        """Return what must be drawn: nothing if as many pictures are there already.

        Raises:
            MismatchError: Pictures of this seed were drawn in another way, or an interrupted call began to.
        """
        seed = self.made["seed"]
        if self.path.exists():
            count = artefacts.read_manifest(self.path, "samples").made["count"]
            way = f"Draw with another --seed, or delete {self.path}."
            with _explained(f"The pictures of seed {seed} were drawn in another way", way):
                artefacts.existing(self.path, "samples", inputs=self.inputs, made=self.made | {"count": count})
            if count >= self.made["count"]:
                return []
        part = self.path.with_name(f"{self.path.name}.part")
        way = f"Give the first command again to finish them, draw with another --seed, or delete {part}."
        with _explained(f"Pictures of seed {seed} were begun in another way, and not finished", way):
            artefacts.begun(self.path, "samples", inputs=self.inputs, made=self.made)
        members = tuple(self.made["members"])
        return [Trajectory(self.made["seed"], index, members) for index in range(self.made["count"])]


@contextmanager
def _explained(what: str, way: str) -> Iterator[None]:
    """Turn a MismatchError into one that says what the matter is, what differs, and the way out."""
    try:
        yield
    except MismatchError as error:
        differences = "\n".join(str(error).splitlines()[1:-1])
        raise MismatchError(f"{what}:\n{differences}\n{way}") from None


def find_sample(ensemble: Ensemble, name: str, opened: dict[int, Samples] | None = None) -> tuple[Samples, int]:
    """Return the samples that the picture SEED/INDEX belongs to, and its index.

    Samples by seed are taken from `opened`, or added to it.

    Raises:
        ArtefactError: It has not been drawn by this ensemble.
    """
    seed, index = parse_name(name)
    opened = {} if opened is None else opened
    path = samples_path(ensemble, seed, [])
    if seed not in opened and path.exists():
        samples = Samples.open(path)
        if (fingerprint := samples.manifest.inputs["ensemble"]) != ensemble.manifest.fingerprint:
            raise ArtefactError(
                f"{path} was drawn by another ensemble (fingerprint {fingerprint[:12]}, this one is "
                f"{ensemble.manifest.fingerprint[:12]}). Delete it and draw it again."
            )
        opened[seed] = samples
    count = len(opened[seed].names) if seed in opened else 0
    if index < count:
        return opened[seed], index
    raise ArtefactError(
        f"Picture {name} has not been drawn yet ({count} pictures of seed {seed} are there). "
        f"First: whence ensemble sample {ensemble.path} --seed {seed} --count {index + 1}"
    )


def expand_names(names: Sequence[str]) -> list[str]:
    """Return SEED/INDEX of every sample that is named by SEED/INDEX or SEED/FIRST-LAST, without repeats.

    Raises:
        ConfigError: A name is neither.
    """
    expanded: list[str] = []
    for name in names:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,6})(?:-(\d{1,6}))?", name)
        if not match or (match[3] and int(match[3]) < int(match[2])):
            raise ConfigError(
                f"A sample is named SEED/INDEX, like 0/3, or SEED/FIRST-LAST, like 0/0-15; given {name!r}."
            )
        expanded += [f"{int(match[1])}/{index}" for index in range(int(match[2]), int(match[3] or match[2]) + 1)]
    return list(dict.fromkeys(expanded))


def samples_path(ensemble: Ensemble, seed: int, without: Sequence[str]) -> Path:
    """Directory of the pictures of a seed."""
    return ensemble.path / "samples" / (f"{seed}-without-{units_key(without)}" if without else f"{seed}")


def units_key(units: Sequence[str]) -> str:
    """Return a name for a set of units that can be part of a path."""
    joined = "+".join(units)
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,60}", joined) and not joined.startswith(("only-", "set-"))
    return joined if plain and not any("+" in unit for unit in units) else "set-" + artefacts.digest(list(units))[:12]
