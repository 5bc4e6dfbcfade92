"""The run of an adapter: what `whence train DATA --base BASE` made, together with its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import AdapterConfig, Config
from whence.diffusion.adapters.adapter import FILE_NAMES, Adapter
from whence.diffusion.base import Base
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.shipped_base import base_folder
from whence.errors import ArtefactError, MismatchError
from whence.process_config import ProcessConfig


@dataclass(frozen=True)
class AdapterRun:
    """A finished run whose adapter is checked by hash, with the base that it was trained on.

    Attributes:
        folder: The run directory.
        base: The folder of its base.
    """

    folder: Path
    base: Path

    @classmethod
    def open(cls, folder: Path, base: str | Path | None = None) -> AdapterRun:
        """Return the run in a directory, with its base where the run says it is, or in another folder.

        A path that was relative is looked up from the current directory, then from the run as it was at its training.

        Raises:
            ArtefactError: The adapter is damaged, or the base is not there.
            MismatchError: The base is another one than it was trained on.
        """
        manifest = artefacts.read_manifest(folder, "model")
        artefacts.verify(folder, manifest, FILE_NAMES[0])
        run = cls(folder, base_folder(base) if base is not None else base_of_run(folder, manifest))
        require_base(manifest, run._base.fingerprints(), folder, run.base)
        return run

    @cached_property
    def _manifest(self) -> Manifest:
        return artefacts.read_manifest(self.folder, "model")

    @cached_property
    def settings(self) -> AdapterConfig:
        """The settings of the adapter."""
        return AdapterConfig(**self._manifest.made["adapter"])

    @cached_property
    def process(self) -> ProcessConfig:
        """The settings of the process of its training."""
        return ProcessConfig(**self._manifest.made.get("process", {}))

    @cached_property
    def _base(self) -> Base:
        return Base(self.base, self.settings.resolution, self.process, self.settings.classes)

    @property
    def encoders(self) -> Encoders:
        """The encoders of the base."""
        return self._base.encoders

    def model(self) -> DiffusionModel:
        """The base with the adapter in its end, and with the names of classes of the training."""
        opened = self.checkpoint().open()
        return opened if self.settings.classes is None else replace(opened, text=self.encoders.text)

    def checkpoint(self, weights: Path | None = None, parameters: str | None = None) -> Checkpoint:
        """Return the base with the adapter, whose weights are in a file of the run's checkpoints, or the final ones.

        Without `parameters` the weights of the adapter that were trained are differentiated.
        """
        adapter = Adapter(self.folder, scale=self.settings.scale)
        trained = "lora_B" if self.settings.freeze_a else "lora_"
        return Checkpoint(self.base, weights, parameters or trained, (adapter,), self._base.shape, self.process)


def load_run(folder: Path, base: Path | None = None) -> DiffusionModel:
    """Return the model of a finished run: the network that it trained, or its adapter on a base."""
    return DiffusionModel.load(folder) if base is None else AdapterRun(folder, base).model()


def require_weights(folder: Path, base: Path | None = None) -> None:
    """Check the weights of a finished run by hash; an `ArtefactError` if they are damaged."""
    artefacts.verify(folder, artefacts.read_manifest(folder, "model"), "unet/" if base is None else FILE_NAMES[0])


def is_adapter_run(folder: Path) -> bool:
    """Whether a directory is the run of an adapter."""
    return artefacts.kind_of(folder) == "model" and "adapter" in artefacts.read_manifest(folder, "model").made


def base_of_run(folder: Path, manifest: Manifest) -> Path:
    """Return where the base of a run or an ensemble is: the path as it was given, or as seen from the folder.

    Raises:
        ArtefactError: It is at neither place.
    """
    places = [base_folder(str(manifest.facts["base"])), folder / str(manifest.facts["base_from_run"])]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        way = "Say where it is now: --base BASE." if manifest.kind == "model" else "Move it back, or make a link there."
        raise ArtefactError(f"The base of {folder} is not there: {places[0]} does not exist. {way}")
    return found


def verified_base(folder: Path, manifest: Manifest) -> Path:
    """Return the folder of the base of `base_of_run`, whose fingerprints are those that a manifest states.

    Raises:
        ArtefactError, MismatchError: It is not there, or another one.
    """
    base = base_of_run(folder, manifest)
    made = manifest.made.get("config", manifest.made)
    stated = Config(adapter=made["adapter"], process=made.get("process"))
    require_base(manifest, Base.of(base, stated).fingerprints(), folder, base)
    return base


def require_base(manifest: Manifest, found: Mapping[str, str], folder: Path, base: Path) -> None:
    """Check that a base has the fingerprints with which a run or an ensemble was trained.

    Raises:
        MismatchError: It is another one; the message says which part differs.
    """
    stated: dict[str, Any] = manifest.inputs["base"]
    others = [name for name in stated if found.get(name) != stated[name]]
    if others:
        lines = [f"  {name}: trained on {stated[name][:12]}, there {str(found.get(name))[:12]}" for name in others]
        way = "Give the base that it was trained on: --base BASE." if manifest.kind == "model" else "Put it back."
        raise MismatchError(
            f"{base} is another base than {folder} was trained on; the fingerprints differ:\n"
            + "\n".join(lines)
            + f"\n{way}"
        )
