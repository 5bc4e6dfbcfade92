"""Attribution by gradients: from a model, its training examples and queries to scores."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.prefilter import of_candidates
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.scores_folder import ScoresFolder, write_norms
from whence.attribution.target import Target
from whence.data import Dataset, load
from whence.diffusion.encoding import FOLDER
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Report, silent
from whence.ensemble.model import Ensemble
from whence.scores.ends import ScoreEnds
from whence.scores.pictures import ScorePictures
from whence.scores.scores import Scores

#: Scores, or the ends of scores.
Result = TypeVar("Result", Scores, ScoreEnds)


def attribute(
    model: str | Path | DiffusionModel | Ensemble | Target,
    data: Dataset | Examples | str | Path,
    queries: Examples | Dataset | str | Path,
    method: str | Method | Sequence[str | Method] = "tangent-squared",
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
        model: A diffusers folder, a run, an ensemble (the mean over its members), any `DiffusionModel`, or a `Target`.
        data: The training examples, or the name of a data set that `load` reads.
        queries: The pictures to explain, or their name as for `read_queries`: ``sample:16``, a folder.
        method: Names of methods as `whence methods` lists them, or methods of your own.
        config: The settings.
        out: Folder for features, scores and pictures; by default nothing is kept.
        store: Folder for features, to share them among several `out`; default ``out/features``.
        parameters: A regular expression that the names of differentiated layers contain, like ``"lora"``; default all.
        engine: Where work runs. Its report is called with (rows done, rows in all), a row being a draw of an example.
        scored: Called with (kernels done, kernels in all) when the features are there.

    Returns:
        Scores with standard errors, by name of the method: what leaving out an example would change, to first order.

    Raises:
        ModelError: A parameter of the model can't be differentiated example by example, or a run can't be replayed.
        DataError, MismatchError: Images or queries don't fit the model, or the run; the folder holds other scores.
        ConfigError: There is no such method, settings don't fit, or an argument is of another kind.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), seed=0)
        >>> digits = load("digits").select(range(9))
        >>> queries = Examples(("q",), digits.images([5]))
        >>> scores = attribute(model, digits, queries, "trak", config=AttributionConfig(draws=8))
        >>> scores["trak"].top("q", 1)[0][0] == digits.ids[5]
        True
    """
    data, kept = load(str(data)) if isinstance(data, str | Path) else data, Path(out) / FOLDER if out else None
    request = AttributionRequest.of(model, data, queries, method, config, parameters, kept)
    with tempfile.TemporaryDirectory() as scratch:
        folder = ScoresFolder(Path(out or scratch), request)
        folder.claim()
        place = Path(store or folder.path / "features")
        scores = request.similarity_scores() | request.run_scores(place, engine)
        if request.methods:
            plan, features = FeaturePlan.of(request), FeatureStore(place)
            features.extend(plan, engine=engine)
            scores |= of_candidates(compute_scores(plan, features, engine=Engine(report=scored)), request.population)
            if out:
                write_norms(folder.path / "norms.parquet", plan, features)
        if out:
            folder.write(scores)
    return with_pictures(scores, data, queries)


def with_pictures(results: Mapping[str, Result], *given: object) -> dict[str, Result]:
    """Return results by method with the pictures of training examples and queries, those that are a data set."""
    known = ScorePictures.of(*(one if isinstance(one, Dataset) else None for one in given))
    return {name: replace(of_method, pictures=known) for name, of_method in results.items()}
