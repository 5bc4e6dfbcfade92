"""Training data: images with ids, units and captions, from the built-in digits, a folder or Hugging Face."""

from whence.data.dataset import NO_UNIT, Dataset, read, write
from whence.data.load import load

__all__ = ["NO_UNIT", "Dataset", "load", "read", "write"]
