import numpy as np
import pytest
import torch
from torch import nn

from whence.config import ModelConfig
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError, NotFiniteError
from whence.gradients.compression import Compression, layer_widths, maps
from whence.gradients.layers import coverage
from whence.gradients.maps import DenseMap, FoldedMap, PatchMap, ProductMap
from whence.gradients.product_layers import explicit
from whence.gradients.widths import layer_shares, sides, widths

CONVOLUTION = nn.Conv2d(4, 6, 3, padding=1)
WIDE = nn.Conv2d(40, 5, 3, padding=1)
GROUPED = nn.Conv2d(4, 6, 3, padding=1, groups=2)
LINEAR = nn.Linear(30, 20)


def _product(layer):
    return coverage(nn.Sequential(layer)).layers["0"]


def _batch(layer):
    torch.manual_seed(1)
    x = torch.randn(2, 5, 30) if isinstance(layer, nn.Linear) else torch.randn(2, layer.in_channels, 5, 5)
    return x, torch.randn_like(layer(x)).detach()


def _inner_products(layer, compression):
    """⟨features of row 0, features of row 1⟩."""
    cover = coverage(nn.Sequential(layer))
    found, _ = maps(cover, compression).by_layer["0"]
    x, cotangent = _batch(layer)
    with torch.no_grad():
        a, b = found.features(found.prepare(x), cotangent).double()
    return float(a @ b)


def _exact(layer):
    x, cotangent = _batch(layer)
    a, b = explicit(_product(layer), x, cotangent).flatten(1).double()
    return float(a @ b), float(a.norm() * b.norm())


SEEDS = 300


LAYERS = {"conv": CONVOLUTION, "wide": WIDE, "grouped": GROUPED, "linear": LINEAR}
#: Layers with each kind of entries: those of the one are drawn for all of them as those of the other.
DRAWN = [(name, "rademacher") for name in LAYERS] + [
    pytest.param(name, "gaussian", marks=() if name == "conv" else pytest.mark.slow) for name in LAYERS
]


@pytest.mark.parametrize("kind", ["two-sided", pytest.param("dense", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "entries"), DRAWN)
def test_inner_products_are_unbiased(name, kind, entries):
    layer = LAYERS[name]
    exact, scale = _exact(layer)
    found = np.array(
        [_inner_products(layer, Compression(kind=kind, width=24, entries=entries, seed=s)) for s in range(SEEDS)]
    )
    standard_error = found.std() / SEEDS**0.5
    assert standard_error < 0.05 * scale
    assert abs(found.mean() - exact) < 4 * standard_error


@pytest.mark.parametrize("kind", ["two-sided", "dense"])
def test_the_error_falls_like_the_inverse_root_of_the_width(kind):
    exact, _ = _exact(LINEAR)

    def error(width):
        found = [_inner_products(LINEAR, Compression(kind=kind, width=width, seed=s)) - exact for s in range(150)]
        return float(np.sqrt(np.mean(np.square(found))))

    assert 2.5 < error(16) / error(256) < 7


def _orthogonal(size):
    return torch.linalg.qr(torch.randn(size, size))[0]


@pytest.mark.parametrize("layer", [CONVOLUTION, GROUPED, LINEAR], ids=lambda layer: type(layer).__name__)
def test_an_orthogonal_square_projection_is_exact(layer):
    known = _product(layer)
    inputs = torch.stack([_orthogonal(known.inputs) for _ in range(known.groups)])
    found = ProductMap(known, _orthogonal(known.outputs), inputs)
    x, cotangent = _batch(layer)
    with torch.no_grad():
        a, b = found.features(found.prepare(x), cotangent)
    exact, scale = _exact(layer)
    assert float(a @ b) == pytest.approx(exact, abs=1e-5 * scale)


@pytest.mark.parametrize("kind", ["two-sided", "none"])
def test_a_layer_with_room_for_all_its_parameters_is_exact(kind):
    exact, scale = _exact(LINEAR)
    found = _inner_products(LINEAR, Compression(kind=kind, width=5000))
    assert found == pytest.approx(exact, abs=1e-5 * scale)


def test_matrices_depend_on_seed_and_name_alone():
    one = Compression(width=10)
    assert torch.equal(one.matrix("a", 7, 5), Compression(width=99).matrix("a", 7, 5))
    assert not torch.equal(one.matrix("a", 7, 5), one.matrix("b", 7, 5))
    assert not torch.equal(one.matrix("a", 7, 5), Compression(width=10, seed=1).matrix("a", 7, 5))
    signs = one.matrix("a", 1000, 100) * 10
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.02


@pytest.mark.parametrize(("rows", "columns"), [(7, 3), (30, 30), (3, 8)])
def test_frames_are_orthogonal_where_they_can_be_and_unbiased(rows, columns):
    made = [Compression(seed=s).frame("a", rows, columns) for s in range(400)]
    mean = torch.stack([P @ P.T for P in made]).mean(0)
    assert float((mean - torch.eye(rows)).abs().max()) < 0.4
    if columns < rows:
        assert all(torch.allclose(P.T @ P, torch.eye(columns) * rows / columns, atol=1e-5) for P in made)


def test_orthogonal_frames_have_less_error_than_independent_entries():
    a = torch.nn.functional.normalize(torch.arange(1.0, 25.0), dim=0)
    errors = {
        make: np.mean(
            [
                (float((getattr(Compression(seed=s), make)("a", 24, 16).T @ a).square().sum()) - 1) ** 2
                for s in range(300)
            ]
        )
        for make in ("frame", "matrix")
    }
    assert errors["frame"] < 0.5 * errors["matrix"]


def test_a_convolution_of_few_outputs_is_projected_whole():
    found, _ = maps(coverage(nn.Sequential(nn.Conv2d(8, 3, 3, padding=1))), Compression(width=24)).by_layer["0"]
    assert isinstance(found, DenseMap)
    assert found.width == 24


@pytest.mark.parametrize(("channels", "outputs", "kind"), [(1, 8, ProductMap), (8, 8, PatchMap), (9, 8, PatchMap)])
def test_a_whole_convolution_takes_the_patches_of_its_smaller_side(channels, outputs, kind):
    network = nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1))
    found, _ = maps(coverage(network), Compression(kind="none")).by_layer["0"]
    assert isinstance(found, kind)


@pytest.mark.parametrize("positions", [1, 5])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 4), (4, 8), (5, 9), (11, 9), (7, 16)])
def test_folding_adds_up_the_signed_outputs(rows, columns, positions):
    known = coverage(nn.Sequential(nn.Linear(20, 12))).layers["0"]
    x, cotangent = torch.randn(6, positions, 20), torch.randn(6, positions, 12)
    found = FoldedMap(ProductMap(known, None, torch.randn(1, 21, columns)), torch.randn(12, columns).sign(), rows)
    product = found.whole.features(found.whole.prepare(x), cotangent).reshape(6, *found.signs.shape)
    expected = torch.zeros(6, rows, found.signs.shape[1])
    for o, signs in enumerate(found.signs):
        expected[:, o % rows] += product[:, o] * signs
    torch.testing.assert_close(found.features(found.prepare(x), cotangent), expected.flatten(1))


def test_channels_are_mixed_first_where_there_are_many():
    found, _ = maps(coverage(nn.Sequential(WIDE)), Compression(width=24)).by_layer["0"]
    assert found.squeeze.shape == (40, 8)
    assert found.inputs.shape == (1, 8 * 9 + 1, 4)


def test_widths_follow_measured_shares():
    cover = coverage(nn.Sequential(*[nn.Linear(20, 20, bias=False) for _ in range(10)]))
    trial = maps(cover, Compression(width=10))
    features = torch.ones(3, 10)
    features[:, :2] = 2
    found = layer_shares(trial, [features, features])
    assert found["0"] == found["1"] == pytest.approx(0.25)
    assert found["9"] == pytest.approx(0.0625)
    made = maps(cover, Compression(width=1600), found)
    assert [part.width for part, _ in made.by_layer.values()] == [400, 400] + [96] * 8
    assert made.widths == [400, 400] + [96] * 8


def test_features_fill_the_width_but_do_not_exceed_it():
    network = DiffusionModel.new(ModelConfig(channels=(16, 64)), (1, 8, 8), seed=0).network
    for width in (256, 1024, 4096):
        assert 0.85 * width <= maps(coverage(network), Compression(width=width)).width <= width


def test_a_gradient_that_is_not_finite_has_no_shares():
    trial = maps(coverage(nn.Sequential(nn.Linear(2, 2))), Compression(kind="none"))
    with pytest.raises(NotFiniteError, match="'0'"):
        layer_shares(trial, [torch.full((1, 6), torch.nan)])


def test_a_width_below_one_feature_per_layer_is_refused():
    cover = coverage(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(ConfigError, match="3 layers need as many features at least; width is 2"):
        maps(cover, Compression(width=2))


@pytest.mark.parametrize(
    ("sizes", "shares", "total", "expected"),
    [
        ([100, 100], [0.5, 0.5], 50, [25, 25]),
        ([10, 1000], [1, 1], 2000, [10, 1000]),
        ([1, 10_000, 10_000], [5, 5, 5], 101, [1, 50, 50]),
        ([10_000, 40_000], [0.2, 0.4], 300, [100, 200]),
        ([145, 1000, 1000], [0.9, 0.08, 0.02], 245, [145, 80, 20]),
        ([100, 100, 100], [0.0, 1.0, 1.0], 100, [1, 50, 50]),
        ([100, 100], [0.0, 0.0], 100, [1, 1]),
        ([1000] * 80, [10.0] + [1.0] * 79, 1600, [100] + [18] * 79),
    ],
)
def test_widths(sizes, shares, total, expected):
    assert widths(sizes, shares, total) == expected


def test_a_layer_whose_width_costs_nothing_may_be_wide():
    sizes, shares = [1000] * 80, [100.0] + [1.0] * 79
    assert widths(sizes, shares, 1600)[0] == 100
    assert widths(sizes, shares, 1600, [True] + [False] * 79)[0] == 893


@pytest.mark.parametrize("width", [1, 7, 64, 144, 1000])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (64, 577), (1, 145), (16, 10), (3, 5000)])
def test_sides_fit_the_width_and_the_layer(outputs, inputs, width):
    k_o, k_i = sides(outputs, inputs, width)
    assert 1 <= k_o <= outputs
    assert 1 <= k_i <= inputs
    assert k_o * k_i <= width


@pytest.mark.parametrize("kind", ["two-sided", "dense", "none"])
@pytest.mark.parametrize("width", [60, 300, pytest.param(2000, marks=pytest.mark.slow)])
def test_widths_without_the_matrices_are_those_of_the_maps(kind, width):
    layers = [CONVOLUTION, WIDE, GROUPED, nn.Conv2d(12, 3, 3), LINEAR, nn.LayerNorm(40), nn.Linear(200, 100)]
    cover, compression = coverage(nn.Sequential(*layers)), Compression(kind=kind, width=width)
    shares = {name: 1.0 + place for place, name in enumerate(cover.layers)}
    assert layer_widths(cover, compression, shares) == maps(cover, compression, shares).widths
