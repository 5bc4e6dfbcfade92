"""All methods by name. A new one is a file with its function and declaration, and one line here."""

from __future__ import annotations

from dataclasses import replace

from whence.attribution import (
    das,
    gradient,
    influence,
    metagradient,
    normalised_influence,
    reverse_gradient,
    tangent,
    trak,
)
from whence.attribution.method import Method
from whence.attribution.run_method import RunMethod
from whence.errors import ConfigError

#: Methods of features of gradients.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        tangent.TANGENT,
        tangent.TANGENT_SQUARED,
        trak.D_TRAK,
        trak.TRAK,
        trak.JOURNEY_TRAK,
        trak.JOURNEY_TRAK_STEPS,
        das.DAS,
        das.DAS_SQUARED,
        normalised_influence.RELATIVE_IF,
        normalised_influence.RENORMALISED_IF,
        influence.EK_FAC,
        influence.K_FAC,
        gradient.GRADIENT_DOT,
        gradient.GRADIENT_COSINE,
        gradient.TRACIN_CP,
        gradient.GAS,
        gradient.TRACIN,
        gradient.RETRAC,
    )
}

#: Methods that differentiate a whole run.
RUN_METHODS: dict[str, RunMethod] = {
    method.name: method for method in (metagradient.METAGRADIENT, reverse_gradient.REVERSE_GRADIENT)
}


def method(name: str) -> Method:
    """Return the gradient method of that name; NAME-checkpoints is its mean over the checkpoints of a run.

    Raises:
        ConfigError: There is none.

    Example:
        >>> method("d-trak").title, method("d-trak-checkpoints").over
        ('D-TRAK', 'checkpoints')
    """
    base = name.removesuffix("-checkpoints")
    if base not in METHODS or base != name and METHODS[base].over != "model":
        raise ConfigError(
            f"There is no method {name!r}. `whence methods` lists them; those of gradients are "
            f"{', '.join([*METHODS, *RUN_METHODS])}, and NAME-checkpoints for the mean of one that looks at one set of "
            "weights, such as d-trak-checkpoints."
        )
    if base == name:
        return METHODS[name]
    return replace(METHODS[base], name=name, title=f"{METHODS[base].title}, mean over checkpoints", over="checkpoints")
