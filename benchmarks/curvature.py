"""Curvature and EK-FAC influence against two other implementations: factors of curvlinops, scores of kronfluence.

Neither is a dependency: `pip install kronfluence curvlinops-for-pytorch` in an environment of its own beside Whence. A
small UNet2DModel is trained on digits; linear layers and convolutions alone are compared, since the others know no
more. All use the same rows (example, timestep, noise, sampled target), the same draws of scores, and the damping 0.1
times the mean eigenvalue of a layer. Positions count as independent ("expand"); the bias is one more input.

* Factors: the largest difference in a layer's A and S, relative to its norm, against curvlinops in float64 with the
  same sampled targets; and how far S is from that of exact expectations over the targets (type 2).
* Eigenvalues and scores: against kronfluence, whose scores of single draws are averaged, since gradients are.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from curvlinops import FisherType, KFACLinearOperator
from figures import write_figures
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from scipy.stats import spearmanr
from torch import Tensor, nn

import whence
from whence import artefacts
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.influence_store import curvature_job
from whence.attribution.methods import METHODS
from whence.attribution.request import AttributionRequest
from whence.diffusion.denoiser import denoise
from whence.diffusion.examples import Examples
from whence.diffusion.philox import keys, normals
from whence.engine import Engine
from whence.gradients.make_curvature import EIGENVALUES, sum_block
from whence.gradients.make_features import FeatureJob
from whence.seeds import derived_seed

EXAMPLES, QUERIES, DRAWS, ROWS, STEPS = 48, 8, 8, 768, 300


class Rows(torch.utils.data.Dataset):
    """(x_t, t, target, ξ) of rows; ξ is the noise of the sampled target."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        return tuple(tensor[row] for tensor in self.tensors)


class Denoising(Task):
    """The denoising loss, summed over the rows of a batch; its sampled targets are o - √(D/2) ξ."""

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        """Σ ‖o - y‖²/D."""
        x_t, t, target, noise = batch
        output = denoise(model, x_t, t)
        if sample:
            target = output.detach() - (output[0].numel() / 2) ** 0.5 * noise
        return (output - target).square().flatten(1).mean(1).sum()

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        """The loss of the queries."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """The layers that are compared."""
        return self.layers


class Flat(nn.Module):
    """A denoiser with one argument and flat outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """The output, [n, D]."""
        return denoise(self.network, inputs["x"], inputs["t"]).flatten(1)


def rows_of(model: whence.DiffusionModel, source: Any, examples: Examples, draws: int, stage: str = "") -> Rows:
    """All draws of all examples, draw by draw."""
    count, size = len(examples), examples.size
    row, index = np.tile(np.arange(count), draws), np.repeat(np.arange(draws), count)
    ids = [examples.ids[n] for n in row]
    x, (t, noise) = examples.x(row), source(ids, index, size)
    xi = normals(keys("target", derived_seed(0, f"targets of {stage}"), ids), index, size)
    return Rows(model.process.noised(x, t, noise), t, model.process.target(x, t, noise), xi)


def setting(folder: Path) -> tuple[FeaturePlan, FeatureStore, Engine]:
    """A trained network, and everything that EK-FAC makes of it."""
    data, engine = whence.load("digits").select(range(EXAMPLES)), Engine(1)
    config = whence.Config().updated("model", channels=(8, 16), groups=4)
    whence.train(data, folder / "run", config.updated("training", steps=STEPS, batch_size=16))
    model = whence.DiffusionModel.load(folder / "run")
    names = [name for name, layer in model.network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    held_out = whence.load("digits:test").select(range(QUERIES))
    settings = whence.AttributionConfig(draws=DRAWS, curvature_rows=ROWS)
    pattern = f"^({'|'.join(map(re.escape, names))})$"
    request = AttributionRequest.of(folder / "run", data, held_out, ["ek-fac", "k-fac"], settings, pattern)
    plan, store = FeaturePlan.of(request), FeatureStore(folder / "features")
    store.extend(plan, engine=engine)
    return plan, store, engine


def factors(job: Any, engine: Engine, folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and S of every layer, of Whence."""
    file = folder / "factors.safetensors"
    sum_block(job, "factors", range(ROWS), file, engine)
    sums = artefacts.read_tensors(file)
    names = [name.removesuffix(" inputs") for name in sums if name.endswith(" inputs")]
    return {n: (sums[f"{n} inputs"] / sums[f"{n} positions"], sums[f"{n} outputs"] / ROWS) for n in names}


def curvlinops_factors(
    network: nn.Module, rows: Rows, layers: list[str], kind: Any
) -> dict[str, tuple[Tensor, Tensor]]:
    """A and S of every layer, of curvlinops in float64."""
    flat = Flat(network.double())
    x, t, _, xi = rows.tensors
    with torch.no_grad():
        inputs = {"x": x.double(), "t": t}
        target = flat(inputs) - 0.5**0.5 * xi.double().flatten(1)
    chosen = [p for name in layers for p in network.get_submodule(name).parameters()]
    operator = KFACLinearOperator(
        flat.eval(),
        nn.MSELoss(reduction="mean"),
        chosen,
        [(inputs, target)],
        fisher_type=kind,
        separate_weight_and_bias=False,
        check_deterministic=False,
        batch_size_fn=lambda one: len(one["x"]),
    )
    operator.compute_kronecker_factors()
    found = operator._input_covariances, operator._gradient_covariances
    network.float()
    return {name: (found[0][f"network.{name}"], found[1][f"network.{name}"]) for name in layers}


def kronfluence_scores(network: nn.Module, rows: dict[str, Rows], layers: list[str], folder: Path) -> Any:
    """Eigenvalues by layer, and scores of queries' draws and examples' draws [Q·T, N·T]."""
    task = Denoising(layers)
    analyzer = Analyzer(
        "digits", prepare_model(network, task), task, cpu=True, output_dir=str(folder), disable_tqdm=True
    )
    arguments = FactorArguments(strategy="ekfac")
    shared: dict[str, Any] = {"factors_name": "ekfac", "factor_args": arguments}
    analyzer.fit_covariance_matrices(dataset=rows["factors"], per_device_batch_size=64, **shared)
    analyzer.perform_eigendecomposition(**shared)
    analyzer.fit_lambda_matrices(dataset=rows["eigenvalues"], per_device_batch_size=64, **shared)
    analyzer.compute_pairwise_scores(
        "scores",
        "ekfac",
        rows["queries"],
        rows["examples"],
        per_device_query_batch_size=64,
        per_device_train_batch_size=64,
        score_args=ScoreArguments(damping_factor=None),
    )
    return analyzer.load_lambda_matrices("ekfac"), analyzer.load_pairwise_scores("scores")["all_modules"]


def largest_difference(left: Any, right: Any, sides: tuple[int, ...] = (0, 1)) -> float:
    """The largest difference of a factor, relative to its norm."""
    pairs: Iterator[tuple[Tensor, Tensor]] = (
        (left[n][side].double(), right[n][side].double()) for n in left for side in sides
    )
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


def compare(folder: Path) -> dict[str, float]:
    """Return the differences."""
    plan, store, engine = setting(folder)
    term, model = plan.curved.terms[METHODS["ek-fac"]][0], plan.request.target.model
    job = store.influence.job(plan.curved, term)
    whole = store.influence.folder.job(plan.curved, term.examples, [METHODS["ek-fac"].feature], False, engine)
    curvature = curvature_job(plan.curved, whole)
    ours, layers = factors(curvature, engine, folder), list(curvature.spec.open(engine)[1].cover.layers)
    sets = {"examples": job.examples, "queries": job.queries}
    rows = {name: rows_of(model, one.source, Examples.read(one.examples), DRAWS) for name, one in sets.items()}
    examples = Examples.read(curvature.examples)
    rows |= {name: rows_of(model, source, examples, ROWS // EXAMPLES, name) for name, source in curvature.draws.items()}
    sampled = curvlinops_factors(model.network, rows["factors"], layers, FisherType.EMPIRICAL)
    exact = curvlinops_factors(model.network, rows["factors"], layers, FisherType.TYPE2)
    values, scores = kronfluence_scores(model.network, rows, layers, folder / "kronfluence")
    sizes = [len(s) * len(a) for a, s in (ours[name] for name in layers)]
    split = torch.split(artefacts.read_tensors(job.curvature.path / EIGENVALUES)["ek-fac"], sizes)
    found = compute_scores(plan, store, errors=False)["ek-fac"].scores.double()
    means = scores.double().reshape(DRAWS, QUERIES, DRAWS, EXAMPLES).mean((0, 2)) / EXAMPLES
    means = means[term_order(job.queries, plan.request.queries.ids)][
        :, term_order(job.examples, plan.request.examples.ids)
    ]
    return {
        "layers": len(layers),
        "factors": largest_difference(ours, sampled),
        "sampling": largest_difference(ours, exact, (1,)),
        "mean eigenvalues": max(
            abs(
                float(
                    own.mean() / (values["lambda_matrix"][n].double().mean() / values["num_lambda_processed"][n].item())
                )
                - 1
            )
            for n, own in zip(layers, split, strict=True)
        ),
        "difference of scores": float((found - means).norm() / means.norm()),
        "rank correlation": min(float(spearmanr(a, b).statistic) for a, b in zip(found, means, strict=True)),
    }


def term_order(job: FeatureJob, ids: tuple[str, ...]) -> list[int]:
    """The places of ids in the order in which rows are."""
    place = {name: n for n, name in enumerate(Examples.read(job.examples).ids)}
    return [place[name] for name in ids]


def main() -> None:
    """Compare, print and write the figures."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = compare(Path(scratch))
    for name, value in figures.items():
        print(f"{name}: {value:.6g}")
    write_figures("curvature", figures)


if __name__ == "__main__":
    main()
