"""Classes of a network: which label each class name is, by the model's own table or by a file, never by an order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.errors import ConfigError, DataError, join_names

#: The condition of networks that draw from classes, by its name in diffusers.
LABELS = "class_labels"
#: The names of labels in the index of a pipeline.
ID_TO_LABEL = "id2label"
#: Scale of the guidance of DiT's pipeline where none is given.
GUIDANCE = 4.0


@dataclass(frozen=True)
class ClassNames:
    """The conditioner of networks of classes: a caption or prompt is the name of a class.

    A name is looked up in the table; a label may have several names, with commas between. Labels themselves serve too,
    as in ``"7"``, unless the table has names of digits. The empty name is the null label, which stands for no class.

    Attributes:
        count: Number of classes; labels are 0 ... count - 1.
        null: The label of no class; None where the network has none.
        table: Labels by name; empty for none.

    Example:
        >>> classes = ClassNames(3, null=3, table={"cat": 0, "dog": 2})
        >>> classes.conditions(["dog", "cat", ""])["class_labels"].tolist()
        [2, 0, 3]
    """

    count: int
    null: int | None = None
    table: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int, null: int | None, id2label: Any) -> ClassNames:
        """Return the classes of a model whose index has ``id2label``: names by label, several with commas between."""
        return cls(count, null, _table(id2label, count, null, "id2label in model_index.json") if id2label else {})

    def named_by(self, file: Path) -> ClassNames:
        """Return the classes with the names of a file, see `labels_in`."""
        return self.with_labels(self.labels_in(file))

    def with_labels(self, labels: Mapping[str, int]) -> ClassNames:
        """Return the classes with these labels by name.

        Raises:
            ConfigError: A label is not one of the network's.
        """
        table = dict(labels)
        null = table.pop("", self.null)
        others = sorted(name for name, label in table.items() if not (0 <= label < self.count or label == null))
        if others:
            raise ConfigError(f"The classes {join_names(others)} have labels beyond 0 ... {self.count - 1}.")
        return replace(self, table=table, null=null)

    def labels_in(self, file: Path) -> dict[str, int]:
        """Return the labels by name that a file states.

        A ``.json`` file maps labels to names, or lists names from label 0 on. Any other file has the name of label k in
        line k, from 0. A label with an empty name is the null label.

        Raises:
            ConfigError: The file can't be read, or a label is not one of the network's.
        """
        try:
            text = file.read_text("utf-8-sig")
            names = json.loads(text) if file.suffix == ".json" else text.splitlines()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"The classes in {file} can't be read: {error}. Give JSON, or a name in each line."
            ) from None
        return _table(names, self.count, self.null, str(file))

    @property
    def names(self) -> tuple[str, ...]:
        """All names, by label."""
        if not self.table:
            return tuple(str(label) for label in range(self.count) if label != self.null)
        return tuple(sorted(self.table, key=lambda name: (self.table[name], name)))

    @property
    def id2label(self) -> dict[str, str]:
        """The names of every label, as the index of a pipeline has them."""
        labels = sorted(set(self.table.values()))
        return {str(label): ", ".join(n for n in self.names if self.table[n] == label) for label in labels}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of labels and names."""
        return artefacts.digest([self.count, self.null, dict(sorted(self.table.items()))])

    adapted = False
    kept_length = None

    @property
    def guidance(self) -> float:
        """That of DiT's pipeline; none where there is no label to be guided away from."""
        return 1.0 if self.null is None else GUIDANCE

    def conditions(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the labels of names, int64 [n].

        Raises:
            DataError: A name is of no class.
        """
        unknown = sorted({text for text in texts if self._label(text) is None})
        if "" in unknown:
            raise DataError(
                "A picture or prompt has no class, and the network knows no label for that. Give each a class: a class "
                "folder, a column of captions, or --prompt."
            )
        if unknown:
            known = join_names(list(self.names)) if self.table else f"the labels 0 ... {self.count - 1}"
            raise DataError(
                f"{join_names(unknown)} is no class, or the name of several. The network has {known}. Name "
                "them in id2label of model_index.json, or with --classes FILE."
            )
        return {LABELS: torch.tensor([self._label(text) for text in texts])}

    def dropped(self) -> dict[str, Tensor]:
        """The null label."""
        return self.unconditional("")

    def unconditional(self, negative: str) -> dict[str, Tensor]:
        """Return the null label, or that of a class to be guided away from.

        Raises:
            ConfigError: There is no null label.
        """
        if not negative and self.null is None:
            raise ConfigError(
                "The network has no label for no class, so its pictures can't be guided and classes not dropped. Draw "
                "with --guidance 1, or name the label in --classes FILE with an empty name."
            )
        return self.conditions([negative])

    def of_size(self, _size: tuple[int, ...]) -> dict[str, Tensor]:
        """No conditions."""
        return {}

    def truncated(self, _texts: Sequence[str]) -> list[str]:
        """No texts."""
        return []

    def _label(self, text: str) -> int | None:
        """The label of a name; None if it is of no class."""
        if not text:
            return self.null
        if "," in text:
            labels = {self._label(part.strip()) for part in text.split(",")} - {None}
            return labels.pop() if len(labels) == 1 else None
        if text in self.table or any(name.isdecimal() for name in self.table):
            return self.table.get(text)
        return int(text) if text.isdecimal() and int(text) < self.count else None


def _table(names: Any, count: int, null: int | None, source: str) -> dict[str, int]:
    """Labels by name, of a mapping from labels to names or a list of names; names of several labels are left out."""
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names) if isinstance(names, list) else ()
    table: dict[str, int] = {}
    several: set[str] = set()
    for key, value in pairs:
        label = int(key) if str(key).isdecimal() else -1
        if not isinstance(value, str) or not (0 <= label < count or label == null):
            raise ConfigError(f"{source} has {value!r} as the name of label {key!r}; labels are 0 ... {count - 1}.")
        for name in dict.fromkeys(part.strip() for part in value.split(",")):
            if table.setdefault(name, label) != label:
                several.add(name)
    if not table:
        raise ConfigError(f"{source} names no class; expected names by label.")
    return {name: label for name, label in table.items() if name not in several}
