"""The mean of a number over drawn pictures: the score of a model, as of aesthetics, or any function in Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.engine import DEFAULT
from whence.errors import ArtefactError, ConfigError, DataError
from whence.lazy import torch
from whence.pretrained import quiet_transformers


@dataclass(frozen=True)
class Scorer:
    """An image classification model of transformers with one output, or one of its labels.

    Attributes:
        folder: Its folder.
        label: The label whose probability (softmax over labels) is the score; empty where the one output is the score.

    Example:
        >>> Scorer.parse("models/aesthetic#high")
        Scorer(folder=PosixPath('models/aesthetic'), label='high')
    """

    folder: Path
    label: str

    @classmethod
    def parse(cls, name: str) -> Scorer:
        """Return the scorer FOLDER or FOLDER#LABEL."""
        folder, _, label = name.partition("#")
        return cls(Path(folder), label)

    @cached_property
    def score(self) -> Callable[[np.ndarray], np.ndarray]:
        """The function from pictures uint8 [K, C, H, W] to scores float64 [K]; the model is opened once, here.

        Each picture is a batch of its own, so that its score doesn't depend on the others.

        Raises:
            ArtefactError: The folder holds no such model, or not with the label.
            ConfigError: transformers is not installed.
        """
        network, processor = self._load()
        labels = [str(label) for _, label in sorted(network.config.id2label.items())]
        if self.label and self.label not in labels or not self.label and len(labels) > 1:
            problem = f"has no label {self.label!r}" if self.label else f"has {len(labels)} labels"
            raise ArtefactError(
                f"{self.folder} {problem}; ask for one as score:{self.folder}#LABEL, of {', '.join(labels[:8])}."
            )

        @torch.inference_mode()
        def score(pictures: np.ndarray) -> np.ndarray:
            rgb = np.repeat(pictures, 3, 1) if pictures.shape[1] == 1 else pictures
            scores = []
            for picture in rgb:
                inputs = processor(images=[picture], input_data_format="channels_first", return_tensors="pt")
                values = inputs["pixel_values"].to(DEFAULT.device)
                logits = network(pixel_values=values).logits[0].double().cpu()
                scores.append(logits.softmax(0)[labels.index(self.label)] if self.label else logits[0])
            return torch.stack(scores).numpy()

        return score

    def _load(self) -> tuple[Any, Any]:
        import transformers  # takes seconds, which other behaviours needn't wait for

        if not (self.folder / "config.json").is_file():
            raise ArtefactError(f"{self.folder} is not a folder of a transformers model: it has no config.json.")
        local = {"local_files_only": True, "trust_remote_code": False}
        with quiet_transformers(self.folder, "can't be used as a scoring model"):
            network, info = transformers.AutoModelForImageClassification.from_pretrained(
                self.folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
            )
            processor = transformers.AutoImageProcessor.from_pretrained(self.folder, backend="pil", **local)
        if info["missing_keys"]:
            lacking = ", ".join(sorted(info["missing_keys"])[:3])
            raise ArtefactError(f"{self.folder} lacks the weights {lacking} of {type(network).__name__}.")
        return network.eval().to(DEFAULT.device), processor


def score(name: str) -> Behaviour:
    """Return the mean score of drawn pictures by a local model, FOLDER of one output or FOLDER#LABEL; larger is more.

    Example:
        >>> score("models/aesthetic").title
        'Mean score of drawn pictures by models/aesthetic'
    """
    scorer = Scorer.parse(name)

    def make(context: Context) -> Values:
        score_pictures = scorer.score
        return lambda measurement: np.array([score_pictures(measurement.pictures).mean()])

    unit = "probability" if scorer.label else "score"
    title = f"Mean {unit} of drawn pictures by {name}"
    return Behaviour(f"score:{name}", title, unit, "model", frozenset({"pictures"}), make)


def function_behaviour(function: Callable[[np.ndarray], Any], name: str) -> Behaviour:
    """Return the mean value of a function over drawn pictures as a behaviour called `name`; larger is more of it.

    The function is from pictures uint8 [K, C, H, W] to K numbers, whose mean is taken, or to one number of them all,
    such as a quantile.

    Example:
        >>> function_behaviour(lambda pictures: pictures.mean((1, 2, 3)), "brightness").needs
        frozenset({'pictures'})
    """

    def make(context: Context) -> Values:
        return lambda measurement: np.array([_mean(function, measurement.pictures, name)])

    return Behaviour(name, f"Mean of {name} over drawn pictures", f"of {name}", "model", frozenset({"pictures"}), make)


def load_function(name: str) -> Callable[[np.ndarray], Any]:
    """Return the function MODULE:FUNCTION, or FILE.py:FUNCTION of a file; its code is run.

    Raises:
        ConfigError: There is no such module, file or function.
    """
    module, _, attribute = name.rpartition(":")
    function = getattr(_run(Path(module)) if module.endswith(".py") else _import(module), attribute, None)
    if not callable(function):
        raise ConfigError(f"{module} has no function {attribute!r}.")
    return function  # type: ignore[no-any-return]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ConfigError(
            f"The module {name!r} can't be imported: {error}. For a file, give FILE.py:FUNCTION."
        ) from error


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.")
    module = ModuleType(path.stem)
    try:
        SourceFileLoader(path.stem, str(path)).exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path} can't be run: {error}.") from error
    return module


def _mean(function: Callable[[np.ndarray], Any], pictures: np.ndarray, name: str) -> float:
    try:
        values = np.asarray(function(pictures.copy()), np.float64)
    except Exception as error:
        raise DataError(f"{name} failed on drawn pictures uint8 {pictures.shape}: {error}") from error
    if values.shape not in {(), (len(pictures),), (len(pictures), 1)}:
        raise DataError(f"{name} gave {values.shape} numbers for {len(pictures)} pictures; expected one each, or one.")
    return float(values.mean())
