"""All gradient methods by name. A new one is a file with its function and declaration, and one line here."""

from __future__ import annotations

from dataclasses import replace

from whence.attribution import gradient_methods, kernel_methods
from whence.attribution.method import Method
from whence.errors import ConfigError

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        kernel_methods.TANGENT,
        kernel_methods.D_TRAK,
        kernel_methods.TRAK,
        kernel_methods.JOURNEY_TRAK,
        kernel_methods.JOURNEY_TRAK_STEPS,
        kernel_methods.DAS,
        kernel_methods.DAS_SQUARED,
        kernel_methods.RELATIVE_IF,
        kernel_methods.RENORMALISED_IF,
        gradient_methods.GRADIENT_DOT,
        gradient_methods.GRADIENT_COSINE,
        gradient_methods.TRACIN_CP,
        gradient_methods.GAS,
        gradient_methods.TRACIN,
        gradient_methods.RETRAC,
    )
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
            f"There is no method {name!r}. `whence methods` lists them; those of gradients are {', '.join(METHODS)}, "
            "and NAME-checkpoints for the mean of one that looks at one set of weights, such as d-trak-checkpoints."
        )
    if base == name:
        return METHODS[name]
    return replace(METHODS[base], name=name, title=f"{METHODS[base].title}, mean over checkpoints", over="checkpoints")
