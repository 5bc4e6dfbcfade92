"""The way to the default method: what each choice is worth, on the development subsets and queries of a bank.

Every row is a kernel K of Jacobians or gradients and S = K_q (K + λI)⁻¹, or its mean over layers, at the damping
that is best for it on the same development data, so rows compare choices, not tuning. None of this touches the subsets
and queries that docs/leaderboard.md reports.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.engine import one_thread
from whence.evaluation.bank import Bank
from whence.evaluation.prediction.lds import Form, lds
from whence.gradients.compression import Compression
from whence.gradients.gradient_spec import make_gradient_spec
from whence.gradients.readouts import signs

RUNS = Path("runs/ablation")
DAMPINGS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
#: ∂f/∂output times its number of elements, from the output, its target and the draw's index.
READOUTS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "loss": lambda o, y, k: 2 * (o - y),
    "squared norm": lambda o, y, k: 2 * o,
    "mean": lambda o, y, k: torch.ones_like(o),
    "one pattern": lambda o, y, k: pattern(o, 0),
    "signs": lambda o, y, k: pattern(o, k),
}


def pattern(output: Tensor, k: int) -> Tensor:
    """The random signs of a draw, for every row."""
    return signs("output", np.array([k]), output[0].numel()).reshape(1, *output.shape[1:]).expand_as(output)


@dataclass(frozen=True)
class Row:
    """A way to make the kernel.

    Attributes:
        name: What the table calls it.
        readout: What is differentiated.
        draws: How many draws.
        share: own draws, shared ones, shared timesteps with noise of one's own, or shared antithetic pairs.
        keep: The draws' gradients are added up, added up with signs that keep them apart, or their kernels are.
        models: Weights that are averaged over: reference models, or checkpoints of the first.
        after: What is done with the scores.
        layers: Whether each layer has a kernel and a damping of its own, of which the mean is taken.
    """

    name: str
    readout: str
    draws: int
    share: str = "shared"
    keep: str = "apart"
    models: tuple[str, ...] = ("0",)
    after: str = ""
    layers: bool = True


ROWS = (
    Row("TRAK: gradient of the loss, own draws", "loss", 64, "own", "sum", layers=False),
    Row("D-TRAK: squared norm of the output, own draws", "squared norm", 64, "own", "sum", layers=False),
    Row("mean of the output, own draws (as in DAS)", "mean", 64, "own", "sum", layers=False),
    Row("loss, shared draws", "loss", 16, "shared", "sum", layers=False),
    Row("squared norm, shared draws", "squared norm", 16, "shared", "sum", layers=False),
    Row("mean, shared draws", "mean", 16, "shared", "sum", layers=False),
    Row("one random pattern of the output", "one pattern", 16, "shared", "sum", layers=False),
    Row("a pattern for each draw, added up", "signs", 16, "shared", "sum", layers=False),
    Row("a pattern for each draw, a kernel for each draw", "signs", 16, "shared", "kernels", layers=False),
    Row("the same with shared timesteps, own noise", "signs", 16, "timesteps", "kernels", layers=False),
    Row("the same with the loss in place of patterns", "loss", 16, "shared", "kernels", layers=False),
    Row("a pattern for each draw, kept apart by signs", "signs", 16, layers=False),
    Row("the same", "signs", 64, layers=False),
    Row("tangent: the same, with a kernel and a damping for each layer", "signs", 16),
    Row("tangent", "signs", 64),
    Row("tangent, antithetic pairs", "signs", 16, "antithetic"),
    Row("tangent, times √loss / (1 - leverage) (as in DAS)", "signs", 16, after="residuals"),
    Row("tangent, shrunk by one standard deviation of the query's scores", "signs", 16, after="shrunk"),
    Row("tangent, mean over 4 checkpoints", "signs", 16, models=("c0", "c1", "c2", "c3")),
    Row("tangent, mean over 2 trainings", "signs", 16, models=("0", "1")),
    Row("tangent, mean over 4 trainings", "signs", 16, models=("0", "1", "2", "3")),
)


def main() -> None:
    """Measure and print; writes ablation.json for the leaderboard."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bank", default="digits")
    parser.add_argument("--out", type=Path, default=RUNS / "ablation.json")
    asked = parser.parse_args()
    bank, start, rows, notes = Bank.open(asked.bank), time.perf_counter(), {}, []
    print("| way | draws | damping | plain | squared | core-seconds |\n|---|---|---|---|---|---|")
    for row in ROWS:
        damping, plain, squared, seconds = measured(bank, row)
        name = f"{row.name}, {row.draws} draws"
        rows[name] = {column: figure(value) for column, value in zip(COLUMNS, (plain, squared, seconds), strict=True)}
        print(f"| {row.name} | {row.draws} | {damping:g} | {plain:.3f} | {squared:.3f} | {seconds:.0f} |", flush=True)
    count = int(bank.development.sum())
    notes.append(
        f"On {len(bank.pool('development').kept)} development subsets of one training seed and {count} development "
        "queries; each row at the damping that is best for its plain score. Seconds of one core, for the gradients."
    )
    section = {"section": "ablation", "seconds": time.perf_counter() - start, "rows": rows, "notes": notes}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(section, indent=1))


COLUMNS = ("plain", "squared", "seconds")


def figure(value: float) -> dict[str, float | None]:
    """A figure without interval, as the leaderboard keeps them."""
    return {"value": value, "low": None, "high": None, "chance": None, "ceiling": None}


def measured(bank: Bank, row: Row) -> tuple[float, float, float, float]:
    """Damping, plain and squared LDS at it, and core-seconds."""
    start = time.process_time()
    with one_thread():
        kernels = [kernel(bank, weights, row) for weights in row.models]
    seconds = time.process_time() - start
    found = []
    for damping in DAMPINGS:
        scores = np.mean([finished(own, losses, damping, row.after) for own, losses in kernels], 0)
        found.append((development_lds(bank, scores, Form.PLAIN), damping, scores))
    plain, damping, scores = max(found, key=lambda one: one[0])
    return damping, plain, development_lds(bank, scores, Form.SIGNED_SQUARES), seconds


def development_lds(bank: Bank, scores: np.ndarray, form: Form) -> float:
    """Mean of held-out and drawn queries, on development subsets and queries."""
    pool, use = bank.pool("development"), bank.development
    own = lds(pool.kept, scores[use], pool.mean[:, use], form)
    return float(np.mean([own[bank.drawn[use] == drawn].mean() for drawn in (False, True)]))


def kernel(bank: Bank, weights: str, row: Row) -> tuple[list[Tensor], Tensor]:
    """Kernels of examples and queries [N + Q, N + Q], one or one per layer, and mean losses of the examples [N]."""
    model, collector = opened(bank, weights)
    x = torch.cat([bank.data.images(range(len(bank.data))), bank.queries_data.images(range(len(bank.queries)))])
    ids = [*(f"example {name}" for name in bank.examples), *(f"query {name}" for name in bank.queries)]
    own = Draws(1, model.process.timesteps)
    shared = Draws(2, model.process.timesteps, shared=True, antithetic=row.share == "antithetic")
    total, apart, losses = torch.zeros(len(x), collector.maps.width), torch.zeros(len(x), len(x)), torch.zeros(len(x))
    for k in range(row.draws):
        t, noise = (own if row.share == "own" else shared)(ids, [k] * len(x), x.shape[1:])
        noise = own(ids, [k] * len(x), x.shape[1:])[1] if row.share == "timesteps" else noise
        parts = []
        for rows in torch.arange(len(x)).split(256):
            target = model.process.target(x[rows], t[rows], noise[rows])

            def cotangent(output: Tensor, rows: Tensor = rows, target: Tensor = target, k: int = k) -> Tensor:
                losses[rows] += (output - target).square().flatten(1).mean(1) / row.draws
                return READOUTS[row.readout](output, target, k) / output[0].numel()

            parts += collector(model.process.noised(x[rows], t[rows], noise[rows]), t[rows], [cotangent])
        features = torch.cat(parts)
        if row.keep == "kernels":
            apart += features @ features.T
        else:
            total += features * signs("draw", np.array([k]), features.shape[1]) if row.keep == "apart" else features
    if row.keep == "kernels":
        return [apart.double()], losses[: len(bank.data)]
    places = [place for _, place in collector.maps.by_layer.values()] if row.layers else [slice(None)]
    return [total[:, place].double() @ total[:, place].double().T for place in places], losses[: len(bank.data)]


def opened(bank: Bank, weights: str) -> tuple:
    """A reference model or a checkpoint of the first, and the collector of its gradients."""
    files = sorted((bank.models[0] / "checkpoints").glob("*.safetensors"))
    at = (
        Checkpoint(bank.models[0], files[int(weights[1])])
        if weights[0] == "c"
        else Checkpoint(bank.models[int(weights)])
    )
    return make_gradient_spec(RUNS / "features", at, Examples.of(bank.data), Compression()).open()


def finished(kernels: list[Tensor], losses: Tensor, damping: float, after: str) -> np.ndarray:
    """Scores [Q, N] from kernels."""
    count, total = len(losses), 0.0
    for own in kernels:
        examples, asked = own[:count, :count], own[count:, :count]
        damped = examples + damping * examples.trace() / count * torch.eye(count, dtype=own.dtype)
        scores = torch.linalg.solve(damped, asked.T).T
        if after == "residuals":
            scores = scores * losses.double().sqrt() / (1 - torch.linalg.solve(damped, examples).diagonal())
        total = total + scores / len(kernels)
    if after == "shrunk":
        total = total.sign() * (total.abs() - total.std(1, keepdim=True)).clamp_min(0)
    return np.asarray(total)


if __name__ == "__main__":
    main()
