"""Making the losses of all ablations together, for one of the two ways to combine members."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from whence import artefacts
from whence.config_errors import require_whole
from whence.diffusion.examples import Examples
from whence.diffusion.focus import Focus
from whence.engine import DEFAULT, Engine
from whence.ensemble.drawing import Combine, require_adapters
from whence.ensemble.loss_draws import losses_batch
from whence.ensemble.losses import Losses
from whence.ensemble.make_gram import write_grams
from whence.ensemble.make_weight_losses import write_weight_losses
from whence.ensemble.model import Ensemble
from whence.ensemble.weight_losses import WeightSets
from whence.errors import ConfigError, DataError
from whence.images import named_pictures, to_tensor

#: How far the values of pictures that were drawn without clipping may lie outside of [-1, 1].
UNCLIPPED = 0.5


def losses(
    ensemble: Ensemble,
    pictures: Tensor | Examples,
    names: Sequence[str] = (),
    *,
    draws: int = 100,
    seed: int = 0,
    combine: Combine = "predictions",
    together: Sequence[str] = (),
    engine: Engine = DEFAULT,
) -> Losses:
    """Return the exact losses of the full ensemble, of every ablation and of any group of units, on pictures.

    The pictures are drawn by the ensemble or not, float32 [Q, C, H, W] in [-1, 1], with a name each; or they are the
    examples that `read_queries` returns, with latents and captions for members that take text. A draw (timestep, noise)
    depends on the name, the seed and its index alone. What is there already is not measured again. The report is called
    with (network evaluations done, evaluations in all).

    Examples with a mask (`whence.attribution.query_focus.focused`) have the losses of their region, the mean over all
    elements of the mask times the squared error: those of masks that add up to 1 add up to the loss of the picture.

    The losses are those of what the members predict without guidance, on average. With `combine` ``weights`` they are
    those of one network, the base with the mean of the members' ΔW: of all members, without each unit, and without as
    many placebos as it takes to name one of all units (from 200 to 1,000, as in landscapes). Each of these takes one
    evaluation of the base per draw. Then units that are left out `together` are measured alone, against as many words
    together; by predictions the loss without any group follows, and `together` changes nothing.

    Raises:
        DataError: The pictures have another size than the training images, are no floats in [-1, 1], or names repeat;
            or members take text, and the pictures have no captions.
        ConfigError: There are no draws, or a name is no text; or the weights of whole networks are to be combined, or
            the codebook has no word for a placebo.
        NoSurvivorsError: Every member saw one of the units that are left out together.
        NotFiniteError: A loss is not finite.
    """
    queries = check_queries(ensemble, pictures, names, draws)
    draws, seed, names = int(draws), require_whole(seed, "--seed"), list(queries.ids)
    inputs = {"ensemble": ensemble.manifest.fingerprint, "queries": _fingerprint(queries)}
    made: dict[str, Any] = {"draws": draws, "seed": seed, "batch": losses_batch(ensemble), "count": len(names)}
    sets = measured_sets(ensemble, combine, together)
    if sets is not None:
        group = ensemble.codebook.in_order(together) if together else []
        made |= {"combine": combine, "together": group, "placebos": len(sets.placebos)}
    path = ensemble.path / "losses" / artefacts.digest([inputs, made])[:12]

    def build(part: Path) -> None:
        if _has_files(queries):
            queries.write(part / "queries")
        else:
            artefacts.write_tensors(part / "queries.safetensors", {"pictures": queries.tensor.float()})
        artefacts.write_table(part / "queries.parquet", {"id": names})
        if sets is None:
            write_grams(ensemble, part, made, engine)
        else:
            write_weight_losses(ensemble, part, made, sets.members, engine)

    artefacts.ensure(path, "losses", inputs=inputs, made=made, build=build)
    engine.report(1, 1)
    return Losses.open(path, ensemble.codebook)


def measured_sets(ensemble: Ensemble, combine: Combine, together: Sequence[str] = ()) -> WeightSets | None:
    """Return the sets of members that `losses` measures one by one; None by predictions, where every set follows.

    Raises:
        ConfigError: The weights of whole networks are to be combined, or the codebook has no word for a placebo.
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units.
    """
    if combine == "predictions":
        return None
    require_adapters(ensemble.base is not None)
    return WeightSets.of(ensemble.codebook, ensemble.codebook.in_order(together) if together else [])


def check_queries(ensemble: Ensemble, pictures: Tensor | Examples, names: Sequence[str], draws: int) -> Examples:
    """Check the arguments of `losses`.

    Returns:
        The pictures as what the members denoise.

    Raises:
        ConfigError: There are no draws, a name is no text, or a concept is to be explained.
        DataError: There are no pictures, they have another size than the training images, are no floats or have values
            far outside of [-1, 1], or names repeat; or members take text, and the pictures have no captions.
    """
    require_whole(draws, "--draws", least=1)
    if isinstance(pictures, Examples):
        _require_no_concept(pictures.focus)
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
    focus = pictures.focus if isinstance(pictures, Examples) else None
    return queries if takes_text else Examples(tuple(names), given, focus=focus)


def _require_no_concept(focus: Focus | None) -> None:
    """Refuse a prompt without a concept, by which no loss is measured; a `ConfigError`."""
    if focus is not None and focus.without:
        raise ConfigError(
            "A concept is to be explained, and exact losses are those of pictures by their own prompts, or of regions "
            "of them. Leave the prompt without the concept out."
        )


def _has_files(queries: Examples) -> bool:
    """Whether pictures are written as examples, with conditions or a mask; others are one tensor."""
    return bool(queries.conditions) or queries.focus is not None


def _fingerprint(queries: Examples) -> str:
    if _has_files(queries):
        return queries.fingerprint
    pixels = artefacts.digest(queries.tensor.float().contiguous().numpy().tobytes())
    return artefacts.digest([list(queries.ids), pixels])
