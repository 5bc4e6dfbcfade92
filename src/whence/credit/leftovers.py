"""Leftovers of earlier shares in a folder: pages that show them, and the training examples and queries beside them."""

from __future__ import annotations

import warnings
from pathlib import Path

from whence import artefacts
from whence.credit.contributors import Contributors
from whence.data import Dataset, read, write
from whence.errors import MismatchError, WhenceWarning, join_names

#: Kind of the artefacts with shares, which `whence.credit.credit` writes.
_SHARES = "credit"
#: Their table of contributors and their examples.
UNITS = "units.parquet"


def remove_pages(out: Path) -> None:
    """Remove the pages of a folder that show its shares, after these changed, and warn of it."""
    pages = [page for page in (out / "report.html", out / "audit.csv") if page.exists()]
    pages += sorted((out / "statements").glob("*.html"))
    for page in pages:
        page.unlink()
    if pages:
        names = join_names([str(page.relative_to(out)) for page in pages])
        note = f"The shares in {out} changed, so pages of the old ones were removed; write them again: {names}."
        warnings.warn(note, WhenceWarning, stacklevel=4)


def remove_former_shares(path: Path) -> None:
    """Remove shares beside those in a folder that are of other contributors or examples, with their pages, and warn.

    No page can show both: after the data changed, the shares by other estimators are of the former contributors.
    """
    own = artefacts.read_table(path / UNITS)
    others = [other for other in artefacts.of_kind(path.parent, _SHARES) if other.name != path.name]
    former = [other for other in others if artefacts.read_table(other / UNITS) != own]
    for other in former:
        artefacts.discard(other)
    if former:
        names = join_names([other.name for other in former])
        note = f"Shares in {path.parent} of other contributors or images were removed; compute them again: {names}."
        warnings.warn(note, WhenceWarning, stacklevel=3)
        remove_pages(path.parent)


def write_beside(images: Dataset, path: Path) -> None:
    """Write pictures beside shares, in the place of those of earlier shares.

    Raises:
        MismatchError: The folder holds other pictures that belong to something else, such as a study or an ensemble.
    """
    try:
        write(images, path)
    except MismatchError:
        if not _holds_only_shares(path.parent):
            raise
        artefacts.discard(path)
        artefacts.discard(Path(f"{path}.part"))
        write(images, path)


def remove_other_data(path: Path, contributors: Contributors) -> None:
    """Remove training examples beside shares whose contributors are not these: they were written with earlier ones."""
    if path.exists() and _holds_only_shares(path.parent):
        data = read(path)
        if dict(zip(data.ids, data.units, strict=True)) != _units(contributors):
            artefacts.discard(path)


def _holds_only_shares(out: Path) -> bool:
    """Whether a folder is no study, ensemble or bank, whose pictures are its own."""
    return artefacts.kind_of(out) is None and not (out / "request").exists() and bool(artefacts.of_kind(out, _SHARES))


def _units(contributors: Contributors) -> dict[str, tuple[str, ...]]:
    """The contributors of each example by its id."""
    owners: dict[str, tuple[str, ...]] = dict.fromkeys(contributors.examples, ())
    for name, examples in zip(contributors.names, contributors.owned, strict=True):
        for example in examples:
            owners[example] += (name,)
    return owners
