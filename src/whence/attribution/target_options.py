"""What is stated of folders of models: adapters, how they were trained, and the names of their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence import artefacts
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError
from whence.process_config import OPEN, ProcessConfig

if TYPE_CHECKING:
    from whence.attribution.target import Target


def record(target: Target) -> dict[str, Any] | None:
    """Return how a target of one model in a folder is opened again, as JSON values; None for others."""
    run = target.runs[0]
    if len(target.runs) > 1 or target.ensemble is not None or isinstance(run, DiffusionModel):
        return None
    folder, base = (run.folder, run.base) if isinstance(run, AdapterRun) else (run, None)
    return {
        "model": str(folder.resolve()),
        "base": None if base is None else str(base.resolve()),
        "adapters": [[str(one.file.resolve()), one.strength, one.scale] for one in target.adapters],
        "resolution": target.resolution if base is None else None,
        "settings": None if target.settings == OPEN else target.settings.record(),
        "classes": None if target.classes is None else str(target.classes.resolve()),
    }


def reopen(target: type[Target], recorded: Mapping[str, Any], model: str | None = None) -> Target:
    """Return the target of a record, or the same in the folder of another model."""
    settings, classes = recorded["settings"], recorded["classes"]
    return target.mean(
        [model or recorded["model"]],
        [Adapter(Path(file), strength, scale) for file, strength, scale in recorded["adapters"]],
        recorded["resolution"],
        recorded["base"],
        None if settings is None else ProcessConfig(**settings),
        None if classes is None else Path(classes),
    )


def adapted(target: Target, adapters: Sequence[Adapter]) -> Target:
    """Return a target with adapters. By which base they were trained is not known, and its name says so."""
    if target.ensemble is not None or not isinstance(target.runs[0], Path):
        raise ConfigError(
            "Adapters are put on a model in a folder; give one, or put them on your network: "
            "whence.diffusion.adapters.layers.attach."
        )
    own = ", ".join(f"{adapter.file.name} at strength {adapter.strength:g}" for adapter in adapters)
    return replace(target, name=f"{target.name} with {own} (base not verified)", adapters=tuple(adapters))


def stated(target: Target, settings: ProcessConfig) -> Target:
    """Return a target of folders whose process is stated; Whence's own runs state theirs."""
    foreign = all(isinstance(run, Path) and artefacts.kind_of(run) != "model" for run in target.runs)
    if target.ensemble is not None or not foreign:
        raise ConfigError(
            f"{target.name} says itself how it was trained; settings of the process are for folders of other trainers. "
            "Leave [process] out."
        )
    return replace(target, settings=settings)


def named(target: Target, classes: Path) -> Target:
    """Return a target whose labels a file names."""
    if not isinstance(target.runs[0], Path):
        raise ConfigError(f"There is a file of classes, {classes}. It is for a model in a folder; leave it out.")
    return replace(target, classes=classes)
