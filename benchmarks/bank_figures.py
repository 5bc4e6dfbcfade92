"""Keeps the measured losses of a bank, and writes the figures of its leaderboard.

whence bank build styles --base styles --config benchmarks/styles_bank.toml --subsets 64 --seeds 3 --development 32
    --held-out-count 50 --drawn 50 --draws 48 --guidance 4.5 --out BANK
whence leaderboard BANK --only choices --only lds --draws 48 --work WORK
python benchmarks/bank_figures.py styles BANK WORK

A bank without a pool development: the JSON file of `whence evaluate lds ... --out LDS.json` in the place of WORK.

Writes benchmarks/banks/NAME/ (which examples each subset keeps, and losses by subset, seed and query) and
docs/figures/NAME-bank.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from figures import write_figures

from whence import artefacts
from whence.evaluation.bank import Bank
from whence.evaluation.leaderboard.sections import Figure, read_section

FOLDER = Path(__file__).parent / "banks"
KINDS = ("held-out", "drawn")


def main() -> None:
    """Write the losses and the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("name")
    arguments.add_argument("bank", type=Path)
    arguments.add_argument("work", type=Path, help="the folder of a leaderboard, or a JSON file of evaluate lds")
    given = arguments.parse_args()
    bank = Bank.open(given.bank)
    write_losses(bank, FOLDER / given.name)
    figures = figures_of_tables(bank, given.work) if given.work.is_file() else figures_of(bank, given.work)
    write_figures(f"{given.name}-bank", figures)


def write_losses(bank: Bank, folder: Path) -> None:
    """Write what was measured of every model, so that other scores can be evaluated without training again."""
    for pool in (bank.reference, *bank.pools.values()):
        tensors = {"kept": torch.from_numpy(pool.kept), "losses": torch.from_numpy(pool.losses)}
        artefacts.write_tensors(folder / f"{pool.name}.safetensors", tensors)
    about = {
        "fingerprint": bank.manifest.fingerprint,
        "queries": list(bank.queries),
        "drawn": bank.drawn.tolist(),
        "development": bank.development.tolist(),
        "examples": list(bank.examples),
    }
    artefacts.write_json(folder / "bank.json", about)


def figures_of(bank: Bank, work: Path) -> dict[str, Any]:
    """LDS by method and kind of query, the ceilings, and the share of the ceiling on held-out queries."""
    rows = read_section(work, "lds").rows
    known = {name: {kind: row.get(kind) for kind in KINDS} for name, row in rows.items()}
    ceilings = {kind: known["random"][kind].ceiling for kind in KINDS}
    lds = {name: {kind: plain(one) for kind, one in row.items() if one} for name, row in known.items()}
    shares = {name: row["held-out"]["value"] / ceilings["held-out"] for name, row in lds.items() if "held-out" in row}
    test, development = bank.pools["test"], bank.pools["development"]
    return {
        "models": {"subsets": len(test.kept), "seeds": len(test.seeds), "development": len(development.kept)},
        "lds": lds,
        "ceiling": {kind: {"value": value} for kind, value in ceilings.items()},
        "share of the ceiling": {name: {"value": value} for name, value in shares.items()},
        "damping": {name: row["damping"].value for name, row in read_section(work, "choices").rows.items()},
    }


def figures_of_tables(bank: Bank, file: Path) -> dict[str, Any]:
    """LDS by method and kind of query, the ceilings, the shares of them, and the models."""
    tables = artefacts.read_json(file)["tables"]
    figures: dict[str, Any] = {
        "models": {"subsets": len(bank.pools["test"].kept)},
        "ceiling": {},
        "lds": {},
        "share": {},
    }
    for kind, table in tables.items():
        ceiling = table["ceiling"]
        figures["ceiling"][kind] = None if ceiling is None else figure_of(ceiling)
        for row in table["methods"]:
            figures["lds"].setdefault(row["name"], {})[kind] = figure_of(row["lds"])
            if row["share_of_ceiling"] is not None:
                figures["share"].setdefault(row["name"], {})[kind] = figure_of(row["share_of_ceiling"])
            if row["minus_best"] is not None:
                figures.setdefault("minus best", {}).setdefault(row["name"], {})[kind] = figure_of(row["minus_best"])
    return figures


def figure_of(record: dict[str, Any]) -> dict[str, float | None]:
    """A recorded statistic, as the files of figures hold it."""
    return {"value": record["value"], "low": record["interval"]["low"], "high": record["interval"]["high"]}


def plain(figure: Figure) -> dict[str, float | None]:
    """A figure with its interval, as the files of figures hold it."""
    return {"value": figure.value, "low": figure.low, "high": figure.high}


if __name__ == "__main__":
    main()
