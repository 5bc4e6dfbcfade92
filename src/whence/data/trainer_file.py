"""The file of settings of kohya's trainer that describes a data set (``--dataset_config FILE.toml``).

Settings of a subset come before those of its data set, and these before those in ``[general]``.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whence.data.buckets import Buckets
from whence.data.dataset import Dataset
from whence.data.read_options import ReadOptions
from whence.data.recipe import Recipe
from whence.data.splits import DEFAULT, choose
from whence.data.trainer_settings import DatasetSettings, SubsetSettings
from whence.data.trainer_subset import raw_examples
from whence.errors import ConfigError, DataError, join_names

#: Settings that change a visit in a way that no training of Whence does, where they are not at their default.
_BEYOND = (
    "shuffle_caption",
    "color_aug",
    "face_crop_aug_range",
    "random_crop",
    "enable_wildcard",
    "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate",
    "token_warmup_step",
)


@dataclass(frozen=True)
class TrainerFile:
    """What a file says: each data set with the settings of its subsets."""

    path: Path
    datasets: tuple[tuple[DatasetSettings, tuple[SubsetSettings, ...]], ...]

    @classmethod
    def read(cls, path: Path) -> TrainerFile:
        """Return what a file says.

        Raises:
            DataError: It is no TOML, has no data set, or has a setting that Whence doesn't know, or of another kind.
        """
        try:
            content = tomllib.loads(path.read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DataError(f"{path} is not a readable TOML file: {error}.") from None
        general, datasets = content.pop("general", {}), content.pop("datasets", None)
        if content:
            raise DataError(
                f"{path} has {join_names(list(content))} beside [general] and [[datasets]]; move it into one."
            )
        if not _is_tables(datasets) or not isinstance(general, dict):
            raise DataError(f"{path} has no [[datasets]]; the settings of kohya's trainer for a data set are expected.")
        return cls(
            path, tuple(_parse(general, dataset, f"{path}, data set {n}") for n, dataset in enumerate(datasets, 1))
        )

    @property
    def subsets(self) -> list[SubsetSettings]:
        """The subsets of all data sets."""
        return [subset for _, subsets in self.datasets for subset in subsets]

    @property
    def recipe(self) -> Recipe:
        """What it says of every visit."""
        subsets, defaults = self.subsets, SubsetSettings(image_dir="")
        beyond = [name for name in _BEYOND if any(getattr(one, name) != getattr(defaults, name) for one in subsets)]
        shared = {}
        for name in ("flip_aug", "caption_dropout_rate"):
            values = {getattr(subset, name) for subset in subsets}
            shared[name] = values.pop() if len(values) == 1 else getattr(defaults, name)
            beyond += [f"{name} (other for some subsets)"] if values else []
        return Recipe(self.path.name, shared["flip_aug"], shared["caption_dropout_rate"], tuple(beyond))


def read_trainer_file(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return the images that a file of the trainer names, with their captions and visits.

    Columns for units are ``subset`` (the folder), ``class_tokens`` and ``kind`` (``training`` or ``regularisation``).

    Raises:
        DataError: The file has a setting that Whence can't follow, or images have several sizes and there is no
            resolution.
    """
    choose({DEFAULT: path}, split, str(path))
    file = TrainerFile.read(path)
    folders = [_folder(path, subset.image_dir) for subset in file.subsets]
    root = Path(os.path.commonpath([folder.parent for folder in folders]))
    own = iter(folders)
    datasets = [[subset.subset(next(own)) for subset in subsets] for _, subsets in file.datasets]
    raw = raw_examples(datasets, root, file.recipe, _notes(file.recipe))
    if options.resolution is None and options.buckets is None:
        options = replace(options, buckets=_buckets(file))
    return raw.dataset(options)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def _parse(
    general: dict[str, Any], dataset: dict[str, Any], where: str
) -> tuple[DatasetSettings, tuple[SubsetSettings, ...]]:
    """The settings of a data set and of its subsets, each with what it doesn't say from the table above it."""
    subsets: Any = dataset.get("subsets")
    if not _is_tables(subsets):
        raise DataError(f"{where} has no [[datasets.subsets]]; each needs an image_dir.")
    above = general | {name: value for name, value in dataset.items() if name != "subsets"}
    known = DatasetSettings.model_fields.keys()
    try:
        own = DatasetSettings(**{name: value for name, value in above.items() if name in known})
        shared = {name: value for name, value in above.items() if name not in known}
        return own, tuple(_subset({**shared, **subset}) for subset in subsets)
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from None


def _subset(values: dict[str, Any]) -> SubsetSettings:
    """The settings of a subset; a `ConfigError` names those of other kinds of data sets, which are not read."""
    for name, kind in {"metadata_file": "captions in one file", "conditioning_data_dir": "ControlNet"}.items():
        if name in values:
            raise ConfigError(
                f"{name} makes a data set of {kind}, which is not read. Give image folders with captions."
            )
    return SubsetSettings(**values)


def _folder(file: Path, name: str) -> Path:
    """Return the folder of a subset: beside the file, or in the current folder as the trainer has it.

    Raises:
        DataError: There are two, or none.
    """
    places = dict.fromkeys(place.absolute() for place in (file.parent / name, Path(name)) if place.is_dir())
    found = {place.resolve(): Path(os.path.normpath(place)) for place in places}
    if len(found) > 1:
        raise DataError(
            f"image_dir {name!r} is in two places: {join_names(list(map(str, found)))}. Write a whole path."
        )
    if not found:
        raise DataError(f"{file} names the folder {name!r}, which is neither beside it nor in the current folder.")
    return next(iter(found.values()))


def _notes(recipe: Recipe) -> tuple[str, ...]:
    """A note on what changes from visit to visit, which an attribution does not follow."""
    varied = [*(["flip_aug"] if recipe.flip else []), *(["caption_dropout_rate"] if recipe.caption_dropout else [])]
    varied += list(recipe.beyond)
    if not varied:
        return ()
    return (
        f"{recipe.source} changes visits by {join_names(varied, most=len(varied))}. An attribution of a model from "
        "elsewhere takes images and captions as they are written.",
    )


def _buckets(file: TrainerFile) -> Buckets | None:
    """Return the shapes that images become; None where no resolution is set.

    Raises:
        DataError: Its data sets have several.
    """
    if len({settings.shaping for settings, _ in file.datasets}) > 1:
        raise DataError(
            f"{file.path} has data sets of several resolutions or buckets. Pass --resolution to crop and scale all "
            "images to one square, and --buckets too to keep several shapes."
        )
    settings, _ = file.datasets[0]
    if settings.size is None:
        return None
    return settings.buckets if settings.enable_bucket else Buckets(settings.size, single=True)
