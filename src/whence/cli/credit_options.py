"""Options of `whence credit compute`: what its sources have in common, and which options are of which source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import whence
from whence.cli.data import require_directory
from whence.cli.show import show_notes
from whence.errors import ArtefactError, ConfigError

if TYPE_CHECKING:
    from whence.attribution.target import Target

#: Options about models of coalitions, and about pictures that are explained.
_COALITIONS = (
    *("behaviour", "estimator", "held_out", "coalitions", "repeats", "way", "steps", "learning_rate"),
    *("base", "pictures", "clusters", "seed", "config"),
)
_PICTURES = (
    *("queries", "sampler", "sampler_steps"),
    *("prompts", "prompt", "negative_prompt", "guidance"),
)
#: Options that a source does not use, by what it is called.
UNUSED = {
    "scores": (*_COALITIONS, *_PICTURES, "draws"),
    "an ensemble": _COALITIONS,
    "an adapter": tuple(name for name in _COALITIONS if name != "base"),
    "a run": ("draws",),
}
#: The pictures that shares of an adapter are of, where none are named.
DRAWN = "sample:16"
_COLUMNS = ("unit_column", "caption_column", "split")
#: Options that say how DATA is read.
OF_DATA = {
    "scores": (*_COLUMNS, "resolution", "buckets", "grey", "skip_bad"),
    "an ensemble": (*_COLUMNS, "skip_bad"),
}

WAY = Annotated[
    Literal["fine-tuning", "retraining"],
    typer.Option(
        help="How models of coalitions are made: the full model is trained on for a few steps, or new ones are."
    ),
]
STEPS = Annotated[int | None, typer.Option(min=1, help="Steps of fine-tuning; default a twentieth of the run's.")]
BEHAVIOUR = Annotated[
    list[str] | None,
    typer.Option(
        help="What is shared out: of the model diversity, coverage, precision, held-out-fit, classes, class:NAME, "
        "score:FOLDER or MODULE:FUNCTION; of pictures fit, distance, ssim, embedding:FOLDER. May be repeated; "
        "default diversity, or fit where --queries are given."
    ),
]
DRAWS = Annotated[
    int | None,
    typer.Option(
        min=1, help="Draws per picture: of the exact losses of an ensemble (100), of gradients of an adapter (128)."
    ),
]
BASE = Annotated[
    Path | None,
    typer.Option(
        help="The model before any of DATA, as v(none); default an untrained network. For the run of an adapter: where "
        "its base is now."
    ),
]
CLUSTERS = Annotated[
    str | None,
    typer.Option(
        help="For owen: a column of DATA that says which contributors belong together; default: those who "
        "share near-duplicates."
    ),
]


def drawing_of(sampler: str | None, steps: int | None, *texts: Any) -> dict[str, Any]:
    """Return how pictures are drawn, from a sampler, its steps, and what `Prompts.read` takes."""
    from whence.diffusion.prompts import Prompts

    return {"method": sampler, "steps": steps, "prompts": Prompts.read(*texts)}


def study_of(pictures: int, seed: int, **rule: Any) -> whence.StudyConfig:
    """Return the settings of a study whose models are made by a rule."""
    return whence.StudyConfig(rule=whence.RetrainingRule(**rule), pictures=pictures, seed=seed)


@dataclass(frozen=True)
class CreditOptions:
    """The options that all sources share; see `whence credit compute`. `size` is in which size pictures are read."""

    source: Path
    data: str | None
    out: Path
    columns: Sequence[str]
    queries: str | None
    split: str | None
    size: Mapping[str, Any]
    workers: int | None
    drawing: Mapping[str, Any]
    caption_column: str | None = None
    skip_bad: bool = False

    def load(self, *columns: str) -> whence.Dataset:
        """Return the training data; units are the contributors, or those of some other columns."""
        from whence.credit.contributors import load_contributed
        from whence.data.load import require_outside

        if self.data is None or not self.columns:
            raise ConfigError(
                f"{self.source} doesn't say whose its training images are: give DATA and --unit-column, as in "
                f"whence credit compute {self.source} DATA --unit-column artist."
            )
        require_outside(self.data, self.out)
        how = {"split": self.split, "caption_column": self.caption_column, "skip_bad": self.skip_bad, **self.size}
        data = load_contributed(self.data, columns or self.columns, **how)
        show_notes(data.notes)
        return data

    def read_queries(self, target: Target) -> whence.Examples:
        """Return the pictures that are asked about; by default the first that are drawn."""
        queries = target.queries(self.queries or DRAWN, **self.size, **self.drawing)
        show_notes(queries.notes, of="the queries")
        return queries


#: Kinds of what `whence attribute` writes.
_OF_SCORES = {"scores", "top scores", "attribution"}


def checked_kind(context: typer.Context, options: CreditOptions, estimators: Sequence[str] | None) -> str:
    """Return what the source is, as in `UNUSED`.

    Raises:
        ConfigError: An option was given that is not used with such a source.
        ArtefactError: The folder for the shares is not one of their own.
    """
    from whence import artefacts
    from whence.diffusion.adapter_run import is_adapter_run

    kinds = artefacts.kinds_in(options.source)
    kind = "an ensemble" if "ensemble" in kinds else "scores" if kinds & _OF_SCORES else "a run"
    if kind == "a run" and is_adapter_run(options.source):
        kind = "an adapter"
    _require_used(context, kind, options.data, estimators or ())
    _require_own_folder(options.source, options.out)
    return kind


def _require_used(context: typer.Context, kind: str, data: str | None, estimators: Sequence[str]) -> None:
    """Check that every option that was given is used with a source of a kind; a ConfigError names those that aren't."""
    unused = _given(context, UNUSED[kind])
    if unused:
        raise ConfigError(
            f"{_listed(unused)} not used where shares are computed from {kind}. Leave out what isn't used."
            + (" Models of coalitions are of whole networks on pixels." if kind == "an adapter" else "")
        )
    of_data = _given(context, OF_DATA.get(kind, ())) if data is None else []
    if of_data:
        raise ConfigError(
            f"{_listed(of_data)} about DATA, which was not given. Give DATA, or leave it out: then the contributors "
            f"are those that {context.params['source']} was made with."
        )
    if "owen" not in estimators and _given(context, ("clusters",)):
        raise ConfigError("--clusters is for Owen values: add --estimator owen, or leave it out.")


def _require_own_folder(source: Path, out: Path) -> None:
    """Check that shares get a folder of their own, or raise ArtefactError."""
    from whence import artefacts

    require_directory(out)
    if out.resolve().is_relative_to(source.resolve()):
        raise ArtefactError(f"{out} is {source}, or inside of it. Give a folder outside of it for the shares.")
    kinds = {artefacts.kind_of(out)} | (artefacts.kinds_in(out) & _OF_SCORES) if out.is_dir() else {None}
    for kind in sorted(kind for kind in kinds if kind is not None):
        raise ArtefactError(f"{out} holds something else ({kind}). Give a folder of their own for the shares.")


def _given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """Which parameters were given on the command line."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def _listed(names: Sequence[str]) -> str:
    options = [f"--{name.replace('_', '-')}" for name in names]
    return f"{', '.join(options)} {'is' if len(options) == 1 else 'are'}"
