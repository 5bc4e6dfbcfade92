"""Credit of scores: the sum of the scores of a contributor's examples, with intervals from the draws of the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import chi2, norm, qmc

from whence import artefacts
from whence.attribution.methods import METHODS
from whence.attribution.pictures import Pictures
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit, Explained
from whence.credit.estimators import score_sum
from whence.credit.leftovers import remove_other_data, write_beside
from whence.credit.stored_credit import write_credit
from whence.credit.study_pictures import query_dataset
from whence.data import Dataset
from whence.errors import ConfigError, MismatchError
from whence.scores.scores import Scores
from whence.scores.stored import read_scores

#: Replicates for intervals, half of them mirror images of the others; the ends of intervals are 2% off on average.
REPLICATES = 2048


def credit_of_scores(scores: Scores, contributors: Contributors) -> Credit:
    """Add up the scores of each contributor's examples: share[q, u] = Σ over n of u of score[q, n].

    The scores [Q, N] add up and are positive for proponents. v(all) is the sum over all examples and v(∅) = 0, both in
    the scale of the scores; no other model is measured. An example of several contributors counts for each of them; the
    remainder takes that off again.

    Returns:
        Shares [Q, U]; one behaviour for each query, with its name. With the jackknife's deviations there are
        replicates: share + √((G - 1)/G) Σ_g z_g D_g / √(χ²/(G - 1)), D_g [Q, U] the deviation of the sums without the
        draws of group g of G = 8, z normal. So a share, and any sum or difference of shares of one query, varies by its
        own jackknife error (Efron & Stein 1981) times Student's t with G - 1 = 7 degrees of freedom.

    Raises:
        ConfigError: The method's scores don't add up or have no sign.
        MismatchError: The scores are of other examples.

    Example:
        >>> import torch
        >>> from whence.scores.scores import Estimand
        >>> scores = Scores(torch.tensor([[1.0, 2.0, -4.0]]), ("0/3",), ("a", "b", "c"), (("u",), ("v",), ("v",)),
        ...                 "trak", Estimand("loss", "", "", "", "example"), "positive is proponent", "sum")
        >>> credit = credit_of_scores(scores, Contributors.of(scores.examples, scores.units))
        >>> credit.units, credit.shares.tolist(), credit.all.tolist()
        (('u', 'v'), [[1.0, -2.0]], [-1.0])
    """
    _require_additive(scores)
    rows = _columns(scores, contributors)
    member = contributors.member.T.astype(float)
    values = scores.scores[:, rows].double().numpy()
    overlap = int((contributors.member.sum(0) > 1).sum())
    return Credit(
        estimator=score_sum(scores.method.replace(" ", "-")).name,
        efficient=not overlap,
        units=contributors.names,
        examples=contributors.owned,
        explained=tuple(_explained(scores, *pair) for pair in zip(scores.queries, values.sum(1), strict=True)),
        shares=values @ member,
        replicates=_replicates(scores, rows, values @ member, member),
        how={
            "values": f"No other model was made. {scores.method} estimates the influence of each example on "
            f"{scores.estimand.behaviour}, and a contributor has the sum over its examples.",
            "null": "0 by definition: no examples, no influence. v(all) is the sum over all examples.",
            "interval": _interval(scores),
            "remainder": f"{overlap:,} of {len(rows):,} examples are of more than one contributor and count for each "
            "of them, so shares and remainder together are the sum over all examples."
            if overlap
            else "Every example is of one contributor, so shares add up to the sum over all examples.",
        },
    )


def score_credits(
    source: Path, data: Dataset | None = None
) -> tuple[list[tuple[Credit, str]], Contributors, dict[str, str]]:
    """Return the credit of all scores in a folder, of every method whose scores add up.

    The contributors are the units of `data`, the training data; without it, those of the scores.

    Returns:
        The credit of every method with the fingerprint of its scores; the contributors; and for each method that was
        left out the reason.

    Raises:
        ConfigError: No method adds up; or the scores were made without contributors.
        MismatchError: The scores are of other examples.
    """
    stored = read_scores([source])
    credits, reasons = [], dict[str, str]()
    for one in stored:
        examples, units = one.scores.examples, one.scores.units
        contributors = Contributors.of_data(data) if data else Contributors.of_source(source, examples, units)
        try:
            credits.append((credit_of_scores(one.scores, contributors), one.manifest.fingerprint))
        except ConfigError as error:
            if len(stored) == 1:
                raise
            reasons[one.scores.method] = str(error)
    if not credits:
        raise ConfigError(f"No method in {source} has scores that add up. See whence methods.")
    return credits, contributors, reasons


def write_score_credit(
    source: Path, out: Path, data: Dataset | None = None
) -> tuple[list[tuple[Credit, Path]], dict[str, str]]:
    """Write the credit of all scores in a folder, see `score_credits`, and the pictures beside it.

    Returns:
        The credit of every method with its folder; and for each method that was left out the reason.
    """
    credits, contributors, reasons = score_credits(source, data)
    if data:
        write_beside(data, out / "data")
    else:
        remove_other_data(out / "data", contributors)
    pictures = (source.parent if artefacts.kind_of(source) == "scores" else source) / "pictures"
    if pictures.exists():
        queries = Pictures.read(pictures).queries
        write_beside(query_dataset(queries.ids, queries.values, queries.captions), out / "queries")
    paths = [write_credit(credit, out, {"scores": fingerprint}, {}) for credit, fingerprint in credits]
    return [(credit, path) for (credit, _), path in zip(credits, paths, strict=True)], reasons


def _explained(scores: Scores, query: str, total: float) -> Explained:
    title = f"Influence on picture {query}, estimated by {scores.method}"
    return Explained(query, title, f"score of {scores.method}", query, none=0.0, all=float(total))


def _require_additive(scores: Scores) -> None:
    """Raise ConfigError unless sums of the scores mean something."""
    if scores.recall is not None:
        raise ConfigError(
            "These scores are of the candidates of a prefilter, so a contributor's sum would lack all others. "
            "Attribute without --prefilter."
        )
    if scores.combine == "sum" and scores.sign == "positive is proponent":
        return
    additive = ", ".join(method.name for method in METHODS.values() if method.additive and method.signed)
    raise ConfigError(
        f"Scores of {scores.method} can't be shared out: "
        + ("their sums mean nothing" if scores.combine != "sum" else "they have no sign")
        + f". Compute scores with a method that adds up: {additive}."
    )


def _columns(scores: Scores, contributors: Contributors) -> list[int]:
    """Return the columns of the contributors' examples in the scores; a MismatchError if they are not the same ones."""
    columns = {example: n for n, example in enumerate(scores.examples)}
    missing = [example for example in contributors.examples if example not in columns]
    if missing or len(columns) != len(contributors.examples):
        example = missing[0] if missing else next(iter(columns.keys() - set(contributors.examples)))
        raise MismatchError(
            f"The scores are of {len(columns):,} examples and the contributors of {len(contributors.examples):,}; "
            f"{example!r} is only among {'the contributors' if missing else 'the scores'}. Both must be of the same "
            "training data."
        )
    return [columns[example] for example in contributors.examples]


def _replicates(scores: Scores, rows: list[int], shares: np.ndarray, member: np.ndarray) -> np.ndarray | None:
    """Shares with the jackknife's error, from a multivariate Student t, float32 [R, Q, U]."""
    if scores.deviations is None or scores.standard_error is None:
        return None
    groups = len(scores.deviations)
    error = scores.standard_error[:, rows].double()
    deviations = np.stack([(group[:, rows].double() * error).numpy() @ member for group in scores.deviations])
    points = qmc.Sobol(groups + 1, seed=np.random.default_rng(0)).random(REPLICATES // 2)
    points = np.clip(points, 1e-9, 1 - 1e-9)
    wide = np.sqrt((groups - 1) / chi2.ppf(points[:, -1], groups - 1))
    factors = norm.ppf(points[:, :groups]) * (wide * np.sqrt((groups - 1) / groups))[:, None]
    moved = np.einsum("rg,gqu->rqu", factors, deviations)
    return np.concatenate([shares + moved, shares - moved]).astype(np.float32)


def _interval(scores: Scores) -> str:
    if scores.deviations is None or scores.standard_error is None:
        return "None: how the errors of these scores go together was not kept, so no error of a sum is known."
    return (
        f"95% for drawing timesteps and noise anew (jackknife over {len(scores.deviations)} groups of draws). It does "
        "not cover training the model anew, nor how far the method is from what removing the examples would do."
    )
