import gc

import pytest
import torch
from torch import nn

from whence.errors import ModelError
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.kept_input import KeptInput
from whence.gradients.layers import coverage
from whence.gradients.maps import DenseMap, FoldedMap, PatchMap
from whence.gradients.product_layers import ProductLayer

READOUTS = {"squared": torch.square, "mean": lambda o: o, "sine": torch.sin}
COTANGENTS = {"squared": lambda o: 2 * o, "mean": torch.ones_like, "sine": torch.cos}


def _autograd(case, f):
    """The gradient of every row by a loop over rows, by name of the parameter."""
    rows = []
    for n in range(len(case.x_t)):
        case.network.zero_grad()
        output = case.network(case.x_t[n : n + 1], case.t[n : n + 1])
        f(output if torch.is_tensor(output) else output.sample).sum().backward()
        rows.append(
            {
                name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
                for name, p in case.network.named_parameters()
            }
        )
    case.network.zero_grad()
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _matrix(layer, gradient):
    """The gradient of a layer as its map takes it: [n, O, I] with the bias last, or [n, size]."""
    bias = gradient.get(f"{layer.name}.bias")
    weight = gradient[f"{layer.name}.weight"]
    if not isinstance(layer, ProductLayer):
        return torch.cat([part.flatten(1) for part in (weight, bias) if part is not None], 1)
    if type(layer).__name__ == "EmbeddingLayer":
        weight = weight.transpose(1, 2)
    weight = weight.reshape(len(weight), layer.outputs, -1)
    return weight if bias is None else torch.cat([weight, bias[..., None]], 2)


def _projected(layer, found, gradient):
    """The slow reference: the explicit gradient times the matrices of the map."""
    if isinstance(found, DenseMap):
        return _projected(layer, found.whole, gradient) @ found.project
    if isinstance(found, FoldedMap):
        signed = _projected(layer, found.whole, gradient).reshape(-1, *found.signs.shape) * found.signs
        return torch.stack([signed[:, r :: found.rows].sum(1) for r in range(found.rows)], 1).flatten(1)
    if isinstance(found, PatchMap):
        return gradient.flatten(1)
    if not isinstance(layer, ProductLayer):
        return gradient if found.project is None else gradient @ found.project
    p_o = torch.eye(layer.outputs) if found.outputs is None else found.outputs
    parts = gradient.reshape(len(gradient), layer.groups, -1, layer.inputs)
    p_o = p_o.reshape(layer.groups, -1, p_o.shape[1])
    return torch.einsum("ngoi,gok,gil->nkl", parts, p_o, _input_matrix(found)).flatten(1)


def _input_matrix(found):
    """P_i; (P_c ⊗ 1) Q where channels are mixed first."""
    if found.squeeze is None:
        return found.inputs
    q = found.inputs[0][: found.squeeze.shape[1] * found.layer.taps]
    mixed = torch.einsum("cm,mtk->ctk", found.squeeze, q.reshape(found.squeeze.shape[1], found.layer.taps, -1))
    return torch.cat([mixed.flatten(0, 1), found.inputs[0][len(q) :]])[None]


def _reference(case, made, f):
    gradient = _autograd(case, f)
    features = torch.zeros(len(case.x_t), made.width)
    for name, (found, place) in made.by_layer.items():
        layer = case.cover.layers[name]
        features[:, place] += _projected(layer, found, _matrix(layer, gradient))
    return features


def _close(found, expected):
    """Equal up to the rounding of float32 sums, at the scale of each row."""
    scale = expected.norm(dim=1, keepdim=True) / expected.shape[1] ** 0.5
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "compression",
    [
        Compression(width=600),
        Compression(width=3000),
        Compression(width=300, entries="gaussian", seed=3),
        Compression(kind="dense", width=40),
        Compression(kind="none"),
    ],
    ids=lambda c: c.kind + c.entries,
)
def test_features_are_the_projected_gradients_of_autograd(case, compression):
    made = maps(case.cover, compression)
    found = Collector(case.network, case.cover, made)(case.x_t, case.t, list(COTANGENTS.values()))
    for features, f in zip(found, READOUTS.values(), strict=True):
        _close(features, _reference(case, made, f))


def test_features_do_not_depend_on_the_other_rows(case):
    collector = Collector(case.network, case.cover, maps(case.cover, Compression(width=600)))

    def features(order):
        return collector(case.x_t[order], case.t[order], [torch.cos])[0]

    expected = features([0, 1, 2, 3, 4, 5])
    assert torch.equal(features([0, 5, 2, 3, 1, 0])[2:4], expected[2:4])
    assert torch.equal(features([4, 4, 4, 2, 4, 5])[4:], expected[4:])
    _close(features([4, 5, 0, 1, 2, 3])[[2, 3, 4, 5, 0, 1]], expected)


def test_nothing_of_a_batch_is_held_after_it(case):
    """What a hook keeps may not hold the graph that the hook is on: no collector of garbage would find that circle."""
    collector = Collector(case.network, case.cover, maps(case.cover, Compression(width=600)))
    for _ in range(3):
        collector(case.x_t, case.t, [torch.cos])
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is KeptInput]


def test_another_readout_does_not_change_a_readout(case):
    collector = Collector(case.network, case.cover, maps(case.cover, Compression(width=600)))
    together = collector(case.x_t, case.t, [torch.cos, torch.ones_like])
    for k, cotangent in enumerate((torch.cos, torch.ones_like)):
        assert torch.equal(collector(case.x_t, case.t, [cotangent])[0], together[k])


def test_the_network_is_left_as_it_was(case):
    before = [(p.requires_grad, p.grad) for p in case.network.parameters()]
    Collector(case.network, case.cover, maps(case.cover, Compression(width=600)))(case.x_t, case.t, [torch.cos])
    assert [(p.requires_grad, p.grad) for p in case.network.parameters()] == before
    assert not any(module._forward_hooks for module in case.network.modules())


class _Mixes(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, t):
        return self.layer(x.reshape(-1, 2, 4)).reshape(x.shape)


class _Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, t):
        return x + self.layer(x).detach()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (_Mixes(), "turns 2 rows into 2, in a batch of 4"),
        (_Cut(), "No layer with parameters leads to the output"),
    ],
)
def test_what_can_not_be_collected_is_refused(network, message):
    cover = coverage(network)
    with pytest.raises(ModelError, match=message):
        Collector(network, cover, maps(cover, Compression()))(torch.randn(4, 4), torch.zeros(4), [torch.cos])


class _Conditioned(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.caption = nn.Linear(4, 4), nn.Embedding(3, 4)

    def forward(self, x, t, caption):
        return self.layer(torch.tanh(x + self.caption(caption)))


def test_conditions_reach_the_network_and_their_layers_are_differentiated():
    network, x, caption = _Conditioned(), torch.randn(5, 4), torch.tensor([0, 2, 1, 1, 0])
    cover = coverage(network)
    made = maps(cover, Compression(kind="none"))
    (found,) = Collector(network, cover, made)(x, torch.zeros(5), [torch.cos], conditions={"caption": caption})
    place = made.by_layer["caption"][1]
    for n in range(5):
        network.zero_grad()
        output = network(x[n : n + 1], None, caption[n : n + 1])
        output.backward(torch.cos(output.detach()))
        expected = network.caption.weight.grad.T.flatten()
        torch.testing.assert_close(found[n, place], expected)


def test_bfloat16_is_near_float32(case):
    made = maps(case.cover, Compression(width=600))
    (exact,) = Collector(case.network, case.cover, made)(case.x_t, case.t, [torch.cos])
    (found,) = Collector(case.network, case.cover, made, autocast=True)(case.x_t, case.t, [torch.cos])
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() / exact.norm() < 0.1
