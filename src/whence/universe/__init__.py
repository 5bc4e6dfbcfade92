"""Universe files: all counterfactual pictures of an ensemble in one ``.ctf`` file, the format of their authors."""

from whence.universe.read import Universe
from whence.universe.write import write_universe

__all__ = ["Universe", "write_universe"]
