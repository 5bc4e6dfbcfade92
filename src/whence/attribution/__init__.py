"""Methods that score training examples, one per file, and the type that holds their scores."""

from whence.attribution.pixel import pixel
from whence.attribution.scores import Estimand, Scores

__all__ = ["Estimand", "Scores", "pixel"]
