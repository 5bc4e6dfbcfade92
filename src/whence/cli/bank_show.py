"""The command `whence bank show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.show import say

if TYPE_CHECKING:
    from whence.evaluation.bank.pool import Pool
    from whence.evaluation.bank.stored_bank import StoredBank


def show(
    bank: Annotated[
        str, typer.Argument(help="A directory, or the name of a bank that comes with Whence, like digits.")
    ],
) -> None:
    """Say what a bank holds, and how scores for it are made and evaluated.

    Losses are means over queries and models. Two training seeds agree at r: the mean over queries of Spearman's
    correlation, over subsets, between the losses of one seed and those of another.

    Example: `whence bank show bank/`
    """
    from whence.evaluation.bank.stored_bank import StoredBank

    for line in describe(StoredBank.open(bank)):
        say(line)


def describe(bank: StoredBank) -> list[str]:
    """Return what a bank holds, a line each."""
    channels, height, width = bank.data.size
    training, classes = bank.config.training, len(set(bank.classes))
    held_out, drawn = int((~bank.drawn).sum()), int(bank.drawn.sum())
    development = int(bank.development.sum())
    return [
        f"{bank.path}: {len(bank.examples):,} training examples of {width}x{height} pixels, {channels} "
        f"channel{'s' if channels > 1 else ''}, in {classes} class{'es' if classes > 1 else ''}",
        f"Reference models: {len(bank.models)}, {training.steps:,} steps on batches of {training.batch} each; "
        f"seed of the bank {bank.manifest.made['seed']}",
        f"Queries: {held_out} held out, {drawn} drawn; {development} of them to choose knobs on, "
        f"{len(bank.queries) - development} to report figures on",
        f"Losses are over {bank.draws} draws, the same for all models.",
        f"Fingerprint: {bank.manifest.fingerprint}",
        "",
        *table(bank),
        "",
        f"Attribute: {bank.attribution} --out scores/",
        f"Evaluate:  whence evaluate lds scores/ --bank {bank.path}",
    ]


def table(bank: StoredBank) -> list[str]:
    """The pools, a line each, and those that are unfinished."""
    lines = [f"{'pool':18} {'kept':>7} {'subsets':>7} {'seeds':>5} {'held out':>9} {'drawn':>9}  seeds agree"]
    measured = (bank.path / "reference").exists()
    pools = [*([bank.reference] if measured else []), *bank.pools.values()]
    for pool in pools:
        count, models = pool.kept.sum(1).mean(), pool.losses.mean((0, 1))
        means = [f"{models[rows].mean():9.4f}" if rows.any() else f"{'-':>9}" for rows in (~bank.drawn, bank.drawn)]
        lines.append(
            f"{pool.name:18} {count:7,.0f} {len(pool.kept):7} {len(pool.seeds):5} {' '.join(means)}  {agreement(pool)}"
        )
    if not measured:
        lines.append("The reference models are not measured: run the `whence bank build` that made the bank again.")
    return [*lines, *(f"{name}: unfinished, {count} models measured" for name, count in bank.unfinished.items())]


def agreement(pool: Pool) -> str:
    """Return how well the losses of two training seeds agree, with its interval over subsets."""
    from whence.evaluation.prediction.ceiling import seed_agreement
    from whence.statistics.correlations import draw_resamples

    correlations = seed_agreement(pool.losses, draw_resamples(len(pool.kept), seed=0)) if len(pool.kept) > 2 else None
    if correlations is None:
        return "-"
    mean = correlations.mean
    return f"{mean.value:.2f} ({mean.interval.low:.2f} to {mean.interval.high:.2f})"
