"""Credit as a collection: the shares of contributors in what was measured of pictures, and of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from whence.credit.behaviours import meaning
from whence.data import Dataset
from whence.ensemble import Ensemble
from whence.explore.collection import Entry
from whence.explore.reading import Mention, Reading, Row, Verdict, ranked
from whence.explore.request_error import UnknownNameError
from whence.explore.training import Training
from whence.explore.upload import Uploads, common_size
from whence.report.credit.credit_folder import CreditFolder, by_picture
from whence.report.credit.sentences import estimator_title, tally
from whence.report.credit.share import LABELS, BehaviourShares, Share

#: The name of what is not about a picture.
MODEL = "the model"


@dataclass(eq=False)
class CreditCollection:
    """Shares of contributors by one or more estimators."""

    folder: CreditFolder
    training: Training
    uploads: Uploads
    ensemble: Ensemble | None = None
    command: str = "whence attribute MODEL DATA --queries FOLDER --out OUT"

    def __post_init__(self) -> None:
        self._shares = lru_cache(maxsize=256)(self._read_shares)

    @classmethod
    def open(cls, path: Path) -> CreditCollection:
        """Return the credit in a folder, checked by hash."""
        folder = CreditFolder.read(path)
        data = folder.data
        training = Training.of(data) if data is not None else _named(folder)
        return cls(folder, training, Uploads(None if data is None else common_size(data)))

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @cached_property
    def _behaviours(self) -> dict[str, dict[str, str]]:
        """Names of behaviours with their titles, by the picture that they are about."""
        groups = {name: {one.name: one.title for one in own} for name, own in by_picture(self.folder.explained).items()}
        model = {one.name: one.title for one in self.folder.explained if one.picture is None}
        return ({MODEL: model} if model else {}) | groups

    def entries(self) -> Mapping[str, Entry]:
        """Return the model, if something of it was shared out, and the pictures."""
        data = self.folder.queries
        captions = {} if data is None else dict(zip(data.ids, data.captions, strict=True))
        origin = "measured for credit"
        return {
            name: Entry(name, captions.get(name) or "", origin, shown=name in captions) for name in self._behaviours
        }

    def pixels(self, name: str) -> np.ndarray | None:
        """Return a picture; None for the model, or where it was not kept."""
        data: Dataset | None = self.folder.queries
        return data.pixels[data.index_of(name)] if data is not None and name in data.ids else None

    def reading_titles(self, name: str) -> Mapping[str, str]:
        """Return a title for each behaviour and estimator."""
        return {
            f"{estimator}: {behaviour}": f"{title}. {estimator_title(estimator)}"
            for behaviour, title in self._behaviours.get(name, {}).items()
            for estimator, credit in self.folder.credits.items()
            if any(one.name == behaviour for one in credit.explained)
        }

    def reading(self, name: str, key: str) -> Reading:
        """Return the shares in a behaviour by an estimator."""
        titles = self.reading_titles(name)
        if key not in titles:
            raise UnknownNameError("reading of this picture")
        shares = self._shares(key)
        verdicts = [share.verdict for share in shares.shares]
        counted = f"{tally(verdicts)}, of {len(verdicts):,} contributors."
        answer = counted[0].upper() + counted[1:]
        if verdicts and set(verdicts) == {"nothing"}:
            answer = "Nobody in particular: the interval of every share contains zero."
        return Reading(
            key=key,
            title=titles[key],
            meaning=f"{meaning(shares.explained.name)} The effect is a contributor's share in it, measured in "
            f"{shares.explained.unit}.".strip(),
            answer=answer,
            of="unit",
            effect="Share",
            rows=tuple(_row(share) for share in shares.shares),
            sides=("Raises what was measured", "Lowers it"),
            interval="95%" if any(share.interval for share in shares.shares) else "",
        )

    def mentions(self, unit: str | None, image: str | None) -> Sequence[Mention]:
        """Return the shares of a contributor, or of those whom an image belongs to, in everything."""
        units = [unit] if unit is not None else list(self.training.units_of(image or ""))
        found = []
        for name in self._behaviours:
            for key, title in self.reading_titles(name).items():
                shares = self._shares(key).shares
                own = [share for share in shares if share.unit in units]
                found += [Mention(name, key, title, _row(one), one.place, len(shares)) for one in own]
        return ranked(found)

    def _read_shares(self, key: str) -> BehaviourShares:
        estimator, _, behaviour = key.partition(": ")
        return BehaviourShares.of(self.folder.credits[estimator], behaviour)


def _named(folder: CreditFolder) -> Training:
    """The names of the training images and contributors, without pixels."""
    units: dict[str, list[str]] = {}
    for unit, examples in zip(folder.any.units, folder.any.examples, strict=True):
        for id in examples:
            units.setdefault(id, []).append(unit)
    return Training(tuple(units), tuple(map(tuple, units.values())), None)


def _row(share: Share) -> Row:
    verdicts: dict[str, Verdict] = {"above": "above", "below": "above", "nothing": "within", "unknown": "unknown"}
    return Row(share.unit, share.value, verdicts[share.verdict], LABELS[share.verdict].lower(), share.interval)
