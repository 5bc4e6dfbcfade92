"""Attribution by gradients: from a model, its training examples and queries to scores."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from whence.attribution.compute_scores import compute_scores
from whence.attribution.config import AttributionConfig
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.gradient_norms import write_norms
from whence.attribution.method import Method
from whence.attribution.request import AttributionRequest
from whence.attribution.scores_folder import ScoresFolder
from whence.attribution.target import Target
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Report, silent
from whence.ensemble.model import Ensemble
from whence.scores.scores import Scores


def attribute(
    model: str | Path | DiffusionModel | Ensemble | Target,
    data: Dataset | Examples | str | Path,
    queries: Examples | Dataset | str,
    method: str | Method | Sequence[str | Method] = "tangent",
    *,
    config: AttributionConfig | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    parameters: str | None = None,
    engine: Engine = DEFAULT,
    scored: Report = silent,
) -> dict[str, Scores]:
    """Estimate how strongly each training example is tied to each query, by gradients.

    Args:
        model: A diffusers folder, a run, an encoded ensemble (the mean over its members), or any `DiffusionModel`.
        data: The training examples, or the name of a data set that `load` reads.
        queries: The pictures to explain, or their name as for `read_queries`: ``sample:16``, a folder.
        method: Names of methods in `METHODS`, or methods of your own.
        config: Draws, damping, compression and seed.
        out: Folder for features, scores and pictures; by default nothing is kept.
        store: Folder for features, to share them among several `out`; default ``out/features``.
        parameters: A regular expression that the names of differentiated layers contain, like ``"lora"``; default all.
        engine: Where work runs. Its report is called with (rows done, rows in all), a row being a draw of an example.
        scored: Called with (kernels done, kernels in all) when the features are there.

    Returns:
        Scores with standard errors, by name of the method: what leaving out an example would change, to first order.

    Raises:
        ModelError: A parameter of the model can't be differentiated example by example.
        DataError: Images or queries don't fit the model.
        MismatchError: The folder holds other scores, or the run was trained on other data.
        ConfigError: There is no such method, or settings don't fit.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), seed=0)
        >>> digits = load("digits").select(range(9))
        >>> queries = Examples(("q",), digits.images([5]))
        >>> scores = attribute(model, digits, queries, "trak", config=AttributionConfig(draws=8))
        >>> scores["trak"].top("q", 1)[0][0] == digits.ids[5]
        True
    """
    data = load(str(data)) if isinstance(data, str | Path) else data
    request = AttributionRequest.of(model, data, queries, method, config, parameters)
    with tempfile.TemporaryDirectory() as scratch:
        folder = ScoresFolder(Path(out or scratch), request)
        folder.claim()
        scores = request.similarity_scores()
        if request.methods:
            plan, features = FeaturePlan.of(request), FeatureStore(Path(store or folder.path / "features"))
            features.extend(plan, engine=engine)
            scores |= compute_scores(plan, features, engine=Engine(report=scored))
            if out:
                write_norms(folder.path / "norms.parquet", plan, features)
        if out:
            folder.write(scores)
    return scores
