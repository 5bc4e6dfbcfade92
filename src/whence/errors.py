"""The errors of Whence. A message says what was given, what was expected, and what to do."""

from collections.abc import Sequence


class WhenceError(Exception):
    """A problem that the user can act on; the command line prints it and exits with 1."""


class WhenceWarning(UserWarning):
    """Something that the user should know, and that stops nothing; the command line prints it as a note."""


class DataError(WhenceError):
    """The data set cannot be read, or it lacks what the user asked for."""


class SplitError(DataError):
    """The data set has no split of that name."""


class ModelError(WhenceError):
    """A network has a part that cannot be differentiated example by example, or it is another network than expected."""


class ConfigError(WhenceError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class ArtefactError(WhenceError):
    """A directory is not the expected artefact, or it is damaged."""


class MismatchError(ArtefactError):
    """Two artefacts were made from different inputs or settings."""


class LockedError(ArtefactError):
    """Another process is writing the same directory."""


class NoSurvivorsError(WhenceError):
    """No member of the ensemble is free of all the units that were to be removed."""


class NotFiniteError(WhenceError):
    """A NaN or an infinity appeared; the message names the layer and the examples."""


class InterruptedRunError(WhenceError):
    """Work stopped before its end. Finished work is kept, and the same command continues."""


class ProofError(WhenceError):
    """A certificate or proof is malformed, or what it states does not hold."""


def join_names(names: Sequence[str], most: int = 3) -> str:
    """Return names for a message, at most so many of them, and how many more there are.

    Example:
        >>> join_names(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
