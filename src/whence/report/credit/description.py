"""What estimators and behaviours are, in plain words."""

from __future__ import annotations

#: What the shares of an estimator are, to follow "A share is". Pages show estimators in this order.
ESTIMATORS = {
    "shapley": "the average difference that a contributor makes when contributors join one after another, over all "
    "orders in which they could join (Shapley value)",
    "owen": "the average difference that a contributor makes when contributors join one after another, and those that "
    "belong together join together (Owen value)",
    "banzhaf": "the average difference that a contributor makes to a random half of the others (Banzhaf value)",
    "leave-one-out": "the difference between the model of all contributors and a model of all but this one",
    "add-one-in": "the difference between a model of this contributor alone and a model of nobody",
}
#: What the number of a behaviour means, by the first word of the behaviour's name.
MEANINGS = {
    "diversity": "How many different kinds of pictures the model makes, and how evenly. More is more varied.",
    "coverage": "How much of the variety of real pictures, which the model never saw, is in the pictures it makes.",
    "precision": "How many of the pictures that the model makes look like real pictures that it never saw.",
    "held-out-fit": "How well the model removes noise from real pictures that it never saw. Numbers are below zero: "
    "nearer to zero is better.",
    "class": "How many of the pictures that the model makes are of this class.",
    "classes": "How many of the pictures that the model makes are of each class.",
    "fit": "How familiar this picture is to the model: how well the model removes noise from it. Numbers are below "
    "zero: nearer to zero is more familiar.",
    "distance": "How close the model comes to this picture when it draws again from the same noise. Numbers are below "
    "zero: nearer to zero is closer.",
    "ssim": "How similar in structure the model’s new drawing from the same noise is to this picture.",
}


def meaning(behaviour: str) -> str:
    """Return what a behaviour means, by its name; empty where that is not known."""
    return MEANINGS.get(behaviour.split(" ")[0].split(":")[0], "")


def share_phrase(estimator: str) -> str:
    """Return what the shares of an estimator are, to follow "A share is"; empty where that is not known."""
    if estimator.startswith("sum-"):
        method = estimator.removeprefix("sum-")
        return f"the sum of what the method {method} estimates for each of a contributor’s training pictures"
    return ESTIMATORS.get(estimator, "")


def estimator_title(estimator: str) -> str:
    """Return the name of an estimator as a heading.

    Example:
        >>> estimator_title("leave-one-out"), estimator_title("sum-d-trak")
        ('Leave one out', 'Sum of scores: d-trak')
    """
    if estimator.startswith("sum-"):
        return f"Sum of scores: {estimator.removeprefix('sum-')}"
    return estimator.replace("-", " ").capitalize()
