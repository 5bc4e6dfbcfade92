"""What the header of an adapter's file claims about its training: the ``ss_*`` values that kohya's trainer writes.

Nobody checks them, and every program can write others. So they are shown, and used only where that is asked for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from safetensors import safe_open

from whence.data import Dataset
from whence.diffusion.adapters.adapter import Adapter
from whence.errors import ArtefactError, ConfigError, MismatchError, join_names
from whence.process_config import ProcessConfig

#: What the names of claims begin with.
PREFIX = "ss_"
_PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "True": "v_prediction", "False": "epsilon"}
#: Claims that say nothing where they have one of these values.
_EMPTY = ("", "None", "False", "0", "0.0", "[]", "{}")
#: Claims that change the loss or a visit and that Whence does not use, with what they are called.
_NOT_USED = {
    "ss_adaptive_noise_scale": "adaptive noise scale",
    "ss_multires_noise_iterations": "multi-resolution noise",
    "ss_caption_dropout_rate": "caption dropout",
    "ss_caption_dropout_every_n_epochs": "epochs without captions",
    "ss_caption_tag_dropout_rate": "dropout of tags",
    "ss_shuffle_caption": "shuffled captions",
    "ss_flip_aug": "mirror images",
    "ss_color_aug": "changed colours",
    "ss_random_crop": "random crops",
    "ss_clip_skip": "clip skip",
    "ss_enable_bucket": "aspect buckets",
    "ss_reg_dataset_dirs": "regularisation images in",
}
#: Settings of the process by the name of their claim, with what they are called.
_PROCESS = {"snr_gamma": ("ss_min_snr_gamma", "min-SNR gamma"), "noise_offset": ("ss_noise_offset", "noise offset")}
#: Names in `ss_datasets` of claims about the visits of a subset.
_OF_SUBSETS = ("flip_aug", "color_aug", "random_crop", "shuffle_caption", "caption_dropout_rate")


@dataclass(frozen=True)
class Claims:
    """The claims of a header.

    Attributes:
        source: The file.
        rank: Rank of the adapter.
        alpha: Its α.
        resolution: Width and height of the images.
        prediction: What the network predicts, by its name in diffusers.
        process: Settings of the process.
        repeats: Visits of each image in an epoch, by the name of its folder.
        counts: Number of images, by the name of their folder.
        not_used: Claims that change the loss or a visit and that Whence does not use, by name.
        unreadable: Names of claims whose values can't be read.

    Example:
        >>> claims = Claims.of({"ss_network_dim": "16", "ss_resolution": "(512, 512)", "ss_noise_offset": "0.1"}, "a")
        >>> claims.rank, claims.side, claims.process.record()
        (16, 512, {'noise_offset': 0.1})
    """

    source: str
    rank: int | None
    alpha: float | None
    resolution: tuple[int, int] | None
    prediction: str | None
    process: ProcessConfig
    repeats: Mapping[str, int]
    counts: Mapping[str, int]
    not_used: Mapping[str, str]
    unreadable: tuple[str, ...] = ()

    @classmethod
    def read(cls, adapter: Adapter) -> Claims | None:
        """Return the claims of an adapter's file; None if its header has none.

        Raises:
            ArtefactError: The file is missing or can't be read.
        """
        file = adapter.weights_file
        try:
            with safe_open(file, framework="np") as stored:
                header = dict(stored.metadata() or {})
        except Exception as error:
            raise ArtefactError(f"{file} can't be read as a .safetensors file ({error}).") from None
        return cls.of(header, file.name) if any(name.startswith(PREFIX) for name in header) else None

    @classmethod
    def of(cls, header: Mapping[str, str], source: str) -> Claims:
        """Return the claims in a header; values that can't be read are named and left out."""
        reader = _Reader(header)
        folders = reader.folders()
        subsets = reader.subsets()
        not_used = {text: header[name] for name, text in _NOT_USED.items() if header.get(name, "") not in _EMPTY}
        for name in _OF_SUBSETS:
            values = sorted({str(subset.get(name)) for subset in subsets} - {*_EMPTY})
            not_used |= {_NOT_USED[PREFIX + name]: ", ".join(values)} if values else {}
        if regularisation := reader.mapping("ss_reg_dataset_dirs"):
            not_used[_NOT_USED["ss_reg_dataset_dirs"]] = join_names(list(regularisation))
        predictions = [header.get(name) for name in ("modelspec.prediction_type", "ss_v_parameterization")]
        return cls(
            source,
            reader.number("ss_network_dim", int),
            reader.number("ss_network_alpha", float),
            reader.resolution(),
            next((_PREDICTIONS[value] for value in predictions if value in _PREDICTIONS), None),
            ProcessConfig(**{setting: reader.number(name, float) for setting, (name, _) in _PROCESS.items()}),
            {name: repeats for name, (repeats, _) in folders.items()},
            {name: count for name, (_, count) in folders.items() if count is not None},
            not_used,
            tuple(reader.unreadable),
        )

    @property
    def side(self) -> int | None:
        """The side of the images, if they are squares."""
        return self.resolution[0] if self.resolution and self.resolution[0] == self.resolution[1] else None

    def lines(self) -> Iterator[str]:
        """What a person should read, line by line."""
        for name, value in (("rank", self.rank), ("alpha", self.alpha), ("prediction", self.prediction)):
            if value is not None:
                yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        if self.resolution:
            yield f"resolution {self.resolution[0]}x{self.resolution[1]}"
        for name, repeats in self.repeats.items():
            count = f"{self.counts[name]:,} images, " if name in self.counts else ""
            yield f"folder {name}: {count}{repeats:,} {'visit' if repeats == 1 else 'visits'} of each in an epoch"
        yield from self.process_lines()
        yield from (f"{name} {value}" for name, value in self.not_used.items())
        if self.unreadable:
            yield f"not readable: {join_names(list(self.unreadable), most=9)}"

    def process_lines(self) -> Iterator[str]:
        """The settings of the process in words, each by itself."""
        for setting, (_, text) in _PROCESS.items():
            value = getattr(self.process, setting)
            if value is not None:
                yield f"{text} {value:g}"

    def require_prediction(self, prediction: str) -> None:
        """Check that a base predicts what the header claims; a `MismatchError` if not."""
        if self.prediction is not None and self.prediction != prediction:
            raise MismatchError(
                f"The header of {self.source} claims a network that predicts {self.prediction}, and this base predicts "
                f"{prediction}. Give the base that it was trained on, or leave out --trust-header."
            )

    def weigh(self, data: Dataset) -> Dataset:
        """Return images with weights in proportion to the claimed visits of their folders, which all must be claimed.

        Images that have weights of their own, or all lie in no folder, are returned as they are.

        Raises:
            ConfigError: Some images are in folders that the header doesn't name.
        """
        folders = [PurePosixPath(name).parent.name for name in data.ids]
        if data.weights or not self.repeats or not any(folders):
            return data
        unknown = sorted({folder or "(none)" for folder in folders} - set(self.repeats))
        if unknown:
            raise ConfigError(
                f"The header of {self.source} claims images in {join_names(list(self.repeats))}; the data have others: "
                f"{join_names(unknown)}. Give the data that it was trained on, or leave out --trust-header."
            )
        visits = [self.repeats[folder] for folder in folders]
        return data.with_fields(weights=tuple(count * len(visits) / sum(visits) for count in visits))


class _Reader:
    """Reads values of a header, and notes the names of those that are malformed."""

    def __init__(self, header: Mapping[str, str]) -> None:
        self._header, self.unreadable = header, list[str]()

    def number(self, name: str, kind: type[int] | type[float]) -> Any:
        """A number above 0; None if there is none."""
        text = self._header.get(name, "None")
        try:
            value = kind(text) if text not in _EMPTY else None
        except ValueError:
            value = math.nan
        if value is None or (math.isfinite(value) and value > 0):
            return value
        self.unreadable.append(name)
        return None

    def resolution(self) -> tuple[int, int] | None:
        """Width and height, from ``(512, 768)``, ``512,768`` or ``512``; else that of all data sets."""
        text = self._header.get("ss_resolution", "None")
        sizes = {str(one.get("resolution")) for one in self._datasets()}
        if text == "None" and len(sizes) == 1:
            [text] = sizes
        match = re.fullmatch(r"[(\[]?\s*(\d{1,6})\s*(?:,\s*(\d{1,6})\s*)?[)\]]?", text)
        if match is None or not int(match[1]):
            self.unreadable += [] if text == "None" else ["ss_resolution"]
            return None
        return int(match[1]), int(match[2] or match[1])

    def folders(self) -> dict[str, tuple[int, int | None]]:
        """Visits and number of images by folder, without those of regularisation."""
        found: dict[str, tuple[int, int | None]] = {}
        for folder, entry in self.mapping("ss_dataset_dirs").items():
            repeats, count = (_get(entry, key) for key in ("n_repeats", "img_count"))
            if _is_count(repeats):
                found[folder] = int(repeats), count if _is_count(count) else None
            else:
                self.unreadable.append(folder)
        return found

    def subsets(self) -> list[dict[str, Any]]:
        """The subsets of all data sets."""
        lists = [_get(one, "subsets") for one in self._datasets()]
        return [subset for one in lists if isinstance(one, list) for subset in one if isinstance(subset, dict)]

    def _datasets(self) -> list[dict[str, Any]]:
        found = self._json("ss_datasets", "[]")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON object; an empty one if there is none."""
        found = self._json(name, "{}")
        return found if isinstance(found, dict) else {}

    def _json(self, name: str, default: str) -> Any:
        try:
            return json.loads(self._header.get(name, default))
        except (ValueError, RecursionError):
            self.unreadable += [] if name in self.unreadable else [name]
            return None


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
