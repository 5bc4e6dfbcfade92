"""Measuring the losses of all ablations together: M forward passes for each draw and picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.config import require_whole
from whence.diffusion.denoiser import NO_CONDITIONS
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Task
from whence.ensemble.losses import Losses, draw_groups
from whence.ensemble.model import Ensemble, Members
from whence.errors import DataError, NotFiniteError
from whence.images import named_pictures, to_tensor
from whence.seeds import derived_seed

#: Canonical batch of (picture, draw) pairs. The last bits of a result depend on it.
BATCH = 128
#: Pictures in one task.
BLOCK = 16
#: How far the values of pictures that were drawn without clipping may lie outside of [-1, 1].
UNCLIPPED = 0.5


def losses(
    ensemble: Ensemble,
    pictures: Tensor,
    names: Sequence[str],
    *,
    draws: int = 100,
    seed: int = 0,
    engine: Engine = DEFAULT,
) -> Losses:
    """Return the exact losses of the full ensemble, of every ablation and of any group of units, on pictures.

    The pictures are drawn by the ensemble or not, float32 [Q, C, H, W] in [-1, 1], with a name each. A draw (timestep,
    noise) depends on the name, the seed and its index alone. What is there already is not measured again. The report is
    called with (network evaluations done, evaluations in all).

    Raises:
        DataError: The pictures have another size than the training images, are no floats in [-1, 1], or names repeat.
        ConfigError: There are no draws, or a name is no text.
        NotFiniteError: A loss is not finite.
    """
    pictures = to_tensor(pictures)
    check_queries(ensemble, pictures, names, draws)
    draws, seed = int(draws), require_whole(seed, "--seed")
    queries = artefacts.digest([list(names), artefacts.digest(pictures.float().contiguous().numpy().tobytes())])
    inputs = {"ensemble": ensemble.manifest.fingerprint, "queries": queries}
    made = {"draws": draws, "seed": seed, "batch": BATCH, "count": len(names)}
    path = ensemble.path / "losses" / artefacts.digest([inputs, made])[:12]

    def build(part: Path) -> None:
        artefacts.write_tensors(part / "queries.safetensors", {"pictures": pictures.float()})
        artefacts.write_table(part / "queries.parquet", {"id": list(names)})
        files = [part / artefacts.RESUME / f"{k:05d}.safetensors" for k in range(-(-len(names) // BLOCK))]
        tasks = [_task(ensemble, part, k, file, made) for k, file in enumerate(files)]
        engine.run(tasks)
        grams = torch.cat([artefacts.read_tensors(file)["grams"] for file in files])
        artefacts.write_tensors(part / "grams.safetensors", {"grams": grams})

    artefacts.ensure(path, "losses", inputs=inputs, made=made, build=build)
    engine.report(1, 1)
    return Losses.open(path, ensemble.codebook)


def check_queries(ensemble: Ensemble, pictures: Tensor, names: Sequence[str], draws: int) -> None:
    """Check the arguments of `losses`.

    Raises:
        ConfigError: There are no draws, or a name is no text.
        DataError: There are no pictures, they have another size than the training images, are no floats or have values
            far outside of [-1, 1], or names repeat.
    """
    require_whole(draws, "--draws", least=1)
    size, given = ensemble.reference_model.size, named_pictures(pictures, names, UNCLIPPED)
    if tuple(given.shape[1:]) != size or not len(given):
        raise DataError(
            f"{len(given)} pictures of size {tuple(given.shape[1:])} were given, at least one of {size} (C, H, W) was "
            "expected, like the training images."
        )


def _task(ensemble: Ensemble, part: Path, block: int, file: Path, made: dict[str, int]) -> Task:
    count = min(BLOCK, made["count"] - block * BLOCK)
    arguments = {
        "path": str(ensemble.path),
        "fingerprint": ensemble.manifest.fingerprint,
        "queries": str(part),
        "first": block * BLOCK,
        "draws": made["draws"],
        "seed": made["seed"],
        "file": str(file),
    }
    return Task(f"losses {block}", measure, arguments, count * made["draws"] * ensemble.codebook.members)


def measure(
    path: str, fingerprint: str, queries: str, first: int, draws: int, seed: int, file: str, engine: Engine
) -> None:
    """Measure the Gram matrices of a block of pictures and write them; a task for the engine."""
    folder = Path(queries)
    names = artefacts.read_table(folder / "queries.parquet")["id"][first : first + BLOCK]
    if not Path(file).exists():
        ensemble = Ensemble.open_unchanged(path, fingerprint)
        x = artefacts.read_tensors(folder / "queries.safetensors")["pictures"][first : first + BLOCK]
        model = ensemble.reference_model
        source = model.process.draws(derived_seed(seed, "losses"))
        grams = gram_matrices(model, ensemble.open_members(engine=engine), x, names, source, draws, engine=engine)
        artefacts.write_tensors(Path(file), {"grams": grams})
    done = len(names) * draws * artefacts.read_tensors(Path(file))["grams"].shape[-1]
    engine.report(done, done)


@torch.inference_mode()
def gram_matrices(
    model: DiffusionModel,
    members: Members,
    x: Tensor,
    names: Sequence[str],
    draws: Draws,
    count: int,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
    engine: Engine = DEFAULT,
) -> Tensor:
    """Return the mean Gram matrices of the members' residuals by picture and group of draws, float64 [Q, G, M, M].

    R[q, g, m, m'] = mean over the draws of group g of ⟨r_m, r_m'⟩ / D. The report counts network evaluations.

    Raises:
        NotFiniteError: A residual is not finite.
    """
    numbers, groups = sorted(members.networks), draw_groups(count)
    total = torch.zeros(len(x), int(groups.max()) + 1, len(numbers), len(numbers), dtype=torch.float64)
    pairs = list(product(range(len(x)), range(count)))
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        q, k = (torch.tensor(side) for side in zip(*batch, *[batch[0]] * (BATCH - len(batch)), strict=True))
        t, noise = draws([names[row] for row in q], k.numpy(), model.size)
        target, place = model.process.target(x[q], t, noise), engine.device
        x_t, t = model.process.noised(x[q], t, noise).to(place), t.to(place)
        rows = {name: tensor[q].to(place) for name, tensor in conditions.items()}
        outputs = [members.predict(m, x_t, t, BATCH, rows).cpu() for m in numbers]
        residuals = torch.stack([(output - target).double().flatten(1)[: len(batch)] for output in outputs], 1)
        grams = residuals @ residuals.transpose(1, 2) / math.prod(model.size)
        for (row, draw), gram in zip(batch, grams, strict=True):
            if not torch.isfinite(gram).all():
                raise NotFiniteError(f"The loss of picture {names[row]!r} is not finite at draw {draw}.")
        total.index_put_((q[: len(batch)], groups[k[: len(batch)]]), grams, accumulate=True)
        engine.report((start + len(batch)) * len(numbers), len(pairs) * len(numbers))
    return total / torch.bincount(groups).double()[None, :, None, None]
