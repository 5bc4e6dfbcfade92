"""Attribution of many training examples: the first of each query and the sums over units, instead of all scores."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from whence.attribution.attribute import with_pictures
from whence.attribution.compute_top import compute_top
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.scores_folder import ScoresFolder, write_norms
from whence.attribution.target import Target
from whence.data import Dataset, load
from whence.diffusion.encoding import FOLDER
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Report, silent
from whence.ensemble.model import Ensemble
from whence.errors import ConfigError
from whence.scores.ends import ScoreEnds
from whence.similarity.top import similarity_top


def attribute_top(
    model: str | Path | DiffusionModel | Ensemble | Target,
    data: Dataset | Examples | str | Path,
    queries: Examples | Dataset | str | Path,
    method: str | Method | Sequence[str | Method] = "tangent-squared",
    *,
    top: int = 100,
    config: AttributionConfig | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    parameters: str | None = None,
    engine: Engine = DEFAULT,
    scored: Report = silent,
) -> dict[str, ScoreEnds]:
    """Estimate which training examples are tied most strongly to each query, and how strongly each unit is.

    Features stay on disk and are read block by block, and of the scores the K largest and smallest of each query are
    kept, with their standard errors, and the scores of all units. These numbers are those of `attribute`, and so are
    the features, from which either goes on.

    Args:
        model: As of `attribute`, and so are all that are not named here.
        data: The training examples.
        queries: The pictures to explain.
        method: Methods; those that score all examples at once, ``metagradient`` and ``pixel-kernel``, are refused.
        top: K. Unsigned methods have no opponents, so only the K largest.
        config: The settings.
        out: Folder for features, scores and pictures.
        store: Folder for features.
        parameters: Which layers are differentiated.
        engine: Where features are made.
        scored: Called with (blocks done, blocks in all) when the features are there.

    Returns:
        The ends of the scores by name of the method.

    Raises:
        ConfigError: `top` is below 1, or a method can't be scored block by block; other errors are as of `attribute`.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), seed=0)
        >>> digits = load("digits").select(range(9))
        >>> queries = Examples(("q",), digits.images([5]))
        >>> ends = attribute_top(model, digits, queries, "gradient-cosine", top=2, config=AttributionConfig(draws=8))
        >>> ends["gradient-cosine"].top("q", 1)[0][0] == digits.ids[5]
        True
    """
    data, kept = load(str(data)) if isinstance(data, str | Path) else data, Path(out) / FOLDER if out else None
    request = AttributionRequest.of(model, data, queries, method, config, parameters, kept)
    require_top(request, top)
    with tempfile.TemporaryDirectory() as scratch:
        folder = ScoresFolder(Path(out or scratch), request)
        folder.claim()
        features = FeatureStore(Path(store or folder.path / "features"))
        ends = _similarity_ends(request, top)
        ends |= _gradient_ends(folder, features, top, engine, scored, kept=out is not None)
        if out:
            folder.write_ends(ends)
    return with_pictures(ends, data, queries)


def require_top(request: AttributionRequest, top: int) -> None:
    """Check that all methods of a request can be scored block by block, and that K is 1 or more."""
    if top < 1:
        raise ConfigError(f"--top is {top}; give how many proponents and opponents are kept of each picture, from 1.")
    if request.population is not None:
        raise ConfigError("A prefilter keeps the scores of few candidates already. Leave out --top or --prefilter.")
    if request.run_methods:
        raise ConfigError(
            f"{request.run_methods[0].name} differentiates a whole run, which gives the scores of all examples "
            "at once. Leave --top out."
        )


def _gradient_ends(
    folder: ScoresFolder, store: FeatureStore, top: int, engine: Engine, scored: Report, *, kept: bool
) -> dict[str, ScoreEnds]:
    """Return the ends of the methods of features, by name; the norms of gradients are written if the folder is kept."""
    if not folder.request.methods:
        return {}
    plan = FeaturePlan.of(folder.request)
    store.extend(plan, engine=engine)
    ends = compute_top(plan, store, top, engine=Engine(report=scored))
    if kept:
        write_norms(folder.path / "norms.parquet", plan, store)
    return ends


def _similarity_ends(request: AttributionRequest, top: int) -> dict[str, ScoreEnds]:
    """Return the ends of the methods that compare pictures alone, by name."""
    if request.data is None or not request.similarities:
        return {}
    ids, pictures = request.queries.ids, request.query_pictures.x(range(len(request.queries)))
    return {name: similarity_top(name, request.data, pictures, ids, top) for name in request.similarities}
