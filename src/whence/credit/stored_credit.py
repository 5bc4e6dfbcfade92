"""Credit on disk: reading it, the values that it was computed from, and writing it in the place of older shares."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.credit.credit import GAME, Credit
from whence.credit.game import Game
from whence.credit.leftovers import remove_former_shares, remove_pages
from whence.errors import ArtefactError, DataError, MismatchError
from whence.lazy import torch


def load_credit(path: str | Path) -> Credit:
    """Return the shares by one estimator, `OUT/ESTIMATOR` of `whence credit compute`, checked by hash.

    Raises:
        ArtefactError: They are missing or damaged.
    """
    return Credit.read(Path(path))


def read_game(path: Path, credit: Credit) -> Game | None:
    """Return the values that `credit`, which was read from a directory, was computed from; None where there are none.

    Raises:
        ArtefactError: They are damaged.
    """
    if not (path / GAME).exists():
        return None
    names = tuple(one.name for one in credit.explained)
    try:
        return Game(credit.units, names, **artefacts.read_arrays(path / GAME))
    except (TypeError, DataError) as error:
        raise ArtefactError(f"{path / GAME} is damaged: {error}") from None


def write_credit(
    credit: Credit, out: Path, inputs: dict[str, Any], made: dict[str, Any], game: Game | None = None
) -> Path:
    """Return the folder OUT/ESTIMATOR after writing credit there, in the place of one that was computed otherwise.

    Pages in OUT that show the shares that are replaced are removed, and so are shares in OUT of other contributors or
    examples; a warning says so.

    Raises:
        ArtefactError: The folder holds something else than credit, or is damaged; it is left as it is.
    """
    path = out / credit.estimator
    made = {"estimator": credit.estimator, "efficient": credit.efficient, **made, "values": _digest(credit, game)}
    try:
        credit.write(path, inputs, made, game)
    except MismatchError:
        for old in (path, Path(f"{path}.part")):
            artefacts.discard(old)
        remove_pages(out)
        credit.write(path, inputs, made, game)
    remove_former_shares(path)
    return path


def _digest(credit: Credit, game: Game | None) -> str:
    """SHA-256 (hex) of all that tables and pages show of shares: names and examples of contributors, titles, notes."""
    tensors = {"replicates": credit.replicates, **({} if game is None else game.tensors())}
    return artefacts.digest(
        {
            "shares": credit.shares.tolist(),
            "contributors": [credit.units, credit.examples],
            "explained": [asdict(one) for one in credit.explained],
            "how": credit.how,
            "tensors": artefacts.tensor_digests(
                {name: torch.as_tensor(values) for name, values in tensors.items() if values is not None}
            ),
        }
    )
