import pytest
import torch
from diffusers.models.normalization import RMSNorm
from torch import nn

from whence.errors import ModelError
from whence.gradients.layers import coverage
from whence.gradients.maps import PatchMap
from whence.gradients.product_layers import ProductLayer, explicit

N = 4
LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), (5,)),
    "linear on tokens": (lambda: nn.Linear(5, 3), (6, 5)),
    "linear without bias": (lambda: nn.Linear(5, 3, bias=False), (2, 3, 5)),
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 6, 7)),
    "convolution without bias": (lambda: nn.Conv2d(3, 4, 3, bias=False), (3, 6, 7)),
    "stride": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (3, 7, 6)),
    "uneven stride and kernel": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(0, 1)), (2, 6, 7)),
    "dilation": (lambda: nn.Conv2d(2, 3, 3, dilation=2, padding=2), (2, 7, 7)),
    "padding by name": (lambda: nn.Conv2d(2, 3, 3, padding="same"), (2, 5, 5)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, bias=False), (4, 5, 5)),
    "one by one": (lambda: nn.Conv2d(4, 2, 1), (4, 5, 5)),
    "embedding": (lambda: nn.Embedding(7, 3), None),
    "embedding with padding": (lambda: nn.Embedding(7, 3, padding_idx=2), None),
    "group norm": (lambda: nn.GroupNorm(2, 6), (6, 3, 4)),
    "group norm without positions": (lambda: nn.GroupNorm(2, 6), (6,)),
    "layer norm": (lambda: nn.LayerNorm(5), (3, 5)),
    "layer norm of maps": (lambda: nn.LayerNorm((3, 5)), (3, 5)),
    "layer norm without bias": (lambda: nn.LayerNorm(5, bias=False), (3, 5)),
    "rms norm": (lambda: nn.RMSNorm(5), (3, 5)),
    "rms norm of diffusers": (lambda: RMSNorm(5, 1e-6), (3, 5)),
    "rms norm of diffusers with a shift": (lambda: RMSNorm(5, 1e-6, bias=True), (3, 5)),
}


def _case(name):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = make().double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randint(0, 7, (N, 5)) if shape is None else torch.randn(N, *shape, dtype=torch.float64)
    output = layer(x)
    return layer, x, torch.randn_like(output)


def _autograd(layer, x, cotangent):
    """The gradient of every row by a loop, by parameter."""
    rows = []
    for n in range(N):
        layer.zero_grad()
        layer(x[n : n + 1]).backward(cotangent[n : n + 1])
        rows.append({key: parameter.grad.clone() for key, parameter in layer.named_parameters()})
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def _known(layer):
    return coverage(nn.Sequential(layer)).layers["0"]


@pytest.mark.parametrize("name", LAYERS)
def test_the_explicit_gradient_is_that_of_autograd(name):
    layer, x, cotangent = _case(name)
    known = _known(layer)
    if isinstance(known, ProductLayer):
        found = known.by_parameter(explicit(known, x, cotangent))
    else:
        found = known.by_parameter(known.explicit(known.prepare(x), cotangent))
    expected = _autograd(layer, x, cotangent)
    assert known.size == sum(parameter.numel() for parameter in layer.parameters())
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)


PRODUCTS = [name for name in LAYERS if "norm" not in name]


@pytest.mark.parametrize("name", PRODUCTS)
def test_projecting_both_sides_first_is_projecting_the_gradient(name):
    layer, x, cotangent = _case(name)
    known = _known(layer)
    p_o = torch.randn(known.outputs, 3, dtype=torch.float64)
    p_i = torch.randn(known.groups, known.inputs, 2, dtype=torch.float64)
    found = torch.bmm(known.output_side(cotangent, p_o).transpose(1, 2), known.input_side(x, p_i))
    gradient = explicit(known, x, cotangent).reshape(N, known.groups, -1, known.inputs)
    expected = torch.einsum("ngoi,gok,gil->nkl", gradient, p_o.reshape(known.groups, -1, 3), p_i)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", [name for name in PRODUCTS if isinstance(LAYERS[name][0](), nn.Conv2d)])
def test_patches_of_the_cotangent_give_the_same_gradient(name):
    layer, x, cotangent = _case(name)
    known = _known(layer)
    if not known.has_cotangent_patches:
        assert name in {"stride", "uneven stride and kernel", "padding by name", "groups", "depthwise"}
        return
    found = PatchMap(known)
    gradient = explicit(known, x, cotangent)
    torch.testing.assert_close(found.features(found.prepare(x), cotangent), gradient.flatten(1))
    prepared = found.prepare(x)
    x += 1
    with pytest.raises(ModelError, match="'0' was changed in place"):
        found.features(prepared, cotangent)


def test_a_group_normalisation_takes_the_mean_and_deviation_that_autograd_has():
    layer, x, cotangent = _case("group norm")
    known = _known(layer)
    output = layer(x.requires_grad_())
    prepared, computed = known.prepare(x.detach(), output), known.prepare(x.detach())
    for found, expected in zip(prepared[1:], computed[1:], strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(known.explicit(prepared, cotangent), known.explicit(computed, cotangent))
    with torch.no_grad():
        x += 1
    with pytest.raises(ModelError, match="'0' was changed in place"):
        known.explicit(prepared, cotangent)


class _Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))


class _OwnForward(nn.Linear):
    def forward(self, x):
        return super().forward(2 * x)


def _tied():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    return nn.Sequential(first, second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(3)), r"parameters of 1 \(BatchNorm2d\) isn't known"),
        (lambda: nn.Sequential(nn.ConvTranspose2d(2, 2, 3)), r"0 \(ConvTranspose2d\)"),
        (lambda: nn.Sequential(_Bare()), r"0 \(_Bare\)"),
        (_Bare, r"\(the network itself\) \(_Bare\)"),
        (lambda: nn.Sequential(_OwnForward(2, 2)), r"0 \(_OwnForward\)"),
        (lambda: nn.Sequential(nn.MultiheadAttention(4, 2)), r"0 \(MultiheadAttention\)"),
        (lambda: nn.Sequential(*[nn.PReLU() for _ in range(7)]), "and 2 more"),
        (lambda: nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")), "pads with 'circular'"),
        (lambda: nn.Sequential(nn.Embedding(3, 2, max_norm=1.0)), "rescales its weights"),
        (_tied, r"1.weight and 0.weight are one parameter"),
        (nn.ReLU, "no parameter to differentiate in ReLU"),
    ],
)
def test_a_network_with_a_layer_that_would_be_dropped_is_refused(make, message):
    with pytest.raises(ModelError, match=message):
        coverage(make())


def test_layers_left_out_on_request_are_named():
    found = coverage(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)), parameters="^[02]$")
    assert found.left_out == ("1",)
    assert found.size == 9 + 4
