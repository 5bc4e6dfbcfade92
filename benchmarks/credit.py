"""Credit on digits: do shares of twenty contributors predict what retraining without some of them gives?

python benchmarks/credit.py retrain     # models of held-out coalitions, about half an hour on two cores
python benchmarks/credit.py tune        # steps of fine-tuning, on development coalitions
python benchmarks/credit.py shares      # Shapley values by fine-tuning, and the other methods
python benchmarks/credit.py table       # what docs/benchmarks-credit.md shows
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from whence.cli.show import progress
from whence.config import SamplerConfig
from whence.credit.behaviours import behaviour
from whence.credit.contributors import Contributors
from whence.credit.make_game import measure_coalitions, values_of
from whence.credit.study import Study, StudyConfig
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.origin import Origin
from whence.diffusion.sampling import draw_pictures
from whence.engine import Engine, one_thread
from whence.evaluation.bank import Bank
from whence.retraining.measurement import measure
from whence.retraining.rule import RetrainingRule
from whence.statistics.ranks import spearman_columns

SAMPLER = SamplerConfig(method="ddim", steps=20, batch_size=64)
#: Held-out coalitions: share of the contributors, how many, training seeds.
TEST = {"50%": (0.5, 64, 2), "25%": (0.25, 32, 1), "75%": (0.75, 32, 1)}
DEVELOPMENT = (0.5, 24, 1)
#: Rules of fine-tuning of which one is chosen.
RULES = (
    *(RetrainingRule(steps=steps) for steps in (25, 50, 100, 200)),
    RetrainingRule(steps=50, learning_rate=1e-3),
)
QUERIES = 50


def begin(bank: Bank, path: Path, rule: RetrainingRule) -> Study:
    """Begin a study of the bank's first reference model, and measure that model."""
    names = tuple(f"0/{k}" for k in range(QUERIES))
    pictures = draw_pictures(DiffusionModel.load(bank.models[0]), SAMPLER, names)
    settings = StudyConfig(rule=rule, pictures=200, held_out=100, sampler=SAMPLER)
    queries, data = Examples(names, pictures, origin=Origin(SAMPLER, drawn=True)), by(bank, "contributor")
    study = Study.begin(path, bank.models[0], data, bank.config, settings, load("digits:test"), queries)
    study.measure_full()
    return study


def by(bank: Bank, column: str) -> Dataset:
    """The bank's examples, with units of another column."""
    digits = load("digits", unit_column=column)
    return digits.select([digits.index_of(name) for name in bank.examples])


def coalitions(players: int, share: float, count: int, name: str) -> np.ndarray:
    """Distinct random coalitions of a share of the contributors, bool [M, U]."""
    source, found = np.random.default_rng([players, *name.encode()]), dict[bytes, np.ndarray]()
    while len(found) < count:
        row = np.zeros(players, bool)
        row[source.permutation(players)[: round(share * players)]] = True
        found.setdefault(row.tobytes(), row)
    return np.stack(list(found.values()))


def retrain(bank: Bank, root: Path) -> None:
    """Make the models that are the truth."""
    study = begin(bank, root / "retraining", RetrainingRule(kind="retraining"))
    who = Contributors.of_data(by(bank, "contributor"))
    out, classes = ~np.eye(len(who), dtype=bool), Contributors.of_data(by(bank, "label"))
    wanted = [("development", who, coalitions(len(who), *DEVELOPMENT[:2], "development"), DEVELOPMENT[2])]
    wanted += [(name, who, coalitions(len(who), share, count, name), k) for name, (share, count, k) in TEST.items()]
    wanted += [("without one", who, np.concatenate([np.ones((1, len(who)), bool), out]), 2)]
    wanted += [("without a class", classes, ~np.eye(len(classes), dtype=bool), 2)]
    for name, players, rows, repeats in wanted:
        with progress(f"retraining {name}") as report:
            measure_coalitions(
                study, [players.kept(row) for row in rows], repeats=repeats, engine=Engine(report=report)
            )


def tune(bank: Bank, root: Path) -> None:
    """Compare rules of fine-tuning with retraining, on development coalitions."""
    who = Contributors.of_data(by(bank, "contributor"))
    rows = [who.kept(row) for row in coalitions(len(who), *DEVELOPMENT[:2], "development")]
    truth = begin(bank, root / "retraining", RetrainingRule(kind="retraining"))
    chosen = [behaviour(name) for name in ("held-out-fit", "diversity", "coverage", "classes", "fit")]
    wanted = values_of(truth, chosen, measure_coalitions(truth, rows))[:, 0]
    parts = {one.name: len(one.list_rows(truth.context)) for one in chosen}
    print("| way | steps | learning rate | " + " | ".join(parts) + " | seconds a model |")
    print("|" + "---|" * (len(parts) + 4))
    for rule in RULES:
        study = begin(bank, root / folder_of(rule), rule)
        found = values_of(study, chosen, measure_coalitions(study, rows))[:, 0]
        agreed = np.split(spearman_columns(found, wanted), np.cumsum(list(parts.values()))[:-1])
        told = " | ".join(f"{np.nanmean(own):.2f}" for own in agreed)
        rate = rule.learning_rate or "of the run"
        print(f"| fine-tuning | {rule.steps} | {rate} | {told} | {seconds(study, rows[0]):.1f} |")
    print(f"| retraining | 500 on average | of the run | | | | | | {seconds(truth, rows[0]):.1f} |")


def folder_of(rule: RetrainingRule) -> str:
    """The folder of the study of a rule."""
    return f"fine-tuning-{rule.steps}-{rule.learning_rate or 'run'}-0"


def seconds(study: Study, rows: np.ndarray) -> float:
    """Seconds of a core that one model takes, trained elsewhere and measured."""
    retraining, data = study.retraining(rows, 0), study.data
    with TemporaryDirectory() as scratch, one_thread():
        start = time.process_time()
        model = retraining.rule.train(data, rows, Path(scratch) / "model", retraining.config, start=study.start)
        measure(model, study.plan)
        return time.process_time() - start


def main() -> None:
    """Do one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["retrain", "tune"])
    parser.add_argument("--bank", default="digits")
    parser.add_argument("--root", type=Path, default=Path("runs/credit-digits"))
    asked = parser.parse_args()
    {"retrain": retrain, "tune": tune}[asked.part](Bank.open(asked.bank), asked.root)


if __name__ == "__main__":
    main()
