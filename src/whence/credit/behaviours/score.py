"""The mean score of drawn pictures by a model in a local folder, such as one of aesthetics or of safety."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.engine import DEFAULT
from whence.errors import ArtefactError, ConfigError
from whence.retraining.measurement import Measurement


@dataclass(frozen=True)
class Scorer:
    """An image classification model of transformers with one output, or one of its labels.

    Attributes:
        folder: Its folder.
        label: The label whose probability (softmax over labels) is the score; empty for a model with one output, which
            is then the score.

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
        try:
            import transformers
        except ImportError:
            raise ConfigError("A scoring model needs transformers: pip install whence[embeddings]") from None
        if not (self.folder / "config.json").is_file():
            raise ArtefactError(f"{self.folder} is not a folder of a transformers model: it has no config.json.")
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            network, info = transformers.AutoModelForImageClassification.from_pretrained(
                self.folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
            )
            processor = transformers.AutoImageProcessor.from_pretrained(self.folder, backend="pil", **local)
        except Exception as error:
            raise ArtefactError(f"{self.folder} can't be used as a scoring model: {error}") from error
        if info["missing_keys"]:
            lacking = ", ".join(sorted(info["missing_keys"])[:3])
            raise ArtefactError(f"{self.folder} lacks the weights {lacking} of {type(network).__name__}.")
        return network.eval().to(DEFAULT.device), processor


def score(name: str) -> Behaviour:
    """Return the mean score of drawn pictures by a local model; larger is more of it.

    Args:
        name: FOLDER of a model with one output, or FOLDER#LABEL.

    Returns:
        A behaviour of a model.

    Example:
        >>> score("models/aesthetic").title
        'Mean score of drawn pictures by models/aesthetic'
    """
    scorer = Scorer.parse(name)

    def make(context: Context) -> Values:
        score_pictures = scorer.score

        def values(measurement: Measurement) -> np.ndarray:
            return np.array([score_pictures(measurement.pictures).mean()])

        return values

    unit = "probability" if scorer.label else "score"
    title = f"Mean {unit} of drawn pictures by {name}"
    return Behaviour(f"score:{name}", title, unit, "model", frozenset({"pictures"}), make)
