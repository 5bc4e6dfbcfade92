"""Writes the page of all methods, from their table and their docstrings: `python tools/docs/methods_page.py FILE`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whence.attribution.method import Method
from whence.attribution.methods import METHODS, RUN_METHODS
from whence.attribution.run_method import RunMethod
from whence.similarity.attributors import ATTRIBUTORS, EMBEDDINGS, pixel, pixel_kernel

START = """\
# Methods

This page is made of the code, as `whence methods` is. φ is the compressed gradient of the *readout*, a number f of the
network's output, mean over draws of timestep and noise; Φ has a row for each training example n, q is a query. λ is
the damping times the mean eigenvalue of ΦᵀΦ; for whole gradients g, of each layer's curvature. Which method to take:
[Which method for my question](choose.md).

| method | in its paper | needs beside a model | cost |
|---|---|---|---|
"""
OVER = {
    "model": "the final model",
    "checkpoints": "mean over the checkpoints of a run",
    "record": "Σ over the checkpoints of a run of η̄ · V / B · w_n S_qn, with φ_n at the timesteps, noise and flips "
    "that training drew in the V visits before the checkpoint; η̄ their mean learning rate, B the batch size",
}


def methods_page() -> str:
    """Return the page as Markdown."""
    rows = [
        f"| [`{m.name}`](#{m.name}) | {m.title} | {m.needs} | {m.cost} |"
        for m in [*METHODS.values(), *RUN_METHODS.values()]
    ]
    shown: dict[Callable[..., Any], str] = {}
    parts = [START + "\n".join(rows)]
    parts.append("NAME-checkpoints, such as `d-trak-checkpoints`, is the mean over the checkpoints of a run.")
    for method in METHODS.values():
        (formula, where), text = docstring(method.function)
        first = shown.setdefault(method.function, method.name)
        body = text if first == method.name else f"What it is, and its sign and unit: see [{first}](#{first})."
        parts += [f"## {method.name}", f"**{method.title}**: `{formula}`{where}.", facts(method), body]
    for run_method in RUN_METHODS.values():
        (formula, where), text = docstring(run_method.function)
        head = f"**{run_method.title}**: `{formula}`{where}."
        parts += [f"## {run_method.name}", head, facts_of_run_method(run_method), text]
    likeness = ", ".join(f"`{name}`" for name in [*ATTRIBUTORS, *(f"{kind}:FOLDER" for kind in EMBEDDINGS)])
    parts += ["## Likeness, not influence", f"Baselines that know nothing of the model: {likeness}."]
    for name, function in {"pixel": pixel, "pixel-kernel": pixel_kernel}.items():
        parts += [f"**{name}**: " + docstring(function)[1]]
    return "\n\n".join(parts) + "\n"


def facts(method: Method) -> str:
    """Return a list of what the declaration of a method says."""
    draws = "the same for all examples and queries" if method.shared else "of each example's own"
    lines = {
        "Explains": method.behaviour,
        "Over": OVER[method.over],
        "Readout": f"`{method.readout}`" + (", each draw's gradient divided by its norm" if method.normalised else ""),
        "Gradients": "compressed"
        if method.curvature is None
        else "whole, in the eigenbasis of the network's curvature",
        "Draws": draws,
        "Damping": f"{method.damping:g} by default" if method.damped else "none",
        "Sign": "positive is proponent" if method.signed else "unsigned",
        "Scores of several images": "add up" if method.additive else "don't add up",
        "Source": method.paper,
    }
    return "\n".join(f"- **{name}**: {value}" for name, value in lines.items())


def facts_of_run_method(method: RunMethod) -> str:
    """Return a list of what the declaration of a method of a run says."""
    lines = {"Explains": method.behaviour, "Readout": method.readout, "Source": method.paper}
    return "\n".join(f"- **{name}**: {value}" for name, value in lines.items())


def docstring(function: Callable[..., Any]) -> tuple[tuple[str, str], str]:
    """Return the formula of a docstring's first line and what it adds, and the paragraphs before Returns and Raises."""
    first, _, rest = (inspect.getdoc(function) or "").partition("\n\n")
    line = " ".join(first.split()).partition(": ")[2].rstrip(".").partition("; `")[0]
    formula, between, where = re.match(r"(.*?)( with |; |, |$)(.*)", line).groups()
    text = re.split(r"^(?:Args|Returns|Raises|Example):$", rest, flags=re.MULTILINE)[0].strip()
    return (formula, between + where), text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(methods_page(), "utf-8")
