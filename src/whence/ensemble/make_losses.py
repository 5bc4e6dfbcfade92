"""Measuring the losses of all ablations together: M forward passes for each draw and picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.config_errors import require_whole
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Task
from whence.ensemble.gram import draw_groups
from whence.ensemble.losses import Losses, read_measured
from whence.ensemble.members import Members, pairs_of
from whence.ensemble.model import Ensemble
from whence.errors import DataError, NotFiniteError
from whence.images import named_pictures, to_tensor
from whence.seeds import derived_seed

#: Canonical batch of (picture, draw) pairs. The last bits of a result depend on it.
BATCH = 128
#: Positions of latents in a canonical batch.
VALUES = 2**13
#: Pictures in one task.
BLOCK = 16
#: How far the values of pictures that were drawn without clipping may lie outside of [-1, 1].
UNCLIPPED = 0.5


def losses(
    ensemble: Ensemble,
    pictures: Tensor | Examples,
    names: Sequence[str] = (),
    *,
    draws: int = 100,
    seed: int = 0,
    engine: Engine = DEFAULT,
) -> Losses:
    """Return the exact losses of the full ensemble, of every ablation and of any group of units, on pictures.

    The pictures are drawn by the ensemble or not, float32 [Q, C, H, W] in [-1, 1], with a name each; or they are the
    examples that `read_queries` returns, with latents and captions for members that take text. A draw (timestep, noise)
    depends on the name, the seed and its index alone. What is there already is not measured again. The report is called
    with (network evaluations done, evaluations in all).

    The losses are those of the mean of the members' predictions, without guidance.

    Raises:
        DataError: The pictures have another size than the training images, are no floats in [-1, 1], or names repeat;
            or members take text, and the pictures have no captions.
        ConfigError: There are no draws, or a name is no text.
        NotFiniteError: A loss is not finite.
    """
    queries = check_queries(ensemble, pictures, names, draws)
    draws, seed, names = int(draws), require_whole(seed, "--seed"), list(queries.ids)
    inputs = {"ensemble": ensemble.manifest.fingerprint, "queries": _fingerprint(queries)}
    made = {"draws": draws, "seed": seed, "batch": losses_batch(ensemble), "count": len(names)}
    path = ensemble.path / "losses" / artefacts.digest([inputs, made])[:12]

    def build(part: Path) -> None:
        if queries.conditions:
            queries.write(part / "queries")
        else:
            artefacts.write_tensors(part / "queries.safetensors", {"pictures": queries.tensor.float()})
        artefacts.write_table(part / "queries.parquet", {"id": names})
        files = [part / artefacts.RESUME / f"{k:05d}.safetensors" for k in range(-(-len(names) // BLOCK))]
        tasks = [_task(ensemble, part, k, file, made) for k, file in enumerate(files)]
        engine.run(tasks)
        grams = torch.cat([artefacts.read_tensors(file)["grams"] for file in files])
        artefacts.write_tensors(part / "grams.safetensors", {"grams": grams})

    artefacts.ensure(path, "losses", inputs=inputs, made=made, build=build)
    engine.report(1, 1)
    return Losses.open(path, ensemble.codebook)


def check_queries(ensemble: Ensemble, pictures: Tensor | Examples, names: Sequence[str], draws: int) -> Examples:
    """Check the arguments of `losses`.

    Returns:
        The pictures as what the members denoise.

    Raises:
        ConfigError: There are no draws, or a name is no text.
        DataError: There are no pictures, they have another size than the training images, are no floats or have values
            far outside of [-1, 1], or names repeat; or members take text, and the pictures have no captions.
    """
    require_whole(draws, "--draws", least=1)
    size, takes_text = ensemble.reference_model.size, ensemble.base is not None
    if isinstance(pictures, Examples) and takes_text:
        queries, given = pictures, pictures.tensor
    else:
        values, names = (pictures.tensor, pictures.ids) if isinstance(pictures, Examples) else (pictures, names)
        given = named_pictures(to_tensor(values), names, UNCLIPPED)
    if takes_text and not (isinstance(pictures, Examples) and pictures.conditions):
        raise DataError(
            "The members take text and latents: give the examples that read_queries(ensemble, ...) returns, with "
            "captions, in place of pictures."
        )
    if tuple(given.shape[1:]) != size or not len(given):
        raise DataError(
            f"{len(given)} pictures of size {tuple(given.shape[1:])} were given, at least one of {size} (C, H, W) was "
            "expected, like the training images."
        )
    return queries if takes_text else Examples(tuple(names), given)


def losses_batch(ensemble: Ensemble) -> int:
    """Return the rows of a canonical batch of losses: fewer of larger latents."""
    if ensemble.base is None:
        return BATCH
    return max(4, min(BATCH, VALUES // math.prod(ensemble.reference_model.size[1:])))


def _fingerprint(queries: Examples) -> str:
    if queries.conditions:
        return queries.fingerprint
    pixels = artefacts.digest(queries.tensor.float().contiguous().numpy().tobytes())
    return artefacts.digest([list(queries.ids), pixels])


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
        examples = read_measured(folder).block(range(first, first + len(names)))
        source = ensemble.reference_model.process.draws(derived_seed(seed, "losses"))
        grams = gram_matrices(
            ensemble.reference_model,
            ensemble.open_members(engine=engine),
            examples,
            source,
            draws,
            batch=losses_batch(ensemble),
            engine=engine,
        )
        artefacts.write_tensors(Path(file), {"grams": grams})
    done = len(names) * draws * artefacts.read_tensors(Path(file))["grams"].shape[-1]
    engine.report(done, done)


@torch.inference_mode()
def gram_matrices(
    model: DiffusionModel,
    members: Members,
    queries: Examples,
    draws: Draws,
    count: int,
    batch: int = BATCH,
    engine: Engine = DEFAULT,
) -> Tensor:
    """Return the mean Gram matrices of the members' residuals by picture and group of draws, float64 [Q, G, M, M].

    R[q, g, m, m'] = mean over the draws of group g of ⟨r_m, r_m'⟩ / D. The report counts network evaluations.

    Raises:
        NotFiniteError: A residual is not finite.
    """
    numbers, groups, names = members.numbers, draw_groups(count), queries.ids
    total = torch.zeros(len(queries), int(groups.max()) + 1, len(numbers), len(numbers), dtype=torch.float64)
    pairs = list(product(range(len(queries)), range(count)))
    for start in range(0, len(pairs), batch):
        few = pairs[start : start + batch]
        q, k = (torch.tensor(side) for side in zip(*few, *[few[0]] * (batch - len(few)), strict=True))
        t, noise = draws([names[row] for row in q], k.numpy(), model.size)
        x = queries.x(q)
        target = model.process.target(x, t, noise)
        x_t, t = model.process.noised(x, t, noise).to(engine.device), t.to(engine.device)
        residuals = (_outputs(members, x_t, t, queries.conditions_of(q)) - target).double()
        residuals = residuals.flatten(2)[:, : len(few)].transpose(0, 1)
        grams = residuals @ residuals.transpose(1, 2) / math.prod(model.size)
        for (row, draw), gram in zip(few, grams, strict=True):
            if not torch.isfinite(gram).all():
                raise NotFiniteError(f"The loss of picture {names[row]!r} is not finite at draw {draw}.")
        total.index_put_((q[: len(few)], groups[k[: len(few)]]), grams, accumulate=True)
        engine.report((start + len(few)) * len(numbers), len(pairs) * len(numbers))
    return total / torch.bincount(groups).double()[None, :, None, None]


def _outputs(members: Members, x_t: Tensor, t: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
    """The outputs of every member for every row, float32 [M, n, ...]."""
    outputs = torch.zeros(len(members.numbers), *x_t.shape)
    for m, rows, output in members.outputs(pairs_of([members.numbers] * len(x_t)), x_t, t, len(x_t), conditions):
        outputs[[members.numbers.index(member) for member in m.tolist()], rows] = output.cpu()
    return outputs
