"""What estimators and behaviours are, in plain words."""

from __future__ import annotations

from whence.credit.estimators import estimator_facts


def share_phrase(estimator: str) -> str:
    """Return what the shares of an estimator are, to follow "A share is"; empty where that is not known."""
    facts = estimator_facts(estimator)
    return facts.meaning if facts is not None else ""


def estimator_title(estimator: str) -> str:
    """Return the name of an estimator as a heading.

    Example:
        >>> estimator_title("leave-one-out"), estimator_title("sum-d-trak")
        ('Leave one out', 'Sum of scores: d-trak')
    """
    if estimator.startswith("sum-"):
        return f"Sum of scores: {estimator.removeprefix('sum-')}"
    return estimator.replace("-", " ").capitalize()
