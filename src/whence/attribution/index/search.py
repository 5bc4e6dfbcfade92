"""Search the training examples of the largest scores for new pictures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from whence.attribution.feature_plan import own_draws
from whence.attribution.index.index import Found, Index
from whence.attribution.target import Target
from whence.attribution.target_options import reopen
from whence.diffusion.checks import require_shapes
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError, MismatchError
from whence.gradients.batch_rows import batch_of
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.gradient_spec import GradientSpec
from whence.gradients.make_features import FeatureJob, make_features
from whence.gradients.stored_features import StoredFeatures


@dataclass(frozen=True)
class SearchResult:
    """What was found for each query, and the mean milliseconds that the features of a query took."""

    found: tuple[Found, ...]
    feature_milliseconds: float


def search(
    index: str | Path | Index,
    queries: str | Path | Examples,
    *,
    top: int = 20,
    model: str | Path | Target | None = None,
    engine: Engine = DEFAULT,
) -> SearchResult:
    """Return the strongest proponents and opponents of pictures among the training examples of an index.

    The scores are those that `attribute` gives for these examples; with a recall that the manifest of the index states
    they are the largest and smallest of all.

    Args:
        index: The index, or its folder.
        queries: The pictures, or their name as for `read_queries`: an image, a folder, ``sample:4``.
        top: Examples in each direction.
        model: The model, where it isn't where it was.
        engine: Where features are made; its report is called with (draws done, draws in all).

    Raises:
        MismatchError: The model is another one than that of the index.
        ArtefactError: The index is damaged.
        ConfigError: FAISS is not installed, or the pictures don't fit the model.
    """
    index = index if isinstance(index, Index) else Index.open(Path(index))
    target = model if isinstance(model, Target) else open_target(index, None if model is None else str(model))
    pictures = queries if isinstance(queries, Examples) else target.queries(str(queries))
    start = time.perf_counter()
    features = query_features(index, target, pictures, engine)
    milliseconds = 1e3 * (time.perf_counter() - start) / len(pictures)
    return SearchResult(tuple(index.search(features, pictures.sorted().ids, top)), milliseconds)


def open_target(index: Index, model: str | None = None) -> Target:
    """Return the model of an index, from where it was or from another place.

    Raises:
        MismatchError: It is another one.
    """
    target = reopen(Target, index.manifest.facts["target"], model)
    known = index.manifest.inputs["model"]
    if target.fingerprint != known:
        raise MismatchError(
            f"{index.path} is of the model with the fingerprint {known}, {target.name} has {target.fingerprint}. Give "
            "the model of the index: --model."
        )
    return target


def query_features(index: Index, target: Target, queries: Examples, engine: Engine = DEFAULT) -> Tensor:
    """Return the features of queries, float32 [Q, p], in the order of their ids, as `attribute` makes them.

    Raises:
        ConfigError: The queries have several shapes.
        DataError: They don't fit the model.
        MismatchError: The model changed meanwhile.
    """
    if len(set(queries.sizes)) > 1:
        raise ConfigError("An index compares pictures of one shape, and the queries have several. Give --resolution.")
    require_shapes(target.model, queries, "queries")
    made, opened = index.manifest.made, index.manifest.facts["target"]
    method = index.method
    [weighted] = target.checkpoints(method.over, _ids_of(index, method.over), opened["parameters"])
    spec = GradientSpec(weighted.checkpoint, made["checkpoint"], made["compression"], made["parameters"])
    draws = own_draws(target.model.process, method, made["seed"], "queries")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "queries"
        queries.write(place)
        job = FeatureJob(
            path=Path(scratch) / "features",
            spec=spec,
            examples=place,
            fingerprint=queries.fingerprint,
            source=OwnDraws(draws),
            draws=made["draws"],
            kinds=(method.feature,),
            batch=batch_of(queries),
        )
        make_features([job], engine=engine)
        return StoredFeatures.open(job.path, method.feature).mean()


def _ids_of(index: Index, over: str) -> Sequence[str]:
    """Return the ids of the examples, where the checkpoints of a run need them."""
    return () if over == "model" else index.ids
