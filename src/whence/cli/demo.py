"""`whence demo`: who a picture is made of, the picture without a contributor, and an opt-out, in minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.options import PLAN, WORKERS
from whence.cli.show import duration, say, show_cost, show_work

if TYPE_CHECKING:
    from whence.cli.demo_pictures import Redrawn

#: Adapters of the ensemble, and how many of them see each contributor.
MEMBERS, WEIGHT = 12, 9
#: Layers of the last block of the base: gradients need not go further down.
TARGET = r"up_blocks\.1\..*(to_(q|k|v|out\.0)|conv[12]|ff\.net\.[02].*)$|conv_out"
NUMERALS = ("zero", "three", "six", "nine", "two", "five")
COLOURS = (
    *("teal on cream", "red on sky", "grey on cream", "blue on white", "black on pink", "wine on cream"),
    *("navy on mint", "maroon on cream", "purple on peach", "black on white", "brown on sky", "green on pink"),
)
#: A prompt for each style, and prompts in colours that the base knows.
PROMPTS = (
    *(f"a {numeral} in style {number}" for number, numeral in enumerate(NUMERALS, 1)),
    *(f"a {numeral} in {colours}" for numeral, colours in zip(2 * NUMERALS, COLOURS, strict=True)),
)
GUIDANCE, DRAWS, STEPS = 3.0, 60, 400
#: Steps in which a picture is drawn.
DRAWING_STEPS = 25


def demo(
    out: Annotated[Path, typer.Option(help="The folder for everything.")] = Path("runs/demo"),
    digits: Annotated[
        bool,
        typer.Option("--digits", help="Whole networks on 1,500 digits, each a unit of its own; takes longer."),
    ] = False,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Show in minutes what Whence is for: a contributor named, the picture without it, an opt-out, a report.

    An ensemble of small LoRA adapters is trained on digits in colour by six contributors, each with a style of its own.
    """
    from whence.cli.demo_digits import show_digits
    from whence.cli.demo_pictures import nearest_contributors, nobody_in_particular, sentences, write_sheet
    from whence.diffusion.training import training_cost
    from whence.ensemble.opt_out import opt_out

    if digits:
        return show_digits(out, workers, plan)
    data, config = whence.load("styles:train-six", unit_column="contributor"), _config()
    if plan:
        engine = whence.Engine(workers)
        return show_cost(training_cost(data, config, members=MEMBERS, base="styles", engine=engine), out)
    start = time.monotonic()
    say(f"1. {len(data)} digits in colour, drawn by six contributors in six styles. Each contributor is a unit.")
    say(f"2. Training {MEMBERS} LoRA adapters on a small text-to-image model. Each contributor is shown to {WEIGHT}.")
    with show_work("training", workers) as engine:
        ensemble = whence.train_ensemble(
            data, out, members=MEMBERS, weight=WEIGHT, config=config, base="styles", engine=engine
        )
    pictures = _measure(ensemble, workers)
    named = next((one for one in pictures if one.is_telling), pictures[0])
    file = out / "opt-out.safetensors"
    say(f"6. The opt-out: a LoRA file of the adapters that never saw {named.unit}, and the same pictures drawn by it.")
    opt_out(ensemble, [named.unit]).write(file)
    opted = _draw(ensemble, workers, without=[named.unit], combine="weights")
    shown = [one for one in (named, nobody_in_particular(pictures)) if one]
    drawn = [opted.pictures[opted.names.index(one.ablation.sample)] for one in shown]
    write_sheet(out / "demo.png", data, list(zip(shown, drawn, strict=True)))
    page = whence.write_report(ensemble)
    say(f"\nDone in {duration(time.monotonic() - start)}.")
    likest = nearest_contributors(data, {"opted": drawn[0]})["opted"]
    for line in sentences(pictures, named, likest, len(NUMERALS)):
        say(f"\n{line}")
    say(f"\nThe pictures: {(out / 'demo.png').resolve()}")
    say(f"The opt-out:  {file.resolve()}")
    say(f"The report:   {page.resolve()}")


def _draw(ensemble: whence.Ensemble, workers: int | None, **options: Any) -> whence.Samples:
    """Pictures 0/0, 0/1, ... of the prompts."""
    from whence.diffusion.prompts import Prompts

    prompts = Prompts(PROMPTS, guidance=GUIDANCE)
    with show_work("drawing", workers) as engine:
        return whence.sample(ensemble, count=len(PROMPTS), seed=0, prompts=prompts, engine=engine, **options)


def _measure(ensemble: whence.Ensemble, workers: int | None) -> list[Redrawn]:
    """Each picture with the influence of the contributors on it, and without the one of the largest effect."""
    from whence.attribution.queries import read_queries
    from whence.cli.demo_pictures import Redrawn

    say(f"3. Drawing {len(PROMPTS)} pictures from prompts; {len(NUMERALS)} prompts name a style.")
    samples = _draw(ensemble, workers)
    say("4. Exact losses: how much worse each picture is predicted by the adapters that never saw a contributor.")
    with show_work("exact losses", workers) as engine:
        queries = read_queries(ensemble, f"0/0-{len(PROMPTS) - 1}")
        losses = whence.losses(ensemble, queries, draws=DRAWS, engine=engine)
    readings = [losses.influence_on(name) for name in samples.names]
    for prompt, reading in zip(PROMPTS, readings, strict=True):
        say(f"   {reading.query:5} {prompt:24} {', '.join(reading.influential) or 'nobody in particular'}")
    say("5. The same noise and prompt by the adapters that never saw a contributor, and placebos by as many adapters.")
    with show_work("drawing again", workers) as engine:
        requests = [(reading.query, [reading.units[reading.order[0]]]) for reading in readings]
        ablations = whence.ablate_each(ensemble, requests, engine=engine)
    return [Redrawn.of(ensemble.data, *pair) for pair in zip(readings, ablations, strict=True)]


def _config() -> whence.Config:
    """Settings with which an adapter learns six styles in seconds."""
    return whence.Config(
        training=whence.TrainingConfig(steps=STEPS, batch_size=8, learning_rate=1e-2, caption_dropout=0.1),
        adapter=whence.AdapterConfig(rank=8, target=TARGET),
        sampler=whence.SamplerConfig(method="ddim", steps=DRAWING_STEPS, clip=False),
    )
