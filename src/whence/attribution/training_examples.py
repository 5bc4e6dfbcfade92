"""The training examples of an attribution as the model was trained on them: the mean of latents, or samples."""

from __future__ import annotations

from pathlib import Path

from whence import artefacts
from whence.attribution.model_folder import run_folder
from whence.attribution.target import Target
from whence.config import LatentChoice, TrainingConfig
from whence.data import Dataset
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.examples import Examples
from whence.diffusion.latents import Latents
from whence.diffusion.record import Record
from whence.errors import ConfigError


def latents_of(target: Target, choice: LatentChoice | None) -> LatentChoice:
    """Return which latents gradients are taken of: as chosen, or else as the target was trained.

    Raises:
        ConfigError: Nothing is chosen, and its runs were not all trained on the same.
    """
    known = sorted({training.latents for training in _trainings(target)})
    if choice is None and len(known) > 1:
        raise ConfigError(
            f"Some runs of {target.name} were trained on the mean of latents, others on samples. Say which gradients "
            "are taken of: --latents mode or --latents sample."
        )
    return choice or (known[0] if known else "mode")


def training_examples(
    target: Target, data: Dataset | Examples, folder: Path | None, choice: LatentChoice | None
) -> Examples:
    """Return the training examples, with deviations and mirror images of their latents where they are needed.

    They are needed for latents that are sampled, and for recorded draws of runs that sampled or flipped them.

    Args:
        target: What is explained.
        data: The training images, or tensors.
        folder: Where the encoding of images is kept, and found again.
        choice: Which latents gradients are taken of; default as the target was trained.

    Raises:
        MismatchError: A recorded run was trained on other images.
        ConfigError: Latents are to be sampled, and there is no Gaussian posterior; or posteriors are needed, and the
            examples are tensors.
    """
    trainings, chosen = _trainings(target), latents_of(target, choice)
    sampled = chosen == "sample" or any(training.latents == "sample" for training in trainings)
    needed = Augmentation(0, any(training.flip for training in trainings), sampled)
    if isinstance(data, Dataset):
        target.require_data(data)
        return target.encoders.encode(data, folder, needed)
    target.encoders.require_posterior(sampled)
    latent = not target.encoders.draws_pixels
    if latent and (needed.flip or sampled) and not isinstance(data.values, Latents):
        raise ConfigError(
            f"{target.name} was trained on samples or mirror images of latents, or samples are asked for; tensors have "
            "no posterior. Give the training images as a Dataset."
        )
    return data


def _trainings(target: Target) -> list[TrainingConfig]:
    """The settings of the recorded runs of a target, where there are any."""
    if target.ensemble is not None:
        return [target.ensemble.config.training]
    folders = [folder for run in target.runs if (folder := run_folder(run)) is not None]
    return [Record(folder).training for folder in folders if artefacts.kind_of(folder) == "model"]
