"""Do standard errors tell how far scores are from those of many draws? Nominal 90% intervals against a reference.

500 training digits; 32 queries, half of them held-out digits and half drawn by the model; every gradient method that
needs no recorded draws. Scores of 10 to 100 draws, of four seeds, against scores of 2,000 draws of another seed.

* *covered*: how many of the intervals score ± 1.895 errors hold the reference, which has an error itself.
* *bias*: root mean square of the part of (score - reference) / error that all seeds share, from products of different
  seeds, without the reference's own error.
* *spread*: how far scores of different seeds are apart, over what their errors say.
* *Spearman*: with the reference, over training examples; median of the queries.
* *rising*: scores that differ from 0 by more than noise, family-wise at 5% for each query.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import recipes
import torch
from figures import FOLDER, write_figures

import whence
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.methods import METHODS
from whence.cli.show import progress
from whence.engine import Engine
from whence.scores.jackknife import half_width, rising
from whence.statistics.ranks import agreement

RUNS = Path("runs/errors")
UNITS, HELD_OUT, DRAWN = 500, 16, 16
DRAWS, REFERENCE, SEEDS = (10, 32, 100), 2000, (1, 2, 3, 4)
DAMPINGS = (10.0, 1.0, 0.1, 0.01, 0.001)
#: Methods that look at the model with all examples in a kernel, and at checkpoints without one: 100 examples will do.
NAMES = {
    ("trak", "relative-if", "renormalised-if", "gradient-dot", "gradient-cosine", "d-trak", "das"): UNITS,
    ("tracin-cp", "gas"): 100,
    ("tangent", "tangent-squared"): UNITS,
}


def main() -> None:
    """Measure and print; adds to docs/figures/errors.json."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("methods", nargs="*", choices=sorted(sum(NAMES, ())), help="Those that share features with one.")
    asked, file = given.parse_args(), FOLDER / "errors.json"
    results: dict[str, dict[str, float]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for names in NAMES if not asked.methods else [names for names in NAMES if {*names} & {*asked.methods}]:
        found = {draws: [scores(names, draws, seed) for seed in SEEDS] for draws in DRAWS}
        reference = scores(names, REFERENCE, 0)
        for name, exact in reference.items():
            for draws, own in found.items():
                results[f"{name}, {draws} draws"] = summary([one[name] for one in own], exact)
    write_figures("errors", results)
    columns = list(next(iter(results.values())))
    print(f"| method | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in results.items():
        print(f"| {name} | {' | '.join(f'{row[column]:.3f}' for column in columns)} |")


def methods(names: Sequence[str]) -> Iterator[whence.Method]:
    """The methods, those with a damping at each of the dampings and at their own."""
    for method in (METHODS[name] for name in names):
        if not method.damped:
            yield method
            continue
        for damping in method.dampings(DAMPINGS):
            name = f"{method.name}@{damping:g}"
            yield replace(method, name=name, function=partial(at_damping, method.function, damping))


def at_damping(
    function: Callable[[FeaturePair, float], torch.Tensor], damping: float, evidence: FeaturePair, _: float
) -> torch.Tensor:
    """A method's function at a damping of its own."""
    return function(evidence, damping)


def scores(names: tuple[str, ...], draws: int, seed: int) -> dict[str, whence.Scores]:
    """Scores of so many draws of a seed, or what is there of them; asked for with ascending draws."""
    wanted = list(methods(names))
    out = RUNS / f"scores-{names[0]}-{seed}-{draws}"
    if all((out / method.name).exists() for method in wanted):
        return {method.name: whence.Scores.read(out / method.name) for method in wanted}
    with progress(f"{draws} draws of seed {seed}") as report:
        return whence.attribute(
            model(),
            whence.Examples.of(recipes.some_digits(UNITS)).head(NAMES[names]),
            queries(),
            wanted,
            config=whence.AttributionConfig(draws=draws, seed=seed),
            out=out,
            store=RUNS / f"features-{seed}",
            engine=Engine(report=report),
        )


def model() -> Path:
    """The model, trained where it is not there yet."""
    settings = whence.Config().updated("model", channels=(16, 32))
    settings = settings.updated("training", batch_size=64, steps=1000, checkpoints=2)
    with progress("model") as report:
        whence.train(recipes.some_digits(UNITS), RUNS / "model", settings, engine=Engine(report=report))
    return RUNS / "model"


def queries() -> whence.Examples:
    """Held-out digits, and digits that the model draws."""
    held_out = whence.load("digits:test").select(range(HELD_OUT))
    drawn = whence.read_queries(whence.DiffusionModel.load(model()), f"sample:{DRAWN}")
    pictures = torch.cat([held_out.images(range(HELD_OUT)), drawn.values])
    return whence.Examples((*held_out.ids, *drawn.ids), pictures)


def summary(found: Sequence[whence.Scores], exact: whence.Scores) -> dict[str, float]:
    """How the scores of several seeds compare with the reference."""
    far = torch.stack([one.scores.double() - exact.scores for one in found])
    errors = torch.stack([error(one) for one in found])
    variance = errors.square().mean(0)
    shared = torch.stack([far[a] * far[b] for a, b in combinations(range(len(found)), 2)]).mean(0)
    ranks = [agreement(exact.queries, one.scores.numpy(), exact.scores.numpy()).correlations for one in found]
    return {
        "covered": float((far.abs() <= half_width(errors)).double().mean()),
        "bias": float(((shared - error(exact).square()) / variance).mean().clamp_min(0).sqrt()),
        "spread": float((far.var(0) / variance).mean().sqrt()),
        "Spearman": float(np.median(np.stack(ranks))),
        "rising": float(torch.stack([rising(one.scores, error(one)) for one in found]).double().mean()),
    }


def error(scores: whence.Scores) -> torch.Tensor:
    """Standard errors, float64 [Q, N], which all these methods have."""
    if scores.standard_error is None:
        raise ValueError(f"{scores.method} has no standard errors.")
    return scores.standard_error.double()


if __name__ == "__main__":
    main()
