"""Retraining without what a method names, or reading what was measured before.

BANK/removals/ ...         measured removals, an artefact for each method
BANK/runs/removals/ ...    the measurement of every retrained model, so that an interrupted run continues and two
                           methods that remove the same examples share it
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whence import artefacts
from whence.engine import Report, silent
from whence.errors import ArtefactError
from whence.evaluation.bank import Bank, Retraining
from whence.evaluation.bank.retrain import retrain
from whence.evaluation.deletion.deletion import Deletion, kept_in
from whence.evaluation.deletion.wanted import Wanted, top_count
from whence.scores.scores import Scores


def delete(
    bank: Bank,
    scores: Scores,
    *,
    top: str | int = "5%",
    count: int = 20,
    seeds: int = 2,
    store: Path | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Deletion:
    """Retrain without the examples that scores name for a query, and without random ones; killed, it continues.

    For each query the examples of the largest scores are removed, and beside it as many random ones with the same class
    histogram (which may happen to be among the former). Every model is trained from scratch on the rest for as many
    epochs as the bank's own, with the same seeds for both removals.

    Args:
        bank: The bank.
        scores: In the order of the bank (`Bank.require`).
        top: How many examples are removed for each query, or which share of the training examples, as in ``5%``.
        count: Queries, none of them a development query.
        seeds: Training seeds.
        store: Folder for what is measured; default the bank's own.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).

    Returns:
        The measurements.

    Raises:
        ConfigError: `top`, `count` or `seeds` is impossible.
        DataError: The scores are of none of the queries, or of other examples.
    """
    wanted = Wanted.of(bank, scores, top=top, count=count, seeds=seeds)
    return carry_out(bank, [wanted], store=store, workers=workers, report=report)[0]


def carry_out(
    bank: Bank,
    wanted: Sequence[Wanted],
    *,
    store: Path | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> list[Deletion]:
    """Return removals, measured now where they weren't before; see `delete`.

    Args:
        bank: The bank.
        wanted: What is removed, by one method or several.
        store: Folder for what is measured; default the bank's own.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).
    """
    runs = {run.name: run for one in _new(bank, wanted, store) for run in one.runs(bank)}
    measured = retrain(bank, _runs(bank, store), list(runs.values()), workers=workers, report=report)
    found = dict(zip(runs, measured, strict=True))
    for one in _new(bank, wanted, store):
        Deletion.gather(bank, one, [found[run.name] for run in one.runs(bank)]).write(bank, _roots(bank, store)[-1])
    return [Deletion.read(bank, path) for one in wanted if (path := kept_in(bank, _roots(bank, store), one))]


def missing_runs(bank: Bank, wanted: Sequence[Wanted], store: Path | None = None) -> list[Retraining]:
    """Return the models that `carry_out` would train, each once."""
    runs = {run.name: run for one in _new(bank, wanted, store) for run in one.runs(bank)}
    return [run for name, run in runs.items() if not (_runs(bank, store) / name / artefacts.MANIFEST).exists()]


def measured_deletion(
    bank: Bank, scores: Scores, *, top: str | int = "5%", method: str | None = None, store: Path | None = None
) -> Deletion:
    """Return what was measured before for a method, without retraining: the removals closest to what scores name now.

    How close they are `Deletion.overlap` tells; report it with the number.

    Args:
        bank: The bank.
        scores: In the order of the bank.
        top: As in `delete`.
        method: Name of the method; default that of the scores.
        store: Folder for what is measured, looked into beside the bank's own.

    Returns:
        The measurements. Of those that are equally close: of the most queries, then of the most seeds.

    Raises:
        ArtefactError: Nothing was measured for this method and as many examples.
    """
    method, size = method or scores.method, top_count(top, len(bank.examples))
    paths = [path for root in _roots(bank, store) for path in artefacts.whole(root, "*")]
    found = [one for one in (Deletion.read(bank, path) for path in paths) if one.wanted.removed.shape[1] == size]
    own = [one for one in found if one.wanted.method == method and one.is_of(bank, scores)]
    if not own:
        known = sorted({one.wanted.method for one in found})
        raise ArtefactError(
            f"No removal of the top {size} examples by {method} was measured on {bank.path} for queries of these "
            f"scores; measured were those by {', '.join(known) or 'nobody'}. Leave out --no-retrain to retrain."
        )
    return max(own, key=lambda one: (one.overlap(bank, scores).mean(), len(one.wanted.queries), len(one.wanted.seeds)))


def zero_of(bank: Bank, deletion: Deletion, store: Path | None = None) -> Deletion | None:
    """Return the random removals that stand in the place of a method's (`Wanted.zero`), if they were measured."""
    path = kept_in(bank, _roots(bank, store), deletion.wanted.zero(bank))
    return Deletion.read(bank, path) if path else None


def _roots(bank: Bank, store: Path | None) -> list[Path]:
    """Folders of measured removals: the bank's own, and that of `store`, where new ones are written."""
    return list(dict.fromkeys((bank.path / "removals", (store or bank.path) / "removals")))


def _runs(bank: Bank, store: Path | None) -> Path:
    return (store or bank.path) / "runs" / "removals"


def _new(bank: Bank, wanted: Sequence[Wanted], store: Path | None) -> list[Wanted]:
    """Return what was not measured."""
    return [one for one in wanted if kept_in(bank, _roots(bank, store), one) is None]
