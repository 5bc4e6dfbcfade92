"""What `whence credit compute` does with a run, with scores, and with an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.cli.show import say, show_cost, show_notes

if TYPE_CHECKING:
    from whence.credit.contributors import Contributors
    from whence.credit.credit import Credit
    from whence.data import Dataset

#: Contributors that are told of each behaviour, and behaviours.
TOLD, LINES = 3, 12
#: A remainder below this is rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Asked:
    """What all sources share; see `whence credit compute`."""

    source: Path
    data: str | None
    out: Path
    columns: tuple[str, ...]
    queries: str | None
    split: str | None
    resolution: int | None
    grey: bool
    workers: int | None
    plan: bool

    def load(self) -> Dataset:
        """Return the training data; units are the contributors.

        Raises:
            ConfigError: There are none, or no column says whose they are.
        """
        from whence.credit.contributors import joined
        from whence.data import load
        from whence.errors import ConfigError

        if self.data is None or not self.columns:
            raise ConfigError(
                f"{self.source} doesn't say whose its training images are: give DATA and --unit-column, as in "
                f"whence credit compute {self.source} DATA --unit-column artist."
            )
        given = {"split": self.split, "resolution": self.resolution, "grey": self.grey}
        found = {name: load(self.data, unit_column=name, **given) for name in self.columns}  # type: ignore[arg-type]
        first = next(iter(found.values()))
        show_notes(first.notes)
        return replace(first, units=joined({name: images.units for name, images in found.items()}))


def of_scores(asked: Asked) -> None:
    """Sums of the scores of every method that adds up."""
    from whence import artefacts
    from whence.attribution.pictures import Pictures
    from whence.credit.compared import as_pixels
    from whence.credit.contributors import Contributors
    from whence.credit.sums import credit_of_scores
    from whence.data import write
    from whence.errors import ConfigError
    from whence.scores.stored import read_scores

    given, images = read_scores([asked.source]), asked.load() if asked.data else None
    found, passed = [], []
    if images is None:
        say(f"Contributors as {asked.source} was made with.")
    for one in given:
        who = Contributors.of_data(images) if images else _recorded(one.scores.examples, one.scores.units, asked)
        try:
            found.append((credit_of_scores(one.scores, who), one.manifest.fingerprint))
        except ConfigError as error:
            if len(given) == 1:
                raise
            passed.append(f"{one.scores.method}: {error}")
    for method in passed:
        say(f"Left out {method}")
    if not found:
        raise ConfigError(f"No method in {asked.source} has scores that add up. See whence methods.")
    if images:
        write(images, asked.out / "data")
    single = artefacts.kind_of(asked.source) == "scores"
    place = (asked.source.parent if single else asked.source) / "pictures"
    if place.exists():
        queries = Pictures.read(place).queries
        write(as_pixels(queries.ids, queries.values), asked.out / "queries")
    for credit, fingerprint in found:
        _write(credit, asked.out, {"scores": fingerprint})
    say(f"Next: whence report {asked.out}")


def of_ensemble(asked: Asked, draws: int) -> None:
    """Exact losses without each contributor."""
    from whence.attribution.target import Target
    from whence.cli.progress import progress
    from whence.credit.contributors import Contributors
    from whence.credit.exact import credit_of_ensemble
    from whence.data import write
    from whence.ensemble import Ensemble
    from whence.errors import ConfigError

    ensemble = Ensemble.open(asked.source)
    target = Target.open(ensemble)
    if asked.data:
        images = asked.load()
        target.require_data(images)
        who = Contributors.of_data(images)
    else:
        images = ensemble.data
        who = _recorded(images.ids, images.units, asked)
    if asked.queries is None:
        raise ConfigError("Exact losses are of pictures: name them with --queries, such as sample:16 or 0/3.")
    queries = target.queries(asked.queries, resolution=asked.resolution, grey=asked.grey)
    with progress("exact losses") as report:
        credit = credit_of_ensemble(
            ensemble, who, queries.values, queries.ids, draws=draws, workers=asked.workers, report=report
        )
    write(images, asked.out / "data")
    _write(credit, asked.out, {"ensemble": target.fingerprint, "queries": list(queries.ids)})
    say(f"Next: whence report {asked.out}")


def of_run(
    asked: Asked,
    *,
    behaviours: Sequence[str],
    estimators: Sequence[str],
    held_out: str | None,
    way: Mapping[str, Any],
    effort: Mapping[str, int],
    base: Path | None,
    pictures: int,
    clusters: str | None,
    config: Path | None,
) -> None:
    """Values of coalitions, by models that are made for them."""
    from whence.attribution.target import Target
    from whence.cli.progress import progress
    from whence.config import SamplerConfig, read_config
    from whence.credit.behaviours import behaviour
    from whence.credit.compute import Effort, credit_of_study, request_of, write_credit
    from whence.credit.contributors import Contributors
    from whence.credit.study import Study, StudyConfig
    from whence.credit.ways import Way
    from whence.data import load

    target, chosen = Target.open(asked.source), [behaviour(name) for name in behaviours]
    images = asked.load()
    target.require_data(images)
    who = Contributors.of_data(images)
    methods = [_estimator(name, images, who, asked, clusters) for name in estimators]
    own = asked.source / "config.toml"
    settings = read_config(config or (own if own.exists() else None))
    unseen = load(held_out, resolution=asked.resolution, grey=asked.grey) if held_out else None
    queries = target.queries(asked.queries, resolution=asked.resolution, grey=asked.grey) if asked.queries else None
    sampler = queries.origin.sampler if queries and queries.origin else SamplerConfig(method="ddim", batch_size=64)
    wanted = StudyConfig(way=Way(**way), pictures=pictures, seed=effort["seed"], sampler=sampler)
    spent, given = Effort(**effort), (asked.source, images, settings, wanted, unseen, queries)
    if asked.plan:
        _plan(asked, given, who, methods, spent)
        return
    study = Study.begin(asked.out, *given)
    for method in methods:
        with progress(method.name) as report:
            credit, game = credit_of_study(
                study, who, chosen, method, spent, base=base, workers=asked.workers, report=report
            )
        place = write_credit(credit, asked.out, study.inputs, request_of(who, chosen, spent), game)
        _tell(credit, place)
    say(f"Next: whence report {asked.out}")


def _plan(asked: Asked, given: tuple[Any, ...], who: Contributors, methods: Sequence[Any], spent: Any) -> None:
    """Say what each estimator costs; a study that isn't there yet is begun elsewhere."""
    from tempfile import TemporaryDirectory

    from whence.credit.credit_cost import credit_cost
    from whence.credit.study import Study

    with TemporaryDirectory() as scratch:
        study = Study.begin(asked.out if (asked.out / "request").exists() else Path(scratch), *given)
        for method in methods:
            say(f"{method.title}:")
            show_cost(credit_cost(study, who, method, spent, workers=asked.workers), asked.out)


def _estimator(name: str, images: Dataset, who: Contributors, asked: Asked, clusters: str | None) -> Any:
    """The estimator of a name; of Owen values, over the clusters that are declared or found."""
    from whence.credit.duplicates import clusters_across, linked
    from whence.credit.estimators import ESTIMATORS, owen
    from whence.errors import ConfigError

    if name not in ESTIMATORS:
        raise ConfigError(f"There is no estimator {name!r}; there are {', '.join(ESTIMATORS)}.")
    if name != "owen":
        return ESTIMATORS[name]
    if clusters is None:
        labels = linked(clusters_across(images, who), who)
    else:
        labels = _declared(replace(asked, columns=(clusters,)).load(), who)
    groups = len(set(labels))
    say(f"Owen values over {groups} clusters of {len(who)} contributors.")
    return owen(len(who), labels)


def _declared(images: Dataset, who: Contributors) -> tuple[str, ...]:
    """Return the cluster of each contributor: that of all its examples.

    Raises:
        ConfigError: The examples of a contributor are of several.
    """
    from whence.errors import ConfigError

    found = []
    for name, own in zip(who.names, who.member, strict=True):
        clusters = sorted({unit for n in own.nonzero()[0] for unit in images.units[n]})
        if len(clusters) != 1:
            raise ConfigError(
                f"The examples of {name!r} are of {len(clusters)} clusters ({', '.join(clusters[:3])}); a contributor "
                "belongs to one."
            )
        found.append(clusters[0])
    return tuple(found)


def _recorded(examples: Sequence[str], units: Sequence[Sequence[str]], asked: Asked) -> Contributors:
    """The contributors that scores or an ensemble were made with."""
    from whence.credit.contributors import Contributors
    from whence.errors import ConfigError

    if all(own == (name,) for name, own in zip(examples, units, strict=True)):
        raise ConfigError(
            f"{asked.source} was made without contributors: give DATA and --unit-column, as in whence credit compute "
            f"{asked.source} DATA --unit-column artist."
        )
    who = Contributors.of(examples, units)
    return who


def _write(credit: Credit, out: Path, inputs: dict[str, Any]) -> None:
    from whence.credit.compute import write_credit

    _tell(credit, write_credit(credit, out, inputs, {}))


def _tell(credit: Credit, place: Path) -> None:
    """Print the largest shares of each behaviour, what is left, and where all of them are."""
    import numpy as np

    low, high = credit.low, credit.high
    say(f"{credit.estimator}: {len(credit.units)} contributors")
    for b, one in enumerate(credit.explained[:LINES]):
        parts = []
        for u in np.argsort(-credit.shares[b], kind="stable")[:TOLD]:
            interval = "" if low is None or high is None else f" ({low[b, u]:.3g} to {high[b, u]:.3g})"
            parts.append(f"{credit.units[u]} {credit.shares[b, u]:.3g}{interval}")
        say(f"  {one.name}: v(none) {one.none:.4g}, v(all) {one.all:.4g}: {'; '.join(parts)}")
        left = credit.remainder[b]
        known = f"{left if abs(left) > ROUNDING else 0:.3g}"
        say(f"    nobody's in particular: {'not known, v(none) was not measured' if np.isnan(left) else known}")
    if low is None:
        say(f"  No intervals are known: {credit.how.get('interval', 'nothing was repeated')}")
    if len(credit.explained) > LINES:
        say(f"  ... and {len(credit.explained) - LINES} more")
    say(f"  {place / 'shares.csv'}")
