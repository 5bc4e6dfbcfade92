"""The command `whence audit data`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.audit.subject import BASE, DATA, DRAWS, OUT, RUN, SEED, open_target, training_data
from whence.cli.options import (
    ADAPTER,
    CAPTION_COLUMN,
    GREY,
    PLAN,
    PROCESS,
    RESOLUTION,
    SPLIT,
    UNIT_COLUMN,
    WORKERS,
)
from whence.cli.show import say, show_cost, show_paragraph, show_work

if TYPE_CHECKING:
    import whence
    from whence.audit.data_audit import DataAudit


def data(
    run: RUN,
    data: DATA = None,
    *,
    out: OUT,
    leave_out: Annotated[
        int | None, typer.Option(min=1, help="Write lists of the data without so many images, the largest by --by.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="Number by which images are left out: loss, self_influence, distance, copies, caption_gain, "
            "caption_excess or visits."
        ),
    ] = "loss",
    draws: DRAWS = 64,
    seed: SEED = 0,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    adapter: ADAPTER = None,
    base: BASE = None,
    process: PROCESS = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Show which training images stand out: a table, and a page whose images can be sorted.

    For those who train the model. Of every image: its loss, its self-influence, the nearest other image,
    near-duplicates, how far its caption fits, and how often training saw it. How often these numbers are wrong on your
    pictures is not known: look at an image before you leave it out.
    With --leave-out also lists for trainers: leave-out.txt, metadata.csv, and metadata.json for kohya's trainer.

    Example: `whence audit data runs/lora styles --unit-column contributor --out audit/`
    """
    import whence
    from whence.audit.leave_out import write_leave_out
    from whence.report.audit import write_data_page
    from whence.report.audit.data_page import CAUTION

    target = open_target(run, adapter, resolution, base, process)
    options = {"split": split, "unit_column": unit_column, "caption_column": caption_column}
    images = training_data(target, data, out, **options, resolution=resolution, grey=grey)
    if plan:
        from whence.audit.audit_cost import data_audit_cost

        return show_cost(data_audit_cost(target, images, draws, seed, engine=whence.Engine(workers)), out)
    with show_work("gradients and losses", workers) as engine:
        audit = whence.audit_data(
            target, images, out / "data", draws=draws, seed=seed, store=out / "features", engine=engine
        )
    show_paragraph(CAUTION)
    _show_largest(audit, images)
    if leave_out is not None:
        write_leave_out(images, audit.worst(by, min(leave_out, len(images))), out)
        say(f"The images without the {leave_out} largest by {by}: {out / 'metadata.csv'}, {out / 'leave-out.txt'}")
    say(f"The table: {audit.path / 'images.csv'}")
    say(f"The page: {write_data_page(audit, images, out / 'data.html', model=target.name)}")


def _show_largest(audit: DataAudit, images: whence.Dataset) -> None:
    """Print the images that stand out by each number."""
    for column in audit.columns:
        values, rows = audit.values(column.name), audit.standing_out(column.name, 3)
        if rows:
            say(f"Largest by {column.name}: {', '.join(f'{images.ids[n]} {values[n]:.3g}' for n in rows)}")
