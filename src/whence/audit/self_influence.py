"""Self-influence: how far a training example determines how well the model fits it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan, Term
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.target import Target
from whence.data import Dataset
from whence.engine import DEFAULT, Engine

#: Rows of the matrix of scores that are held at a time.
BLOCK = 1024


def self_influence(
    target: Target,
    data: Dataset,
    method: str | Method,
    store: Path,
    *,
    config: AttributionConfig | None = None,
    encoding: Path | None = None,
    engine: Engine = DEFAULT,
) -> Tensor:
    """Return the diagonal S_nn of the scores of a gradient method, with queries that are the examples: float64 [N].

    Queries and examples share their features, so the examples are passed through once. Large where an example is
    fitted because of itself rather than of the others: it is rare, wrong or foreign (Koh & Liang 2017, arXiv
    1703.04730). The sign and the unit are those of the method.

    Args:
        target: The model.
        data: The training images.
        method: A method of features of gradients, such as ``gradient-dot``.
        store: Folder for the features, from which an interrupted call continues.
        config: Draws and compression.
        encoding: Folder that keeps the latents and embedded captions of the data, where the model needs them.
        engine: Its report is called with (rows done, rows in all), a row being a draw of an example.

    Raises:
        MismatchError: A recorded run was trained on other images, or the store holds something else.
        ModelError: A parameter can't be differentiated example by example.
    """
    plan = self_plan(target, data, method, config, encoding)
    features = FeatureStore(store)
    features.extend(plan, engine=engine)
    [(chosen, terms)] = plan.terms.items()
    ids = plan.request.examples.ids
    return torch.stack([_of_term(plan, features, chosen, term, ids) for term in terms]).sum(0)


def self_plan(
    target: Target, data: Dataset, method: str | Method, config: AttributionConfig | None, encoding: Path | None
) -> FeaturePlan:
    """Return the plan of the features; a plan has queries, and here it is the first example."""
    first = target.encoders.encode_queries(data.select([0]))
    return FeaturePlan.of(AttributionRequest.of(target, data, first, method, config, None, encoding))


def _of_term(plan: FeaturePlan, store: FeatureStore, method: Method, term: Term, ids: Sequence[str]) -> Tensor:
    """The diagonal of a term, in the order of the request."""
    stored = store.features(plan, term.examples, method.feature)
    examples, losses = stored.mean(), stored.loss()
    damping, parts = plan.dampings_of(method)[0], []
    for first in range(0, len(examples), BLOCK):
        pair = FeaturePair(examples, examples[first : first + BLOCK], losses, stored.widths)
        parts.append(method.function(pair, damping).diagonal(first).clone())
    place = {name: n for n, name in enumerate(stored.ids)}
    return term.checkpoint.weight * torch.cat(parts)[[place[name] for name in ids]]
