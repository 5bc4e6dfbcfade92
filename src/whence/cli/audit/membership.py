"""The command `whence audit membership`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from whence.cli.audit.subject import BASE, DRAWS, OUT, RUN, SEED, open_target
from whence.cli.data import load_beside, require_directory
from whence.cli.options import ADAPTER, CAPTION_COLUMN, PLAN, PROCESS, RESOLUTION, WORKERS
from whence.cli.show import say, show_cost, show_paragraph, show_work


def membership(
    run: RUN,
    *,
    images: Annotated[str, typer.Option(help="The pictures in question: a folder, an image, or other data.")],
    controls: Annotated[
        str | None,
        typer.Option(
            help="Comparison pictures: of the same kind, and certainly never seen by the model, such as digits:test or "
            "a folder. About 200 are needed for 1 mistake in 100. An ensemble answers a weaker question without them."
        ),
    ] = None,
    out: OUT,
    level: Annotated[float, typer.Option(help="The share of unseen pictures that may be marked by mistake.")] = 0.01,
    draws: DRAWS = 64,
    seed: SEED = 0,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    adapter: ADAPTER = None,
    base: BASE = None,
    process: PROCESS = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Show hints whether pictures were in the training data: how often pictures that it never saw fit as well.

    The answer is for each picture and for all together, and begins with how often the test was wrong on comparison
    pictures that were held back. Often there is no answer, and most pictures that were used are not found one by one.
    Comparison pictures must be of the same kind, size and quality: a difference looks like memory. An ensemble also
    answers without them, which is weaker: it marks pictures that are only like training pictures.

    Example: `whence audit membership runs/lora --images mine/ --controls others/ --out audit/`
    """
    import whence
    from whence.report.audit import write_membership_page
    from whence.report.audit.membership_sentences import membership_sentences

    require_directory(out)
    target = open_target(run, adapter, resolution, base, process)
    channels, height, width = target.model.codec.picture_size(target.model.size)
    size: dict[str, Any] = {"resolution": height if height == width else None, "grey": channels == 1}
    pictures = load_beside(images, caption_column=caption_column, **size)
    others = None if controls is None else load_beside(controls, caption_column=caption_column, **size)
    if plan:
        from whence.audit.audit_cost import membership_cost

        count = len(pictures) + (0 if others is None else len(others))
        return show_cost(membership_cost(target, pictures, count, draws, engine=whence.Engine(workers)), out)
    with show_work("losses", workers) as engine:
        options: dict[str, Any] = {"draws": draws, "seed": seed, "engine": engine}
        audit = whence.audit_membership(target, pictures, others, out / "membership", **options)
    for sentence in membership_sentences(audit, level):
        show_paragraph(sentence)
    page = write_membership_page(audit, pictures, others, level, out / "membership.html", model=target.name)
    say(f"The page: {page}")
