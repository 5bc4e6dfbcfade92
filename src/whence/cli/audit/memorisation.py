"""The command `whence audit memorisation`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from whence.cli.audit.subject import BASE, DATA, OUT, RUN, open_target, training_data
from whence.cli.data import load_beside
from whence.cli.options import (
    ADAPTER,
    GREY,
    GUIDANCE,
    NEGATIVE_PROMPT,
    PLAN,
    PROCESS,
    PROMPTS,
    RESOLUTION,
    SAMPLER,
    SAMPLER_STEPS,
    SPLIT,
    WORKERS,
)
from whence.cli.show import say, show_cost, show_notes, show_paragraph, show_work


def memorisation(
    run: RUN,
    data: DATA = None,
    *,
    out: OUT,
    count: Annotated[int, typer.Option(min=1, help="Pictures that the model draws.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn pictures, SEED/0 ...")] = 0,
    held_out: Annotated[
        str | None,
        typer.Option(help="Pictures that training never saw, which say how close is a copy; default training images."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Closeness below which a picture is a copy, from 0 to 1; default chosen.")
    ] = None,
    by: Annotated[str, typer.Option(help="What is compared: pixels, latents, or embedding:FOLDER.")] = "pixels",
    split: SPLIT = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    sampler: SAMPLER = None,
    sampler_steps: SAMPLER_STEPS = None,
    prompts: PROMPTS = None,
    prompt: Annotated[list[str] | None, typer.Option(help="A prompt; repeated, pictures get them in turn.")] = None,
    negative_prompt: NEGATIVE_PROMPT = None,
    guidance: GUIDANCE = None,
    adapter: ADAPTER = None,
    base: BASE = None,
    process: PROCESS = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Say which drawn pictures are training images, and how often that happens, with an interval.

    Near-duplicates in the training data count once. A drawn picture is a copy if it is closer to one training image,
    compared with its next nearest ones, than 99% of held-out pictures. Copies of an ensemble are drawn again by the
    members that never saw the image. Without prompts, a model of text draws from the captions of the data.

    Example: `whence audit memorisation runs/single digits --count 200 --held-out digits:test --out audit/`
    """
    import whence
    from whence.diffusion.prompts import Prompts
    from whence.report.audit import write_memorisation_page
    from whence.report.audit.sentences import memorisation_sentences

    target = open_target(run, adapter, resolution, base, process)
    images = training_data(target, data, out, split=split, resolution=resolution, grey=grey)
    if not (prompts or prompt):
        prompt = [text for text in dict.fromkeys(target.encoders.captions(images)) if text]
    texts = Prompts.read(prompts, prompt or (), negative_prompt, guidance, target.model.usual_guidance)
    if plan:
        from whence.audit.audit_cost import memorisation_cost

        steps = sampler_steps or target.sampler.steps
        return show_cost(memorisation_cost(target, images, count, steps, engine=whence.Engine(workers)), out)
    drawn = target.queries(f"sample:{count}@{seed}", prompts=texts, method=sampler, steps=sampler_steps)
    show_notes(drawn.notes, of="the drawn pictures")
    size = {"resolution": images.size[1] if images.size[1] == images.size[2] else None, "grey": images.size[0] == 1}
    others = None if held_out is None else load_beside(held_out, **size)
    with show_work("copies without their image", workers) as engine:
        options: dict[str, Any] = {"held_out": others, "threshold": threshold, "by": by, "engine": engine}
        audit = whence.audit_memorisation(target, images, drawn, out / "memorisation", **options)
    for sentence in memorisation_sentences(audit):
        show_paragraph(sentence)
    for hit in audit.hits[:10]:
        say(f"  {hit.picture} is training image {hit.image}: closeness {hit.closeness:.3g}")
    say(f"The page: {write_memorisation_page(audit, images, drawn, out / 'memorisation.html')}")
