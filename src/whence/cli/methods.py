"""The command `whence methods`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.cli.show import say

if TYPE_CHECKING:
    from whence.attribution.method import Method
    from whence.attribution.run_method import RunMethod


def methods() -> None:
    """List the methods of attribution: where they come from, what they look at, what they need and what they cost.

    A method of your own takes one file: see docs/attribution.md.
    """
    from whence.attribution.methods import METHODS, RUN_METHODS
    from whence.similarity.attributors import ATTRIBUTORS, EMBEDDINGS, RANKER

    for method in METHODS.values():
        readout = method.readout + (", each draw normalised" if method.normalised else "")
        readout += "" if method.signed else ", unsigned"
        _tell(method, readout)
    for run_method in RUN_METHODS.values():
        _tell(run_method, run_method.readout)
    say("Likeness, not influence, as a baseline to beat:")
    say(f"    {', '.join(ATTRIBUTORS)}")
    say("    " + ", ".join(f"{name}:FOLDER" for name in EMBEDDINGS))
    say("        with a local vision model (CLIP, DINO ...) in FOLDER")
    say("What was distilled from the scores of another method, by `whence distil`:")
    say(f"    {RANKER}:FOLDER")


def _tell(method: Method | RunMethod, readout: str) -> None:
    """Print what is known of a method."""
    from textwrap import fill

    say(fill(f"{method.name}: {method.title}. {method.paper}.", 80, subsequent_indent="    "))
    facts = f"Readout: {readout}. Needs: {method.needs}. Cost: {method.cost}."
    say(fill(facts, 80, initial_indent="    ", subsequent_indent="    "))
    say("")
