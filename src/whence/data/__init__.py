"""Training data: images with ids, units, captions and classes."""

from whence.data.dataset import NO_UNIT, Dataset, class_inputs
from whence.data.dataset_artefact import read, write
from whence.data.load import load

__all__ = ["NO_UNIT", "Dataset", "class_inputs", "load", "read", "write"]
