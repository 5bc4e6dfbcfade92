"""Make the index of the scores of a method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.attribution.index.candidate_search import require_faiss
from whence.attribution.index.fill_index import fill_index
from whence.attribution.index.index import KIND, Index
from whence.attribution.index.scored_features import ScoredFeatures
from whence.engine import DEFAULT, Engine


def build_index(
    scores: str | Path,
    out: str | Path,
    *,
    factory: str | None = None,
    probes: int | None = None,
    store: str | Path | None = None,
    model: str | Path | None = None,
    engine: Engine = DEFAULT,
) -> Index:
    """Return an index of the training examples of an attribution, which is made unless it is there.

    S_qn = g(⟨u_q, u_n⟩) with u = K^(-1/2) φ and g(s) = s or s |s|: a search by inner products is one by influence.
    Features are read in pieces, so memory doesn't grow with the number of examples, but for FAISS's own codes.

    Args:
        scores: What `attribute` wrote: the folder of one method, or OUT with only one.
        out: Folder for the index.
        factory: FAISS's name of the index that finds candidates; default as they are (Flat) up to 20,000 examples, and
            quantised to 4 bits for every two of the first columns above.
        probes: Lists that are looked at, where that index has lists; default an eighth.
        store: Folder of the features, if it isn't in OUT.
        model: Where the model is now, if it is not where it was.
        engine: Its report is called with (examples done, twice the examples).

    Raises:
        ConfigError: FAISS is not installed, or refuses the factory string; or the score is no inner product.
        MismatchError: The index there, the features or the model are of something else.
        ArtefactError: Scores or features are missing or damaged.
    """
    require_faiss()
    known = None if model is None else str(model)
    scored = ScoredFeatures.open(Path(scores), None if store is None else Path(store), known)

    def build(part: Path) -> Mapping[str, Any]:
        filled = fill_index(part, scored.source, factory, probes, engine.report)
        return {**filled, "target": scored.opened}

    made = {**scored.made, "factory": factory, "probes": probes}
    artefacts.ensure(Path(out), KIND, inputs=scored.inputs, made=made, build=build)
    return Index.open(Path(out))
