"""Universe files: all counterfactual pictures of an ensemble in a ``.ctf`` file, a published format."""

from whence.universe.make_universe import write_universe
from whence.universe.universe import Universe

__all__ = ["Universe", "write_universe"]
