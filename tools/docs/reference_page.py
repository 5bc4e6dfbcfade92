"""The reference of Python: the public names of Whence in groups, each with its docstring."""

from __future__ import annotations

import whence

#: Pages of the reference by file: the title, one sentence, and the parts of the package whose public names it shows.
GROUPS: dict[str, tuple[str, str, str]] = {
    "data": ("Data, settings, errors", "What every other call takes.", "data config engine errors"),
    "diffusion": ("Models and training", "Models, their training, and what they are asked about.", "diffusion"),
    "ensemble": ("Encoded ensembles", "Exact counterfactuals, and what they say about units.", "ensemble"),
    "attribution": (
        "Attribution",
        "Estimates for any model, and likeness beside them.",
        "attribution gradients scores similarity",
    ),
    "evaluation": ("Evaluation", "Retrained models, and controls.", "evaluation retraining"),
    "audit": ("Audits", "Membership, memorisation, and training images that stand out.", "audit"),
    "reweighting": ("Weights", "Weights of training examples that raise the worst group.", "reweighting"),
    "credit": ("Credit", "Shares of contributors.", "credit"),
    "proof": ("Proofs, files, pages", "Certificates, universe files and reports.", "proof universe report"),
}


def reference_pages() -> dict[str, str]:
    """Return the pages by path.

    Raises:
        ValueError: A public name is on no page.
    """
    homes = {name: whence._HOMES[name].split(".")[1] for name in whence.__all__}
    rooms = {room for _, _, rooms in GROUPS.values() for room in rooms.split()}
    missing = sorted(name for name, room in homes.items() if room not in rooms)
    if missing:
        raise ValueError(f"No page of the reference has {', '.join(missing)}. Add the room to GROUPS.")
    pages = {}
    for file, (title, sentence, rooms_of_page) in GROUPS.items():
        names = [name for name, room in homes.items() if room in rooms_of_page.split()]
        entries = "\n\n".join(f"::: whence.{name}" for name in names)
        pages[f"reference/{file}.md"] = f"# {title}\n\n{sentence}\n\n{entries}\n"
    return pages
