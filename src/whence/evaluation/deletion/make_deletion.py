"""Retraining without the examples that a method names, or reading what was measured before.

BANK/removals/ ...         measured removals, an artefact for each method
BANK/runs/removals/ ...    the measurement of every retrained model, so that an interrupted run continues and two
                           methods that remove the same examples share it
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from whence import artefacts
from whence.cost import Cost, counted, peak_memory
from whence.diffusion.adapter_run import load_run
from whence.diffusion.training import request_of, time_step, weight_bytes
from whence.engine import DEFAULT, Engine
from whence.errors import ArtefactError
from whence.evaluation.bank import Bank
from whence.evaluation.bank.stored_bank import REMOVALS
from whence.evaluation.deletion.deletion import Deletion, find_deletion
from whence.evaluation.deletion.removal import Removal, top_count
from whence.retraining import retrain
from whence.retraining.measurement import measure
from whence.retraining.retrain import Retraining
from whence.scores.scores import Scores


def measure_removals(
    bank: Bank, removals: Sequence[Removal], *, store: Path | None = None, engine: Engine = DEFAULT
) -> list[Deletion]:
    """Return the measurements of removals, in their order; those that were not measured before are measured now.

    Every model is trained from scratch on the kept examples, with as many visits of each as in the bank's own models,
    and with the same seeds for named and random examples. If the call was interrupted, it continues. New measurements
    go to the folder `store`, by default the bank's own; the engine's report is called with (training steps done, steps
    in all).
    """
    roots, missing = _roots(bank, store), _missing_removals(bank, removals, store)
    retrainings = _retrainings(bank, missing)
    measured = retrain.retrain(bank, _runs(bank, store), retrainings, engine=engine)
    by_name = {retraining.name: measurement for retraining, measurement in zip(retrainings, measured, strict=True)}
    for removal in missing:
        measurements = [by_name[retraining.name] for retraining in removal.retrainings(bank)]
        Deletion.of(bank, removal, measurements).write(bank, roots[-1])
    paths = [find_deletion(bank, roots, removal) for removal in removals]
    return [Deletion.read(bank, path) for path in paths if path]


def missing_retrainings(bank: Bank, removals: Sequence[Removal], store: Path | None = None) -> list[Retraining]:
    """Return the models that `measure_removals` would train, each once."""
    retrainings = _retrainings(bank, _missing_removals(bank, removals, store))
    return retrain.missing_retrainings(bank, _runs(bank, store), retrainings)


def read_deletion(
    bank: Bank, scores: Scores, *, top: str | int = "5%", method: str | None = None, store: Path | None = None
) -> Deletion:
    """Return the measurements of a method that are closest to what its scores name now; no model is trained.

    `Deletion.overlap` tells how close they are; report it with the number. Of those that are equally close, the one of
    the most queries counts, then of the most seeds. The scores are in the order of the bank, `top` is as in
    `Removal.of`, `method` is by default that of the scores, and `store` is a folder that is searched after the bank's
    own.

    Raises:
        ArtefactError: Nothing was measured for this method and as many examples.
    """
    method, size = method or scores.method, top_count(top, len(bank.examples))
    paths = [path for root in _roots(bank, store) for path in artefacts.whole(root, "*")]
    deletions = [one for one in (Deletion.read(bank, path) for path in paths) if one.removal.removed.shape[1] == size]
    of_method = [one for one in deletions if one.removal.method == method]
    candidates = [one for one in of_method if {bank.queries[q] for q in one.removal.queries} <= set(scores.queries)]
    if not candidates:
        methods = sorted({one.removal.method for one in deletions})
        raise ArtefactError(
            f"No removal of the top {size} examples by {method} was measured on {bank.path} for queries of these "
            f"scores; measured were those by {', '.join(methods) or 'nobody'}. Leave out --no-retrain to retrain."
        )

    def closeness(deletion: Deletion) -> tuple[float, int, int]:
        overlap = float(deletion.overlap(bank, scores).mean())
        return overlap, len(deletion.removal.queries), len(deletion.removal.seeds)

    return max(candidates, key=closeness)


def read_random_baseline(bank: Bank, deletion: Deletion, store: Path | None = None) -> Deletion | None:
    """Return the measurements of `Removal.random_baseline` for a removal; None if it was not measured."""
    path = find_deletion(bank, _roots(bank, store), deletion.removal.random_baseline(bank))
    return Deletion.read(bank, path) if path else None


def _roots(bank: Bank, store: Path | None) -> list[Path]:
    """Folders of measured removals: the bank's own, and that of `store`, where new ones are written."""
    return list(dict.fromkeys((bank.path / REMOVALS, (store or bank.path) / REMOVALS)))


def _runs(bank: Bank, store: Path | None) -> Path:
    return (store or bank.path) / "runs" / REMOVALS


def _missing_removals(bank: Bank, removals: Sequence[Removal], store: Path | None) -> list[Removal]:
    return [removal for removal in removals if find_deletion(bank, _roots(bank, store), removal) is None]


def _retrainings(bank: Bank, removals: Sequence[Removal]) -> list[Retraining]:
    """The models of some removals, each once."""
    retrainings = [retraining for removal in removals for retraining in removal.retrainings(bank)]
    return list({retraining.name: retraining for retraining in retrainings}.values())


def deletion_cost(
    bank: Bank, removals: Sequence[Removal], *, store: Path | None = None, engine: Engine = DEFAULT
) -> Cost:
    """Return the cost of `measure_removals`, from timing a few training steps and the measurement of one model."""
    missing = missing_retrainings(bank, removals, store)
    if not missing:
        return Cost(0.0, 0, 0, "nothing: all of it is there already")
    step, model = time_step(request_of(bank.data, bank.config, **bank.parts))
    start = time.perf_counter()
    measurement = measure(load_run(bank.models[0], bank.base), bank.plan, engine=engine)
    seconds = time.perf_counter() - start
    used, steps = engine.processes(len(missing)), missing[0].config.training.steps
    kept = measurement.losses.nbytes + measurement.redrawn.nbytes
    return Cost(
        seconds=-(-len(missing) // used) * (steps * step + seconds),
        memory=peak_memory() * used,
        disk=len(missing) * kept + used * 4 * weight_bytes(model),
        work=f"{len(missing)} models: {steps:,} steps of {step * 1000:.0f} ms, {weight_bytes(model) // 4:,} parameters "
        f"each, in {counted(used)}. Each is measured on {len(bank.queries):,} queries in {seconds:.1f} s",
    )
