"""Group sums: the scores of a contributor's examples, added up; with intervals from the draws behind the scores."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2, norm, qmc

from whence.attribution.methods import METHODS
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit, Explained
from whence.errors import ConfigError, MismatchError
from whence.scores.scores import Scores

#: Replicates from which intervals are read, half of them mirror images of the others; their ends are 2% off on average.
REPLICATES = 2048


def credit_of_scores(scores: Scores, contributors: Contributors) -> Credit:
    """Add up the scores of each contributor's examples: share[q, u] = Σ over n of u of score[q, n].

    v(all) is the sum over all examples and v(∅) = 0, both in the scale of the scores, so nothing here was measured on
    other models. An example of several contributors counts for each of them; the remainder takes that off again.

    Args:
        scores: Scores [Q, N] that add up, positive for proponents.
        contributors: Whose the N examples are.

    Returns:
        Shares [Q, U]; one behaviour for each query, called like it. With the jackknife's deviations there are
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
    rows = _rows(scores, contributors)
    member = contributors.member.T.astype(float)
    values = scores.scores[:, rows].double().numpy()
    overlap = int((contributors.member.sum(0) > 1).sum())
    return Credit(
        estimator=f"sum-{scores.method.replace(' ', '-')}",
        efficient=not overlap,
        units=contributors.names,
        examples=owned(contributors),
        explained=tuple(_explained(scores, *one) for one in zip(scores.queries, values.sum(1), strict=True)),
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


def owned(contributors: Contributors) -> tuple[tuple[str, ...], ...]:
    """The ids of each contributor's examples, U."""
    return tuple(tuple(contributors.examples[n] for n in np.flatnonzero(own)) for own in contributors.member)


def _explained(scores: Scores, query: str, total: float) -> Explained:
    title = f"Influence on picture {query}, estimated by {scores.method}"
    return Explained(query, title, f"score of {scores.method}", query, none=0.0, all=float(total))


def _require_additive(scores: Scores) -> None:
    """Check that sums of the scores mean something.

    Raises:
        ConfigError: They don't.
    """
    if scores.combine == "sum" and scores.sign == "positive is proponent":
        return
    able = ", ".join(one.name for one in METHODS.values() if one.additive and one.signed)
    raise ConfigError(
        f"Scores of {scores.method} can't be shared out: "
        + ("their sums mean nothing" if scores.combine != "sum" else "they have no sign")
        + f". Compute scores with a method that adds up: {able}."
    )


def _rows(scores: Scores, contributors: Contributors) -> list[int]:
    """Return the places of the contributors' examples among those of the scores.

    Raises:
        MismatchError: They are not the same examples.
    """
    place = {example: n for n, example in enumerate(scores.examples)}
    missing = [example for example in contributors.examples if example not in place]
    if missing or len(place) != len(contributors.examples):
        example = missing[0] if missing else next(iter(place.keys() - set(contributors.examples)))
        raise MismatchError(
            f"The scores are of {len(place):,} examples and the contributors of {len(contributors.examples):,}; "
            f"{example!r} is only among {'the contributors' if missing else 'the scores'}. Both must be of the same "
            "training data."
        )
    return [place[example] for example in contributors.examples]


def _replicates(scores: Scores, rows: list[int], shares: np.ndarray, member: np.ndarray) -> np.ndarray | None:
    """Shares with the jackknife's error, multivariate Student t: float32 [R, Q, U]."""
    if scores.deviations is None or scores.standard_error is None:
        return None
    groups = len(scores.deviations)
    error = scores.standard_error[:, rows].double()
    deviations = np.stack([(one[:, rows].double() * error).numpy() @ member for one in scores.deviations])
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
