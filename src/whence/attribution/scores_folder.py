"""The folder of results of an attribution.

OUT/request/             what the scores are of: model, data, queries and the settings that all scores share
OUT/features/            features, which more draws and more methods extend
OUT/d-trak/, OUT/trak/   scores, one artefact for each method
OUT/trak-top-100/        the ends of scores, where only the first of each query were kept
OUT/pictures/            the queries, and the training images with the largest and smallest scores
OUT/norms.parquet        norms of gradients against their timesteps: how much of a score is due to the timestep
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.attribution.feature_plan import FeaturePlan, FeatureSet
from whence.attribution.feature_store import FeatureStore
from whence.attribution.pictures import Pictures, end_examples, extreme_examples
from whence.attribution.request import AttributionRequest
from whence.attribution.target_options import record
from whence.diffusion.encoding import FOLDER
from whence.diffusion.examples import Examples
from whence.errors import ArtefactError, MismatchError, WhenceWarning, join_names
from whence.gradients.features import Feature
from whence.scores.ends import KIND, ScoreEnds
from whence.scores.scores import Scores

#: What an attribution may have left in a folder before its request is written.
KNOWN = {FOLDER, "features", "pictures", "request.part", "norms.parquet", "report.html"}
#: Number of pairs of example and draw that are kept for each readout.
PAIRS = 20_000
#: Columns of the table of norms.
COLUMNS = ("readout", "timestep", "norm")


@dataclass(frozen=True)
class ScoresFolder:
    """The folder of the results of a request."""

    path: Path
    request: AttributionRequest

    def claim(self) -> None:
        """Write the request into the folder, unless it is there; the folder must not hold other results.

        Raises:
            ArtefactError: The folder is a model, an ensemble or something else that Whence made, or holds other files.
            MismatchError: It holds scores of another model, other data or queries, or with other settings.
        """
        if not self.is_claimed():
            artefacts.discard(Path(f"{self._place}.part"))
            data = self.request.data
            facts: dict[str, Any] = {"notes": list(data.notes)} if data is not None and data.notes else {}
            facts |= {"target": record(self.request.target), "parameters": self.request.parameters}
            given: dict[str, Any] = {"inputs": self.request.inputs, "made": self._made}
            with artefacts.create(self._place, "attribution", **given, facts=facts) as part:
                if data is not None and data.weights:
                    weights = self.request.weights
                    artefacts.write_table(part / "weights.parquet", {"id": [*weights], "weight": [*weights.values()]})

    def is_claimed(self) -> bool:
        """Return whether the folder has the same request, after a check that it holds no other results; see `claim`."""
        kind = artefacts.kind_of(self.path) if self.path.is_dir() else None
        if kind is not None:
            raise ArtefactError(
                f"{self.path} is {artefacts.with_article(kind)}. Give a folder of their own for scores."
            )
        self._require_no_other_files()
        try:
            manifest = artefacts.existing(self._place, "attribution", inputs=self.request.inputs, made=self._made)
        except MismatchError as error:
            if not {"scores", KIND} & artefacts.kinds_in(self.path):
                return False
            differences = "\n".join(str(error).splitlines()[1:-1])
            raise MismatchError(
                f"{self.path} holds scores of something else:\n{differences}\nUse another folder, or delete this one."
            ) from None
        return manifest is not None

    @property
    def _place(self) -> Path:
        return self.path / "request"

    @property
    def _made(self) -> dict[str, Any]:
        return {"config": self.request.config.shared()}

    def _require_no_other_files(self) -> None:
        """Check that the folder has no other files in it, such as the images themselves."""
        if self._place.exists() or not self.path.exists():
            return
        entries = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
        others = [entry.name for entry in entries if not entry.name.startswith(".") and entry.name not in KNOWN]
        if others:
            raise ArtefactError(
                f"{self.path} holds other things ({', '.join(others[:3])}). Give a folder of their own for scores."
            )

    def write(self, results: Mapping[str, Scores]) -> None:
        """Write scores by method, and the pictures with the largest and smallest scores where there are pictures."""
        request = self.request
        for name, scores in results.items():
            scores.write(self.path / self.name_of(name), request.inputs, self._settings(name), renew=True)
        self._renew_units()
        self._write_pictures()

    def write_ends(self, results: Mapping[str, ScoreEnds]) -> None:
        """Write the ends of scores by method, and the pictures of the examples that have them."""
        for name, of_method in results.items():
            place = self.path / f"{self.name_of(name)}-top-{of_method.count}"
            of_method.write(place, self.request.inputs, self._settings(name))
        self._write_pictures()

    def _write_pictures(self) -> None:
        """Write the pictures at the ends of all scores in the folder, where there are pictures."""
        request = self.request
        pictures, queries = request.training_pictures, request.query_pictures
        if pictures is None:
            return
        columns = extreme_examples(Scores.read(path) for path in artefacts.of_kind(self.path, "scores"))
        names = {name for path in artefacts.of_kind(self.path, KIND) for name in end_examples(ScoreEnds.read(path))}
        rows = sorted({*columns, *(n for n, name in enumerate(request.examples.ids) if name in names)})
        captions = tuple(request.captions[n] for n in rows) if request.captions else ()
        images = Examples(tuple(request.examples.ids[n] for n in rows), pictures[rows], captions=captions)
        data = f"{len(request.units):,} images, fingerprint {request.examples.fingerprint[:12]}"
        Pictures(queries, images, tuple(request.units[n] for n in rows)).write(
            self.path / "pictures",
            request.inputs,
            {"model": request.target.name, "data": data, **self._drawing(), **self._focus()},
        )

    def _drawing(self) -> dict[str, Any]:
        """How queries that the model drew were drawn, and what of its scheduler that does not follow."""
        origin = self.request.queries.origin
        if origin is None or not origin.drawn:
            return {}
        not_followed = list(self.request.target.model.process.not_followed)
        prompts = {} if origin.prompts is None else {"prompts": origin.prompts.record()}
        return {"sampler": origin.sampler.record(), "not followed": not_followed, **prompts}

    def _focus(self) -> dict[str, Any]:
        """Which part of the queries is explained."""
        focus = self.request.queries.focus
        if focus is None:
            return {}
        return {"focus": {"mask": focus.mask is not None, "without prompts": list(focus.texts)}}

    def _renew_units(self) -> None:
        """Write scores of other methods in the folder again where the units of their examples changed."""
        units, renewed = dict(zip(self.request.examples.ids, self.request.units, strict=True)), []
        for path in artefacts.of_kind(self.path, "scores"):
            scores, made = Scores.read(path), artefacts.read_manifest(path, "scores").made
            current = tuple(units[name] for name in scores.examples)
            if scores.units != current:
                replace(scores, units=current).write(path, self.request.inputs, {"config": made["config"]}, renew=True)
                renewed.append(path.name)
        if renewed:
            note = f"Units changed since these scores were made; they have the new ones: {join_names(renewed)}."
            warnings.warn(note, WhenceWarning, stacklevel=3)

    def _settings(self, name: str) -> dict[str, Any]:
        """Return the settings of a method's scores, with the damping that it had."""
        config, usual = self.request.config, {method.name: method.damping for method in self.request.methods}
        return {"config": config.record() | {"damping": config.damping or usual.get(name)}}

    def name_of(self, name: str) -> str:
        """Return the folder name of a method's scores; it states the damping where that is not the method's own."""
        usual = {method.name: method.damping for method in self.request.methods if method.damped}
        damping = self.request.config.damping
        if damping is None or damping == usual.get(name, damping):
            return name.replace(":", "-").replace("/", "-")
        return f"{name}-damping-{damping}" if isinstance(damping, str) else f"{name}-damping-{damping:g}"


def write_norms(path: Path, plan: FeaturePlan, store: FeatureStore) -> None:
    """Write the norms of the readouts of a plan's methods as one table: readout, timestep, norm.

    The norms of the final model are written where a method uses it, else those of the first checkpoint. Norms of other
    readouts that are in the table stay. Methods with curvature, which keep no gradients, have none.
    """
    rows = _read(path)
    written, chosen = {row[0] for row in rows}, dict[str, tuple[Feature, FeatureSet]]()
    for method, terms in sorted(plan.compressed.terms.items(), key=lambda pair: pair[0].over != "model"):
        if method.over == "model" or method.readout not in written:
            chosen.setdefault(method.readout, (method.feature, terms[0].examples))
    rows = [row for row in rows if row[0] not in chosen]
    for readout, (kind, examples) in chosen.items():
        rows += [(readout, t, norm) for t, norm in _norms(plan, store, examples, kind)]
    if not rows:
        return
    rows.sort(key=lambda row: row[0])
    artefacts.write_table(path, {name: [row[k] for row in rows] for k, name in enumerate(COLUMNS)})


def _norms(
    plan: FeaturePlan, store: FeatureStore, examples: FeatureSet, kind: Feature
) -> Iterator[tuple[float, float]]:
    """Yield timestep and norm ‖P g‖ before any normalisation, evenly spread over the examples."""
    features = store.features(plan, examples, kind)
    step = -(-features.count * features.draws // PAIRS)
    names, values = features.ids[::step], features.norms(step)
    for index in range(features.draws):
        t, _ = examples.source(names, np.full(len(names), index), (1,))
        yield from zip(t.tolist(), values[:, index].tolist(), strict=True)


def _read(path: Path) -> list[tuple[str, float, float]]:
    if not path.exists():
        return []
    table = artefacts.read_table(path)
    return list(zip(*(table[name] for name in COLUMNS), strict=True))
