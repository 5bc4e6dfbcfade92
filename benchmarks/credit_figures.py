"""Credit on digits, the figures: held-out coalitions, and leaving out one group, against retraining.

After `python benchmarks/credit.py retrain`: makes the shares, then prints what docs/benchmarks-credit.md shows.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import interval, write_figures

import whence
from credit import QUERIES, SAMPLER, TEST, begin, by, coalitions, folder_of, seconds
from whence.attribution.methods import METHODS
from whence.cli.show import progress
from whence.credit.behaviours import behaviour
from whence.credit.coalitions import CoalitionSampling
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit
from whence.credit.drift import known_drifts, summary
from whence.credit.estimators import ESTIMATORS
from whence.credit.game import Game
from whence.credit.make_game import measure_coalitions, values_of
from whence.credit.study import Study
from whence.credit.study_credit import credit_of_study
from whence.engine import Engine
from whence.evaluation.bank import Bank
from whence.evaluation.prediction.ceiling import ceiling_of, seed_agreement
from whence.retraining.rule import RetrainingRule
from whence.statistics.correlations import Correlations, draw_resamples
from whence.statistics.ranks import spearman_columns
from whence.statistics.statistic import Statistic as Statistic
from whence.statistics.statistic import mean_of

#: Chosen by `credit.py tune`.
RULE = RetrainingRule(steps=50)
COALITIONS = 200
BEHAVIOURS = ("held-out-fit", "diversity", "coverage", "classes", "fit")
SHAPLEY = "Shapley values, fine-tuning"
#: Figures by coalitions' share, method and behaviour.
Figures = dict[str, dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True)
class Digits:
    """The bank's digits, their contributors, and the studies."""

    bank: Bank
    root: Path

    @cached_property
    def who(self) -> Contributors:
        """The twenty contributors."""
        return Contributors.of_data(by(self.bank, "contributor"))

    @cached_property
    def classes(self) -> Contributors:
        """The ten digits."""
        return Contributors.of_data(by(self.bank, "label"))

    @cached_property
    def truth(self) -> Study:
        """Retrained models."""
        return begin(self.bank, self.root / "retraining", RetrainingRule(kind="retraining"))

    @cached_property
    def tuned(self) -> Study:
        """Fine-tuned models."""
        return begin(self.bank, self.root / folder_of(RULE), RULE)

    @cached_property
    def rows(self) -> dict[str, slice]:
        """Where the values of each behaviour are."""
        sizes = [len(behaviour(name).list_rows(self.truth.context)) for name in BEHAVIOURS]
        ends = np.cumsum(sizes).tolist()
        return {name: slice(end - n, end) for name, n, end in zip(BEHAVIOURS, sizes, ends, strict=True)}

    def values(self, study: Study, kept: list[np.ndarray], repeats: int) -> np.ndarray:
        """Values [M, K, B], making what is missing."""
        with progress(study.path.name) as report:
            measured = measure_coalitions(study, kept, repeats=repeats, engine=Engine(report=report))
        return values_of(study, [behaviour(name) for name in BEHAVIOURS], measured)

    def without(self, study: Study, groups: Contributors) -> np.ndarray:
        """What leaving out one group takes away, for both seeds: v(all) - v(all others), [K, B, G]."""
        rows = np.concatenate([np.ones((1, len(groups)), bool), ~np.eye(len(groups), dtype=bool)])
        kept = [groups.kept(row) for row in rows]
        found = self.values(study, kept, 2)
        taken: np.ndarray = (found[:1] - found[1:]).transpose(1, 2, 0)
        return taken

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Scores [Q, N] by method; queries are those of the study, then the held-out pictures."""
        asked, unseen = self.truth.plan.queries, self.truth.plan.held_out
        assert asked
        assert unseen
        pictures = torch.cat([one.images(range(len(one))) for one in (asked, unseen)])
        queries = whence.Examples((*asked.ids, *unseen.ids), pictures, origin=whence.Origin(SAMPLER, drawn=False))
        names = [name for name, one in METHODS.items() if one.additive and one.signed and one.steps == "none"]
        found = whence.attribute(
            self.bank.models[0], self.bank.data, queries, [*names, "pixel-cosine"], out=self.root / "scores"
        )
        return {name: one.scores.double().numpy() for name, one in found.items()}

    def sums(self, scores: np.ndarray, groups: Contributors) -> np.ndarray:
        """Group sums of every behaviour, [B, G]: of a picture its own, of the model the mean over drawn pictures."""
        own = scores @ groups.member.T
        drawn, held_out = own[:QUERIES], own[QUERIES:]
        return np.concatenate([held_out.mean(0, keepdims=True), *[drawn.mean(0, keepdims=True)] * 12, drawn])

    @cached_property
    def shapley(self) -> tuple[Credit, Game]:
        """Shapley values by fine-tuning, and the values that they are of."""
        chosen = [behaviour(name) for name in BEHAVIOURS]
        with progress("shapley") as report:
            return credit_of_study(
                self.tuned,
                self.who,
                chosen,
                ESTIMATORS["shapley"],
                CoalitionSampling(COALITIONS),
                engine=Engine(report=report),
            )

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """Shares of the contributors by every method, [B, U]."""
        shapley, _ = self.shapley
        return {
            SHAPLEY: shapley.shares,
            "leave-one-out, fine-tuning": self.without(self.tuned, self.who).mean(0),
            "leave-one-out, retraining": self.without(self.truth, self.who).mean(0),
            "sums of tangent": self.sums(self.scores["tangent"], self.who),
            "sums of D-TRAK": self.sums(self.scores["d-trak"], self.who),
            "sums of pixel cosine": self.sums(self.scores["pixel-cosine"], self.who),
            "number of images": np.tile(self.who.sizes.astype(float), (shapley.shares.shape[0], 1)),
            "random": np.random.default_rng(0).normal(size=shapley.shares.shape),
        }


def held_out(digits: Digits) -> Figures:
    """Do shares predict the values of coalitions that were never looked at?"""
    figures: Figures = {}
    for name, (share, count, seeds) in TEST.items():
        rows = coalitions(len(digits.who), share, count, name)
        values = digits.values(digits.truth, [digits.who.kept(row) for row in rows], seeds)
        counts = draw_resamples(count, seed=0)
        print(f"\n{count} coalitions of {name} of the contributors, {seeds} training seed(s):\n")
        print("| shares | " + " | ".join(BEHAVIOURS) + " |\n|" + "---|" * (len(BEHAVIOURS) + 1))
        agreed = [seed_agreement(values[:, :, at], counts) for at in digits.rows.values()]
        tops = [ceiling_of(one, seeds) if one else None for one in agreed]
        print("| ceiling | " + " | ".join(told(one) if one else "not known" for one in tops) + " |")
        known = {b: interval(one) for b, one in zip(digits.rows, tops, strict=True) if one}
        figures[name] = {"ceiling": known} if known else {}
        for method, shares in digits.shares.items():
            predicted, truth = rows @ shares.T, values.mean(1)
            found = [Correlations.measure(predicted[:, at], truth[:, at], counts).mean for at in digits.rows.values()]
            print(f"| {method} | " + " | ".join(map(told, found)) + " |")
            figures[name][method] = {b: interval(one) for b, one in zip(digits.rows, found, strict=True)}
    return figures


def left_out(digits: Digits) -> None:
    """Which group matters most to a picture, and in which order do they matter?"""
    at = digits.rows["fit"]
    for name, groups in (("contributor", digits.who), ("class", digits.classes)):
        first, second = digits.without(digits.truth, groups)[:, at]
        truth, chance = (first + second) / 2, 1 / len(groups)
        methods = {
            "leave-one-out, fine-tuning": digits.without(digits.tuned, groups).mean(0)[at],
            SHAPLEY: digits.shares[SHAPLEY][at] @ within(digits.who, groups),
            **{f"sums of {one}": digits.sums(scores, groups)[at] for one, scores in digits.scores.items()},
            "number of images": np.tile(groups.sizes.astype(float), (QUERIES, 1)),
            "random": np.random.default_rng(1).normal(size=truth.shape),
        }
        print(f"\nLeaving out one {name}, loss of {QUERIES} drawn pictures:\n")
        print("| method | top-1 agreement | Spearman |\n|---|---|---|")
        for method, (own, other) in {
            "the other training seed (oracle)": (first, second),
            **{method: (own, truth) for method, own in methods.items()},
        }.items():
            top = mean_of((own.argmax(1) == other.argmax(1)).astype(float), chance)
            print(f"| {method} | {told(top)} | {told(mean_of(spearman_columns(own.T, other.T), 0.0))} |")


def copied(digits: Digits) -> dict[str, float]:
    """What would ten names with the same images do to a contributor's total?"""
    ratios = {}
    credit, game = digits.shapley
    drifts = summary(known_drifts(credit, game=game, names=10))
    print("\n| behaviour | mean size of a share | under ten names | ratio |\n|---|---|---|---|")
    for name, before, after, ratio in zip(*(drifts[c] for c in ("behaviour", "before", "after", "ratio")), strict=True):
        if name in BEHAVIOURS:
            print(f"| {name} | {before:.4f} | {after:.4f} | {ratio:.2f} |")
            ratios[name] = float(ratio)
    low, high = credit.low, credit.high
    assert low is not None
    assert high is not None
    for name, at in digits.rows.items():
        sure = ((low[at] > 0) | (high[at] < 0)).mean()
        print(f"{name}: {sure:.0%} of the shares have intervals without zero", end="; ")
        print(f"v(none) {credit.none[at][0]:.3f}, v(all) {credit.all[at][0]:.3f}")
    return ratios


def within(who: Contributors, groups: Contributors) -> np.ndarray:
    """Which group each contributor is of, [U, G]: that of all its examples."""
    shared = who.member.astype(float) @ groups.member.T.astype(float)
    found: np.ndarray = (shared == shared.sum(1, keepdims=True)).astype(float)
    return found


def told(one: Statistic) -> str:
    """A figure with its interval."""
    low, high = one.interval.low, one.interval.high
    return f"{one.value:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Make the shares and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bank", default="digits")
    parser.add_argument("--root", type=Path, default=Path("runs/credit-digits"))
    asked = parser.parse_args()
    digits = Digits(Bank.open(asked.bank), asked.root)
    figures: dict[str, Any] = {"shares": held_out(digits)}
    left_out(digits)
    figures["copies"] = copied(digits)
    half = digits.who.kept(coalitions(len(digits.who), 0.5, 24, "development")[0])
    slow, fast = seconds(digits.truth, half), seconds(digits.tuned, half)
    print(f"\nA model of half of the contributors: {slow:.1f} s by retraining, {fast:.1f} s by fine-tuning: ", end="")
    print(f"{slow / fast:.1f} times as fast")
    figures["seconds"] = {"retraining": slow, "fine-tuning": fast, "ratio": slow / fast}
    write_figures("credit", figures)


if __name__ == "__main__":
    main()
