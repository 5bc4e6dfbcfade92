"""Regions and concepts: what is explained of a query is a part of its readout."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from whence import AttributionConfig
from whence.attribution.attribute import attribute
from whence.attribution.query_focus import focused, read_mask
from whence.attribution.request import AttributionRequest
from whence.attribution.target import Target
from whence.config import ModelConfig
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.focus import Focus, element_mask
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.ensemble.make_losses import check_queries
from whence.errors import ConfigError, DataError, NotFiniteError
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.features import Feature, Sums, add_draws
from whence.gradients.layers import coverage
from whence.gradients.readouts import READOUTS, outcome

LINEAR = ["tangent", "trak", "d-trak", "gradient-dot", "relative-if"]
FEW = AttributionConfig(draws=8, compression={"width": 200})
SOURCE = OwnDraws(Draws(seed=1))
LEFT = torch.zeros(1, 8, 8).index_fill(2, torch.arange(4), 1.0)
SOFT = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)


@pytest.fixture(scope="module")
def queries(few_digits) -> Examples:
    return Examples(("b", "a"), few_digits.images([3, 7]))


def within(queries: Examples, mask: torch.Tensor) -> Examples:
    return replace(queries, focus=Focus(mask.expand(len(queries), -1, -1)))


@pytest.fixture(scope="module")
def scores(model, few_digits, tmp_path_factory):
    """Scores [Q, N] of queries by a method; the features of the training images are shared."""
    store = tmp_path_factory.mktemp("focus") / "features"

    def scores_of(queries: Examples, methods: list[str]) -> dict:
        return attribute(model, few_digits, queries, methods, config=FEW, store=store, engine=Engine(1))

    return scores_of


def test_features_are_the_gradient_of_the_readout_within_the_mask(model, queries):
    """Against autograd of Σ_i m_i f_i, by the length of the gradient of one layer, uncompressed."""
    cover = coverage(model.network)
    collector = Collector(model.network, cover, maps(cover, Compression(kind="none")))
    masked = within(queries, SOFT)
    kinds = [Feature(name) for name in READOUTS]
    sums = {kind: Sums.empty(2, collector.maps.width) for kind in kinds}
    add_draws(model, collector, masked, SOURCE, range(1), sums, 4)
    layer = tuple(model.network.conv_in.parameters())
    _, place = collector.maps.by_layer["conv_in"]
    x, (t, noise) = queries.x([0, 1]), SOURCE(queries.ids, np.zeros(2, int), queries.size)
    output = model.network(model.process.noised(x, t, noise), t).sample
    of_output = outcome(model, output, x, t, noise, np.zeros(2, int))
    for kind in kinds:
        for n in range(2):
            elements = READOUTS[kind.readout].cotangent(of_output)[n] * SOFT
            gradients = torch.autograd.grad((elements.detach() * output[n]).sum(), layer, retain_graph=True)
            expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            norm = sums[kind].sums[0, n, place].norm()
            torch.testing.assert_close(norm, expected, rtol=1e-3, atol=1e-7)


def test_masks_that_partition_a_picture_add_up_to_the_whole(scores, queries):
    whole, parts = scores(queries, LINEAR), [scores(within(queries, part), LINEAR) for part in (SOFT, 1 - SOFT)]
    for name in LINEAR:
        total = sum(part[name].scores.double() for part in parts)
        largest = whole[name].scores.abs().max()
        assert (total - whole[name].scores).abs().max() < 1e-5 * largest, name


@pytest.mark.slow
def test_masks_add_up_with_curvature(scores, queries):
    whole = scores(queries, ["ek-fac"])["ek-fac"].scores
    total = sum(scores(within(queries, part), ["ek-fac"])["ek-fac"].scores for part in (LEFT, 1 - LEFT))
    assert (total - whole).abs().max() < 1e-5 * whole.abs().max()


def test_a_mask_of_ones_is_no_mask_and_one_of_zeros_explains_nothing(scores, queries):
    methods = [*LINEAR, "tangent-squared", "das-squared", "gradient-cosine"]
    whole, ones = scores(queries, methods), scores(within(queries, torch.ones(1, 8, 8)), methods)
    zeros = scores(within(queries, torch.zeros(1, 8, 8)), methods)
    for name in methods:
        assert torch.equal(whole[name].scores, ones[name].scores), name
        assert torch.equal(whole[name].standard_error, ones[name].standard_error), name
        assert not zeros[name].scores.any(), name


def test_each_query_has_its_own_mask_in_any_order(scores, queries):
    both = replace(queries, focus=Focus(torch.cat([LEFT, SOFT])))
    found = scores(both, ["trak"])["trak"]
    turned = scores(both.ordered(["a", "b"]), ["trak"])["trak"]
    assert torch.equal(found.scores, turned.scores[[1, 0]])
    alone = scores(within(queries, LEFT), ["trak"])["trak"]
    torch.testing.assert_close(found.scores[0], alone.scores[0])
    assert not torch.allclose(found.scores[1], alone.scores[1])


def test_the_focus_is_written_read_and_part_of_the_fingerprint(queries, tmp_path):
    masked = replace(
        queries,
        conditions={"label": torch.tensor([1, 2])},
        focus=Focus(torch.cat([LEFT, SOFT]), {"label": torch.tensor([3, 4])}, ("three", "four")),
    )
    masked.write(tmp_path / "set")
    read = Examples.read(tmp_path / "set")
    assert read.ids == ("a", "b")
    assert torch.equal(read.focus.mask, torch.cat([SOFT, LEFT]))
    assert read.focus.without["label"].tolist() == [4, 3]
    assert set(read.conditions) == {"label"}
    others = [replace(masked, focus=None), replace(masked, focus=Focus(torch.cat([LEFT, LEFT]), masked.focus.without))]
    assert len({masked.fingerprint, read.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_latents_get_the_mean_over_their_area():
    mask = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    found = element_mask(mask, (4, 4, 4))
    assert found.shape == (2, 4, 4)
    torch.testing.assert_close(found[1, 2, 3], mask[1, 8:12, 12:16].mean())
    torch.testing.assert_close(element_mask(1 - mask, (4, 4, 4)), 1 - found)


REFUSED = {
    "size": (lambda: Focus(torch.ones(2, 4, 8)), DataError, r"shape \(2, 4, 8\); expected .* here \(2, 8, 8\)"),
    "count": (lambda: Focus(torch.ones(1, 8, 8)), DataError, r"here \(2, 8, 8\)"),
    "empty": (lambda: Focus(torch.ones(0, 8, 8)), DataError, "none of them 0"),
    "nothing": (Focus, DataError, "neither is there"),
    "not finite": (lambda: Focus(torch.full((2, 8, 8), torch.nan)), NotFiniteError, "128 values that are not finite"),
    "pixels": (lambda: Focus(torch.full((2, 8, 8), 255)), DataError, "from 255 to 255; give 0 to 1"),
    "negative": (lambda: Focus(torch.full((2, 8, 8), -0.5)), DataError, "from -0.5 to -0.5"),
    "conditions": (lambda: Focus(without={"label": torch.ones(2)}), DataError, "Give both the same"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_a_focus_that_does_not_fit_is_refused(queries, make, error, message):
    with pytest.raises(error, match=message):
        replace(queries, focus=make())


@pytest.mark.parametrize("method", ["pixel", "journey-trak", "metagradient"])
def test_methods_of_whole_pictures_refuse_it(model, few_digits, queries, method):
    with pytest.raises(ConfigError, match=f"{method}' explains whole pictures. Leave it out"):
        AttributionRequest.of(model, few_digits, within(queries, LEFT), ["tangent", method])


def test_training_examples_have_none(model, few_digits, queries):
    with pytest.raises(ConfigError, match="only queries have one"):
        AttributionRequest.of(model, within(queries, LEFT), queries, "trak")


def test_exact_losses_have_no_concept(tiny_ensemble, queries):
    labelled = replace(queries, conditions={"class_labels": torch.tensor([0, 1])})
    pair = replace(labelled, focus=Focus(without={"class_labels": torch.tensor([1, 0])}))
    with pytest.raises(ConfigError, match="exact losses are those of pictures by their own prompts"):
        check_queries(tiny_ensemble, pair, (), draws=8)


def _png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def test_masks_in_files(model, queries, tmp_path):
    target, named = Target.open(model), replace(queries, ids=("x/1.jpg", "0/0"))
    grey, white = np.arange(64).reshape(8, 8), np.full((8, 8), 255)
    for name, pixels in (("x/1", grey), ("0/0", white)):
        _png(tmp_path / "masks" / f"{name}.png", pixels)
    found = read_mask(target, named, tmp_path / "masks")
    torch.testing.assert_close(found[0], torch.from_numpy(grey).float() / 255)
    assert torch.equal(found[1], torch.ones(8, 8))
    one = focused(target, named, tmp_path / "masks/x/1.png").focus.mask
    assert torch.equal(one[0], one[1])
    assert torch.equal(one[0], found[0])
    assert focused(target, named) is named


def test_masks_in_files_that_do_not_fit_are_refused(model, queries, tmp_path):
    target = Target.open(model)
    _png(tmp_path / "wide.png", np.full((8, 16), 255))
    _png(tmp_path / "black.png", np.zeros((8, 8)))
    _png(tmp_path / "named/a.png", np.full((8, 8), 255))
    for file, message in (
        ("wide.png", "16x8 pixels, the model's pictures 8x8"),
        ("black.png", "'b' in .* is black everywhere"),
        ("named", r"no mask for b; it has a\.png"),
        ("missing.png", "does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            focused(target, queries, tmp_path / file)
    for name in ("b", "c"):
        _png(tmp_path / f"named/{name}.png", np.full((8, 8), 255))
    with pytest.raises(DataError, match="masks of no query: c"):
        focused(target, queries, tmp_path / "named")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        focused(target, queries, tmp_path / "empty")
    with pytest.raises(ConfigError, match="takes no text"):
        focused(target, queries, without=["a three"])
