"""The command `whence audit memorisation`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import whence
from whence.cli.audit.subject import BASE, DATA, OUT, RUN, open_target, training_data
from whence.cli.data import load_beside
from whence.cli.options import (
    ADAPTER,
    GREY,
    GUIDANCE,
    NEGATIVE_PROMPT,
    PLAN,
    PROCESS,
    PROMPT,
    PROMPTS,
    RESOLUTION,
    SAMPLER,
    SAMPLER_STEPS,
    SPLIT,
    WORKERS,
)
from whence.cli.show import say, show_cost, show_notes, show_paragraph, show_work

BY = Annotated[str, typer.Option(help="What is compared: pixels, latents, or embedding:FOLDER.")]
THRESHOLD = Annotated[
    float | None, typer.Option(help="Limit of the distance, from 0 to 1, in place of that by held-out pictures.")
]
HELD_OUT = Annotated[
    str | None,
    typer.Option(help="Pictures that training never saw, which say how near is a copy; default training images."),
]


def memorisation(
    run: RUN,
    data: DATA = None,
    *,
    out: OUT,
    count: Annotated[int, typer.Option(min=1, help="Pictures that the model draws.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn pictures, SEED/0 ...")] = 0,
    held_out: HELD_OUT = None,
    threshold: THRESHOLD = None,
    by: BY = "pixels",
    split: SPLIT = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    sampler: SAMPLER = None,
    sampler_steps: SAMPLER_STEPS = None,
    prompts: PROMPTS = None,
    prompt: PROMPT = None,
    negative_prompt: NEGATIVE_PROMPT = None,
    guidance: GUIDANCE = None,
    adapter: ADAPTER = None,
    base: BASE = None,
    process: PROCESS = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Show drawn pictures that are very near to a training image, and how often that happens, with an interval.

    Near-duplicates in the training data count once. A drawn picture is called a copy if it is nearer to one training
    image, compared with its next nearest ones, than all of n held-out pictures: about 1 in n + 1 is called so by
    mistake, and about 1 in 100 from 99 on. Those of an ensemble are drawn again by the members that never saw the
    image. Without prompts, a model of text draws from the captions of the data.

    Example: `whence audit memorisation runs/single digits --count 200 --held-out digits:test --out audit/`
    """
    from whence.diffusion.prompts import Prompts
    from whence.report.audit import write_memorisation_page
    from whence.report.audit.memorisation_sentences import hit_words, memorisation_sentences

    target = open_target(run, adapter, resolution, base, process)
    images = training_data(target, data, out, split=split, resolution=resolution, grey=grey)
    own = prompt or ([] if prompts else list(dict.fromkeys(filter(None, target.encoders.captions(images)))))
    texts = Prompts.read(prompts, own, negative_prompt, guidance)
    if plan:
        from whence.audit.audit_cost import memorisation_cost

        steps = sampler_steps or target.sampler.steps
        return show_cost(memorisation_cost(target, images, count, steps, engine=whence.Engine(workers)), out)
    drawn = target.queries(f"sample:{count}@{seed}", prompts=texts, method=sampler, steps=sampler_steps)
    show_notes(drawn.notes, of="the drawn pictures")
    options: dict[str, Any] = {"held_out": _held_out(held_out, images), "threshold": threshold, "by": by}
    with show_work("copies without their image", workers) as engine:
        audit = whence.audit_memorisation(target, images, drawn, out / "memorisation", **options, engine=engine)
    for sentence in memorisation_sentences(audit):
        show_paragraph(sentence)
    for hit in audit.hits[:10]:
        say(f"  {hit_words(audit, hit)}")
    say(f"The page: {write_memorisation_page(audit, images, drawn, out / 'memorisation.html', model=target.name)}")


def _held_out(source: str | None, images: whence.Dataset) -> whence.Dataset | None:
    """Return the held-out pictures in the size of the training images."""
    channels, height, width = images.size
    return (
        None
        if source is None
        else load_beside(source, resolution=height if height == width else None, grey=channels == 1)
    )
