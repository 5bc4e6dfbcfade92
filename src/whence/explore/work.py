"""What an ensemble does on demand: drawing, drawing again without units, and measuring exact losses.

Results are what `whence ensemble sample`, `ablate` and `losses` write, so the commands find them, and pages stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from whence.artefacts import of_kind, read_manifest
from whence.attribution.queries import read_queries
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.diffusion.prompts import Prompts
from whence.engine import Engine
from whence.ensemble import Ablation, Ensemble, Samples, ablate, sample
from whence.ensemble.ablation import AblationPlan
from whence.ensemble.drawing import Combine, Drawing, complete_drawing
from whence.ensemble.make_losses import losses
from whence.ensemble.sampling import SampleRequest, find_sample, samples_path
from whence.errors import MismatchError, NoSurvivorsError
from whence.explore.collection import Collection
from whence.explore.job import Job, Jobs
from whence.explore.request_error import RequestError, UnknownNameError
from whence.report.text import unit_phrase

#: Draws of exact losses, seeds that pictures may have, and characters of a prompt.
DRAWS, SEEDS, PROMPT = 100, 10**9, 500
#: Units that may be left out together.
TOGETHER = 16
#: Why nothing can be drawn.
NO_ENSEMBLE = (
    "Without an ensemble there is no exact picture without a training image: a single model has seen all of them."
)


@dataclass(frozen=True)
class Removal:
    """A picture that is, or could be, drawn again without units."""

    picture: str
    units: tuple[str, ...]
    plan: AblationPlan | None  # None where it can't be drawn
    problem: str = ""  # why it can't be drawn

    @property
    def address(self) -> str:
        """The page that shows it."""
        return "/without?" + urlencode([("picture", self.picture), *(("unit", unit) for unit in self.units)])

    @property
    def phrase(self) -> str:
        """The units in words."""
        return unit_phrase(self.units)

    def ablation(self) -> Ablation | None:
        """What was drawn; None where nothing was."""
        return Ablation.open(self.plan.path) if self.plan is not None and self.plan.is_drawn() else None


def removal(
    collection: Collection, picture: str, units: Sequence[str], opened: dict[int, Samples] | None = None
) -> Removal:
    """Return the removal of units from a picture, whether it is drawn or not.

    Samples by seed are taken from `opened`, or added to it.

    Raises:
        UnknownNameError: There is no such picture or unit.
        RequestError: No units or too many are given.
    """
    ensemble, entry = collection.ensemble, collection.entries().get(picture)
    if entry is None:
        raise UnknownNameError("picture")
    if not units or len(units) > TOGETHER:
        raise RequestError(400, f"Give from 1 to {TOGETHER} units to leave out.")
    if not set(units) <= set(collection.training.images_of):
        raise UnknownNameError(collection.training.noun)
    if ensemble is None:
        return Removal(picture, tuple(units), None, NO_ENSEMBLE)
    units = tuple(ensemble.codebook.in_order(list(units)))
    if not entry.drawn:
        why = f"Picture {picture} was not drawn by all members, so there is no noise from which it is drawn again."
        return Removal(picture, units, None, why)
    try:
        return Removal(
            picture, units, AblationPlan.make(ensemble, picture, units, False, {} if opened is None else opened)
        )
    except NoSurvivorsError:
        return Removal(picture, units, None, f"Every member saw {unit_phrase(units)}, so none is left to draw.")


def start_removal(jobs: Jobs, ensemble: Ensemble, wanted: Removal) -> Job:
    """Return the job that draws a picture again without units, beside a placebo.

    Raises:
        RequestError: It can't be drawn.
    """
    if wanted.plan is None:
        raise RequestError(409, wanted.problem)
    title = f"Drawing picture {wanted.picture} without {wanted.phrase}"
    return jobs.add(title, wanted.address, lambda engine: ablate(ensemble, wanted.picture, wanted.units, engine=engine))


def start_losses(jobs: Jobs, collection: Collection, name: str) -> Job:
    """Return the job that measures the exact losses of a picture without each unit.

    Raises:
        UnknownNameError: There is no such picture.
        RequestError: The collection is no ensemble.
    """
    ensemble = collection.ensemble
    if ensemble is None:
        raise RequestError(409, "Exact losses are measured by an ensemble, and this folder is none.")
    if name not in collection.entries() and name not in collection.uploads.by_name:
        raise UnknownNameError("picture")

    def measure(engine: Engine) -> None:
        queries, entry = queries_of(collection, ensemble, name), collection.entries().get(name)
        combine: Combine = "predictions"
        if entry is not None and entry.drawn:
            combine = find_sample(ensemble, name)[0].drawing.combine
        losses(ensemble, queries, draws=DRAWS, combine=combine, engine=engine)

    address = "/picture?" + urlencode({"name": name, "by": "losses"})
    return jobs.add(f"Measuring the exact losses of picture {name}", address, measure)


def queries_of(collection: Collection, ensemble: Ensemble, name: str) -> Examples:
    """Return a picture as the members get it."""
    entry, upload = collection.entries().get(name), collection.uploads.by_name.get(name)
    if entry is not None and entry.drawn:
        return read_queries(ensemble, name)
    pixels = upload.pixels if upload is not None else collection.pixels(name)
    assert pixels is not None
    caption = upload.caption if upload is not None else entry.prompt if entry is not None else ""
    data = Dataset((name,), pixels[None], ((name,),), (caption,))
    queries = ensemble.encoders.encode_queries(data)
    return replace(queries, pictures=data.tensor)


def next_seed(ensemble: Ensemble) -> int:
    """Return the smallest seed from 1 on that has no pictures."""
    return next(seed for seed in range(1, SEEDS) if not samples_path(ensemble, seed, []).exists())


def usual_guidance(ensemble: Ensemble) -> float:
    """Return the guidance of the pictures that were drawn from prompts; where there are none, that of the pipeline."""
    made = [read_manifest(path, "samples").made for path in of_kind(ensemble.path / "samples", "samples")]
    prompts = [one for one in (Drawing.of(values).prompts for values in made) if one]
    if prompts:
        return prompts[0].scale
    return 1.0 if ensemble.text is None else ensemble.text.guidance


def start_drawing(jobs: Jobs, ensemble: Ensemble, seed: str, prompt: str, guidance: str) -> Job:
    """Return the job that draws picture SEED/0, from a prompt where the members take text.

    Raises:
        RequestError: A value can't be used, or the seed has pictures that were drawn otherwise.
    """
    if not seed.isascii() or not seed.isdecimal() or int(seed) >= SEEDS:
        raise RequestError(400, f"A seed is a whole number from 0 to {SEEDS - 1:,}.")
    if len(prompt) > PROMPT or not prompt.isprintable():
        raise RequestError(400, f"A prompt is one line of at most {PROMPT} characters.")
    takes_text = ensemble.text is not None
    if prompt and not takes_text:
        raise RequestError(400, "The members of this ensemble take no text.")
    prompts = Prompts((prompt,), guidance=_guidance(guidance)) if takes_text else None
    sampler, number = ensemble.config.sampler, int(seed)
    drawing = complete_drawing(ensemble.text, sampler, prompts)
    try:
        SampleRequest.make(ensemble, 1, number, (), drawing).missing_trajectories()
    except MismatchError:
        raise RequestError(
            409, f"Seed {number} has pictures that were drawn in another way; choose another seed."
        ) from None
    return jobs.add(
        f"Drawing picture {number}/0",
        "/picture?" + urlencode({"name": f"{number}/0"}),
        lambda engine: sample(ensemble, count=1, seed=number, sampler=sampler, prompts=prompts, engine=engine),
    )


def _guidance(text: str) -> float | None:
    """The scale that a form has; None where it is left empty."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise RequestError(400, "The guidance is a number from 0 to 100; 1 is none.")
    return value
