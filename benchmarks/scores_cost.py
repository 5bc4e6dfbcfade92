"""What the scores of all kernel methods cost, against the matrix products and eigendecompositions that they need.

Random features of two readouts. With those of the loss: gradient dot and cosine, TRAK, relative and renormalised
influence; with those of the squared norm: D-TRAK and DAS, linear and squared. Each is asked at every damping, as a user
would, through its public function.

Needed, in float64, per readout: ΦᵀΦ (or ΦΦᵀ, if that is smaller) and its eigendecomposition, the products that rotate
examples and queries into it, and one [Q, r] x [r, N] product per damping, which the methods of a readout share; and one
Φ_qΦᵀ for dot and cosine each. The two are measured in one run, part by part in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from whence.attribution.das import das, das_squared
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.gradient import gradient_cosine, gradient_dot
from whence.attribution.normalised_influence import relative_influence, renormalised_influence
from whence.attribution.trak import trak

Method = Callable[[FeaturePair, float], Tensor]
FREE: dict[str, Method] = {"gradient dot": gradient_dot, "gradient cosine": gradient_cosine}
#: Methods with a damping, by readout.
DAMPED: dict[str, dict[str, Method]] = {
    "loss": {"TRAK": trak, "relative influence": relative_influence, "renormalised influence": renormalised_influence},
    "squared norm": {"D-TRAK": trak, "DAS": das, "DAS squared": das_squared},
}


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("--queries", type=int, default=1000)
    given.add_argument("--examples", type=int, default=5000)
    given.add_argument("--features", type=int, default=4096)
    given.add_argument("--dampings", type=int, default=27)
    given.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = given.parse_args()
    torch.set_num_threads(asked.threads)
    dampings = torch.logspace(-6, 3, asked.dampings).tolist()
    needed: dict[str, float] = {}
    taken: dict[str, float] = {}
    for seed, (readout, methods) in enumerate(DAMPED.items()):
        evidence = random_evidence(asked.examples, asked.queries, asked.features, seed)
        measure(evidence, methods, FREE if readout == "loss" else {}, dampings, needed, taken)
    print(
        f"{asked.queries:,} queries x {asked.examples:,} examples x {asked.dampings} dampings, {asked.features:,} "
        f"features, {asked.threads} threads:"
    )
    for name, part in (("needed", needed), ("taken", taken)):
        print(f"  {name:37s} {sum(part.values()):7.1f} s")
        for what, seconds in part.items():
            print(f"    {what:35s} {seconds:7.1f} s")
    print(f"  taken / needed {sum(taken.values()) / sum(needed.values()):.2f}")


def measure(
    evidence: FeaturePair,
    methods: dict[str, Method],
    free: dict[str, Method],
    dampings: list[float],
    needed: dict[str, float],
    taken: dict[str, float],
) -> None:
    """Add the seconds that are needed and that are taken for one readout."""
    examples, queries = evidence.examples.double(), evidence.queries.double()
    with timed(needed, "eigendecompositions and rotations"):
        values, left, right = decomposed(examples, queries)
    with timed(taken, "eigendecompositions and rotations"):
        _ = evidence.kernel.eigenvalues
    for name, method in free.items():
        with timed(needed, "one product each for dot and cosine"):
            _ = queries @ examples.T
        with timed(taken, name):
            method(evidence, 1.0)
    for damping in dampings:
        with timed(needed, "one product per damping"):
            _ = (right / (values + damping * values.mean())) @ left.T
        for name, method in methods.items():
            with timed(taken, name):
                method(evidence, damping)


def random_evidence(examples: int, queries: int, features: int, seed: int) -> FeaturePair:
    """Features of independent normal numbers, which have no small rank."""
    source = torch.Generator().manual_seed(seed)
    phi, phi_q = (torch.randn(rows, features, generator=source) for rows in (examples, queries))
    return FeaturePair(phi, phi_q, losses=torch.rand(examples, generator=source))


def decomposed(examples: Tensor, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues, and examples and queries in their basis, with as few products as there are."""
    if examples.shape[1] <= examples.shape[0]:
        values, basis = torch.linalg.eigh(examples.T @ examples)
        return values, examples @ basis, queries @ basis
    values, basis = torch.linalg.eigh(examples @ examples.T)
    return values, basis, (queries @ examples.T) @ basis


@contextmanager
def timed(table: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of a block to an entry of a table."""
    start = time.perf_counter()
    yield
    table[name] = table.get(name, 0.0) + time.perf_counter() - start


if __name__ == "__main__":
    main()
