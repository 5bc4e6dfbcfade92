"""Attribution by gradients: from a model, its training examples and queries to scores.

OUT/request/             what they are of: model, data, queries and the settings that all scores share
OUT/features/            the stores of features, which more draws and more methods extend
OUT/d-trak/, OUT/trak/   scores, one artefact for each method
OUT/pictures/            the queries, and the training images at the ends of their scores
OUT/norms.parquet        norms of gradients and their timesteps
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.methods import METHODS
from whence.attribution.methods import method as named
from whence.attribution.norms import write_norms
from whence.attribution.pictures import Pictures, at_the_ends
from whence.attribution.queries import Queries
from whence.attribution.scoring import scores
from whence.attribution.target import Target
from whence.attribution.work import AttributionConfig, Work
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.ranges import require_pictures, require_size
from whence.engine import Report, silent
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.gradients.store import extend
from whence.scores.scores import Scores
from whence.similarity.attributors import attributor, is_attributor


def attribute(
    model: str | Path | DiffusionModel | Ensemble | Target,
    data: Dataset | Examples | str | Path,
    queries: Queries | Dataset | Examples | str,
    method: str | Method | Sequence[str | Method] = "tangent",
    *,
    config: AttributionConfig | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    only: Callable[[str], bool] | None = None,
    workers: int | None = None,
    report: Report = silent,
    scored: Report = silent,
) -> dict[str, Scores]:
    """Estimate how strongly each training example is tied to each query, by gradients.

    Args:
        model: A diffusers folder, a run of `whence train`, an encoded ensemble (the mean over its members), or a
            `DiffusionModel` around any denoiser.
        data: The training examples, or what `load` reads; `Examples` for latents and conditions.
        queries: The pictures that are asked about: `read_queries`, or what it reads (``sample:16``, a folder).
        method: Names of methods in `METHODS`, or methods of your own.
        config: Draws, damping, compression and seed.
        out: Folder for features, scores and pictures; default a temporary one, so that nothing is kept.
        store: Folder for features, if they are to be shared among several `out`; default ``out/features``.
        only: Whether the layer of that name is differentiated; default all of them.
        workers: Processes; default one for each core.
        report: Called with (rows done, rows in all), a row being a draw of an example.
        scored: Called with (kernels done, kernels in all) when the features are there.

    Returns:
        Scores with standard errors, by name of the method. They are estimates: of what leaving out an example would
        change, to first order, for these weights.

    Raises:
        ModelError: A parameter of the model can't be differentiated example by example.
        DataError: Images or queries don't fit the model.
        MismatchError: The folder holds work on another model, other data or with other settings, or the run was trained
            on other data.
        ConfigError: There is no such method, or settings don't fit.

    Example:
        >>> from whence.config import ModelConfig
        >>> from whence.data import load
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), seed=0)
        >>> digits = load("digits").select(range(9))
        >>> queries = Queries(("q",), digits.images([5]), sampler=None, drawn=False)
        >>> found = attribute(model, digits, queries, "trak", config=AttributionConfig(draws=8))
        >>> found["trak"].top("q", 1)[0][0] == digits.ids[5]
        True
    """
    data = load(str(data)) if isinstance(data, str | Path) else data
    request = Request.make(model, data, queries, method, config, only)
    with ExitStack() as stack:
        place = Path(out or stack.enter_context(tempfile.TemporaryDirectory()))
        request.claim(place)
        found = request.likeness(data)
        if request.methods:
            work = request.work(Path(store) if store else place / "features")
            wanted = {method: work.looks(method) for method in request.methods}
            extend(list(work.jobs.values()), workers=workers, report=report)
            found |= scores(work, wanted, request.units, scored)
            if out:
                write_norms(place / "norms.parquet", work, wanted)
        if out:
            write(place, request, found)
    return found


@dataclass(frozen=True)
class Request:
    """What is asked for, opened and checked.

    Attributes:
        target: The model.
        examples: The training examples.
        units: Units of every example.
        queries: The queries.
        methods: The gradient methods.
        similarities: Names of attributors that look at pictures alone.
        config: The settings.
        only: Whether the layer of that name is differentiated.
    """

    target: Target
    examples: Examples
    units: tuple[tuple[str, ...], ...]
    queries: Queries | Examples
    methods: tuple[Method, ...]
    similarities: tuple[str, ...]
    config: AttributionConfig
    only: Callable[[str], bool] | None = None

    @classmethod
    def make(
        cls,
        model: str | Path | DiffusionModel | Ensemble | Target,
        data: Dataset | Examples,
        queries: Queries | Dataset | Examples | str,
        method: str | Method | Sequence[str | Method],
        config: AttributionConfig | None,
        only: Callable[[str], bool] | None = None,
    ) -> Request:
        """Return a request; see `attribute`."""
        target = model if isinstance(model, Target) else Target.open(model)
        if isinstance(data, Dataset):
            target.require_data(data)
        examples = Examples.of(data) if isinstance(data, Dataset) else data
        units = data.units if isinstance(data, Dataset) else tuple((name,) for name in data.ids)
        asked = dict.fromkeys([method] if isinstance(method, str | Method) else method)
        alike = tuple(name for name in asked if isinstance(name, str) and name not in METHODS and is_attributor(name))
        methods = tuple(named(one) if isinstance(one, str) else one for one in asked if one not in alike)
        _require_distinct([*alike, *(one.name for one in methods)])
        if isinstance(queries, Dataset):
            queries = Queries(queries.ids, queries.images(range(len(queries))), sampler=None, drawn=False)
        found = target.queries(queries) if isinstance(queries, str) else queries
        if isinstance(found, Queries):
            require_pictures(found.pictures, found.names)
        made = cls(target, examples, units, found, methods, alike, config or AttributionConfig(), only)
        require_size(target.model, made.pictures.values, "queries")
        if made.examples.conditions.keys() != made.pictures.conditions.keys():
            raise ConfigError(
                f"The training examples have the conditions {sorted(made.examples.conditions)}, the queries "
                f"{sorted(made.pictures.conditions)}. Give both those that the network takes: Examples(ids, values, "
                "conditions)."
            )
        for given in (made.examples, made.pictures):
            given.require_finite()
        return made

    def likeness(self, data: Dataset | Examples) -> dict[str, Scores]:
        """Return the scores of attributors that look at pictures alone, by name.

        Raises:
            ConfigError: There are no pictures.
        """
        if self.similarities and not (isinstance(data, Dataset) and isinstance(self.queries, Queries)):
            raise ConfigError(f"{self.similarities[0]} compares pictures; give a Dataset and Queries.")
        return {
            name: attributor(name, data)(self.pictures.values, self.names)
            for name in self.similarities
            if isinstance(data, Dataset)
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Query ids, Q."""
        return self.queries.ids if isinstance(self.queries, Examples) else self.queries.names

    def work(self, store: Path) -> Work:
        """Return the work on features in a folder."""
        return Work(store, self.target, self.examples, self.queries, self.pictures, self.config, self.only)

    def claim(self, out: Path, *, look: bool = False) -> None:
        """Note in the folder of results what they are of; it must not hold others.

        Args:
            out: The folder.
            look: Only look whether it holds others.

        Raises:
            ArtefactError: The folder is a model, an ensemble or something else that Whence made.
            MismatchError: It holds work on another model, other data or queries, or with other settings.
        """
        kind = artefacts.kind_of(out) if out.is_dir() else None
        if kind is not None:
            raise ArtefactError(f"{out} is a {kind}. Give a folder of their own for scores.")
        _require_own(out)
        place, made = out / "request", {"config": self.config.shared()}
        try:
            found = artefacts.existing(place, "attribution", inputs=self.inputs, made=made)
        except MismatchError as error:
            if not artefacts.of_kind(out, "scores"):
                return self._begin(place, made, look)
            differences = "\n".join(str(error).splitlines()[1:-1])
            raise MismatchError(
                f"{out} holds scores of something else:\n{differences}\nUse another folder, or delete this one."
            ) from None
        if found is None:
            self._begin(place, made, look)

    def _begin(self, place: Path, made: Mapping[str, Any], look: bool) -> None:
        """Write the note, in place of one of which no scores came."""
        if not look:
            artefacts.discard(Path(f"{place}.part"))
            with artefacts.create(place, "attribution", inputs=self.inputs, made=made):
                pass

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of model, data and queries."""
        return {
            "model": self.target.fingerprint,
            "data": self.examples.fingerprint,
            "queries": self.pictures.fingerprint,
        }

    @cached_property
    def pictures(self) -> Examples:
        """The queries as examples."""
        queries = self.queries
        return queries if isinstance(queries, Examples) else Examples(queries.names, queries.pictures)

    @property
    def has_pictures(self) -> bool:
        """Whether examples and queries are pictures, which can be shown."""
        return self.examples.values.dtype == torch.uint8 and isinstance(self.queries, Queries)

    def settings(self, name: str) -> dict[str, Any]:
        """The settings of a method's scores, with the damping that it had."""
        own = next((method.damping for method in self.methods if method.name == name), None)
        return {"config": self.config.record() | {"damping": self.config.damping or own}}

    def folder(self, name: str) -> str:
        """Name of the folder of a method's scores; it tells the damping where that is not the usual one."""
        own = next((method.damping for method in self.methods if method.name == name and method.damped), None)
        asked = self.config.damping
        usual = own is None or asked is None or asked == own
        return name.replace(":", "-").replace("/", "-") if usual else f"{name}-damping-{asked:g}"


def _require_own(out: Path) -> None:
    """Refuse a folder with other things in it, such as the images themselves.

    Raises:
        ArtefactError: It holds files, or folders, that no attribution wrote.
    """
    if (out / "request").exists() or not out.exists():
        return
    known = {"features", "pictures", "request.part", "norms.parquet", "report.html"}
    other = [path.name for path in (sorted(out.iterdir()) if out.is_dir() else [out])]
    other = [name for name in other if not name.startswith(".") and name not in known]
    if other:
        raise ArtefactError(
            f"{out} holds other things ({', '.join(other[:3])}). Give a folder of their own for scores."
        )


def _require_distinct(names: Sequence[str]) -> None:
    """Check that there are methods, each of a name of its own.

    Raises:
        ConfigError: There are none, or two of one name.
    """
    if not names:
        raise ConfigError("No method was asked for. `whence methods` lists them.")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ConfigError(f"Two methods are called {twice[0]!r}; give yours another name.")


def write(out: Path, request: Request, found: Mapping[str, Scores]) -> None:
    """Write scores, and the pictures at their ends where there are pictures."""
    for name, own in found.items():
        own.write(out / request.folder(name), request.inputs, request.settings(name), renew=True)
    if not request.has_pictures:
        return
    ends = at_the_ends(Scores.read(path) for path in artefacts.of_kind(out, "scores"))
    Pictures(
        queries=request.names,
        drawn=request.pictures.values,
        examples=tuple(request.examples.ids[n] for n in ends),
        units=tuple(request.units[n] for n in ends),
        pixels=request.examples.values[ends],
    ).write(
        out / "pictures",
        request.inputs,
        {
            "model": request.target.name,
            "data": f"{len(request.units):,} images, fingerprint {request.examples.fingerprint[:12]}",
        },
    )
