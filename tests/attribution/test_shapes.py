"""Scores of examples and queries of several shapes, against gradients by autograd, one picture and draw at a time."""

import numpy as np
import pytest
import torch

from whence.attribution.attribute import attribute
from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.gradient import gradient_dot
from whence.attribution.pictures import Pictures
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.tangent import TANGENT, tangent
from whence.config import ModelConfig
from whence.data import Dataset
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.engine import Engine
from whence.errors import ConfigError, DataError
from whence.gradients.compression import Compression
from whence.gradients.layers import coverage
from whence.gradients.readouts import signs
from whence.ragged import stack_rows
from whence.seeds import derived_seed

SHAPES, CANVAS = ((1, 8, 8), (1, 6, 10), (1, 10, 6)), (10, 12)
#: Layers of weights alone, whose features are in the order of these weights.
PARAMETERS = "^(time_embedding.linear_1|mid_block.resnets.0.conv1)$"
CONFIG = AttributionConfig(draws=8, compression=Compression(kind="none"))
SERIAL = Engine(1)


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    """The area of the pictures that it draws is that of the largest shape here."""
    model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 10, 12), seed=0)
    for name, module in model.network.named_modules():
        if name in ("time_embedding.linear_1", "mid_block.resnets.0.conv1"):
            module.bias = None
    return model


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Seven pictures of three shapes."""
    random, names = np.random.default_rng(0), tuple("gfedcba")
    pixels = stack_rows([random.integers(0, 256, SHAPES[n % 3], dtype=np.uint8) for n in range(7)])
    return Dataset(names, pixels, tuple((name,) for name in names), (None,) * 7)


@pytest.fixture(scope="module")
def queries() -> Examples:
    """Two pictures of two shapes, of which one is none of the training images'."""
    random = torch.Generator().manual_seed(1)
    rows = [torch.rand(shape, generator=random) * 2 - 1 for shape in ((1, 6, 10), (1, 4, 12))]
    return Examples(("p", "q"), stack_rows([row.numpy() for row in rows]).map(torch.from_numpy))


def features(model: DiffusionModel, examples: Examples, purpose: str, readout: str) -> torch.Tensor:
    """Φ [n, P], the mean over draws of gradients by autograd, with noise and signs cut out of the canvas by hand."""
    layers = coverage(model.network, PARAMETERS).layers
    chosen = [p for name, p in model.network.named_parameters() if name.rpartition(".")[0] in layers]
    seed, shared = derived_seed(0, purpose), purpose == "shared"
    rows = []
    for n, name in enumerate(examples.ids):
        x, total = examples.x([n]), torch.zeros(sum(p.numel() for p in chosen))
        _, height, width = x.shape[1:]
        top, left = (CANVAS[0] - height) // 2, (CANVAS[1] - width) // 2
        place = (..., slice(top, top + height), slice(left, left + width))
        for k in range(CONFIG.draws):
            t, noise = Draws(seed, shared=shared)([name], [k], x.shape[1:])
            if shared:
                noise = normals(keys("noise", seed, [""]), np.array([k]), (1, *CANVAS))[place]
            output = model.network(model.process.noised(x, t, noise), t).sample
            if readout == "signs":
                v = signs("output", np.array([k]), 120).reshape(1, 1, *CANVAS)[place]
                value = (v * output).mean()
            else:
                value = (output - model.process.target(x, t, noise)).square().mean()
            flat = torch.cat([g.flatten() for g in torch.autograd.grad(value, chosen)])
            total += flat * signs("draw", np.array([k]), len(flat))[0] if readout == "signs" else flat
        rows.append(total / CONFIG.draws)
    return torch.stack(rows)


def test_scores_are_those_of_gradients_one_at_a_time(model, data, queries):
    found = attribute(
        model, data, queries, ["tangent", "gradient-dot"], config=CONFIG, parameters=PARAMETERS, engine=SERIAL
    )
    images, widths = Examples.of(data), tuple(one.size for one in coverage(model.network, PARAMETERS).layers.values())
    shared = [features(model, one, "shared", "signs") for one in (images, queries)]
    expected = tangent(FeaturePair(*shared, widths=widths), TANGENT.damping)
    assert torch.allclose(found["tangent"].scores.double(), expected, rtol=1e-3, atol=1e-6)
    own = [features(model, one, purpose, "loss") for one, purpose in ((images, "examples"), (queries, "queries"))]
    expected = gradient_dot(FeaturePair(*own), 1.0)
    assert torch.allclose(found["gradient-dot"].scores.double(), expected.double(), rtol=1e-3, atol=1e-8)
    assert found["tangent"].examples == data.ids


def test_the_order_of_the_data_changes_no_score(model, data, queries):
    methods, order = ["tangent", "ek-fac"], [4, 1, 6, 0, 2, 5, 3]
    config = CONFIG.model_copy(update={"curvature_rows": 16})
    one, other = (
        attribute(model, images, queries, methods, config=config, parameters=PARAMETERS, engine=SERIAL)
        for images in (data, data.select(order))
    )
    for name in methods:
        assert other[name].examples == tuple(data.ids[n] for n in order)
        assert torch.allclose(one[name].scores[:, order], other[name].scores, rtol=1e-4, atol=1e-7)


def test_scores_of_one_shape_are_what_they_are_without_a_canvas(data):
    model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)
    square = data.select([0, 3, 6])
    request = AttributionRequest.of(model, square, square, "tangent", CONFIG, PARAMETERS)
    assert request.canvas is None
    assert {one.name for one in FeaturePlan.of(request).kinds} == {
        "shared-examples",
        f"shared-queries-{request.queries.fingerprint[:12]}",
    }
    both = AttributionRequest.of(model, data, data, "tangent", CONFIG, PARAMETERS)
    assert both.canvas == (10, 10)
    names = {one.name.removesuffix(f"-{both.queries.fingerprint[:12]}") for one in FeaturePlan.of(both).kinds}
    assert names == {"10x10-shared-examples", "10x10-shared-queries"}


def test_pictures_beside_scores_keep_their_shapes(model, data, queries, tmp_path):
    chosen = {"config": CONFIG, "parameters": PARAMETERS, "engine": SERIAL}
    attribute(model, data, queries, "gradient-dot", out=tmp_path / "out", **chosen)
    kept = Pictures.read(tmp_path / "out" / "pictures")
    assert kept.query("q").shape == (1, 4, 12)
    assert all(np.array_equal(kept.example(name), data.pixels[n]) for n, name in enumerate(data.ids))


def test_the_cost_is_known_before(model, data, queries, tmp_path):
    plan = FeaturePlan.of(AttributionRequest.of(model, data, queries, "gradient-dot", CONFIG, PARAMETERS))
    cost = attribution_cost(plan, FeatureStore(tmp_path), engine=SERIAL)
    assert cost.work.startswith("72 gradients of a picture at a draw")


def test_likeness_of_pictures_of_several_shapes_is_refused(model, data, queries):
    with pytest.raises(ConfigError, match="'pixel' is for pictures of one shape. Leave it out, or give --resolution"):
        attribute(model, data, queries, "pixel")


def test_shapes_that_the_model_can_not_have_are_refused(data, queries):
    small = DiffusionModel.new(ModelConfig(channels=(8, 16), groups=4, attention=0), (1, 8, 8), seed=0)
    with pytest.raises(DataError, match=r"The queries are up to 12x10 pixels; the model draws 8x8, .* --resolution 11"):
        attribute(small, data.select([0]), stacked(((1, 10, 12), (1, 8, 8))), "trak")
    with pytest.raises(DataError, match="The network can't take queries of 9x7 pixels, such as '0':.*larger steps"):
        attribute(small, data.select([0]), stacked(((1, 7, 9), (1, 8, 8))), "trak")
    with pytest.raises(DataError, match="The queries are 3x6x10; the model takes 1x8x8"):
        attribute(small, data.select([0]), stacked(((3, 6, 10), (3, 8, 8))), "trak")


def stacked(shapes) -> Examples:
    """Black pictures of some shapes."""
    pictures = stack_rows([np.full(shape, -1.0, np.float32) for shape in shapes]).map(torch.from_numpy)
    return Examples(tuple(map(str, range(len(shapes)))), pictures)
