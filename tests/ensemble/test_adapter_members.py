"""Adapters of many members on one base, row by row, against one network for each member."""

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from whence.config import AdapterConfig
from whence.diffusion.adapters.initial_weights import initial_weights
from whence.diffusion.adapters.layers import attach
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.diffusion.adapters.mean import mean_adapter
from whence.ensemble.member_layers import MemberLayer
from whence.ensemble.members import ALONE, AdapterMembers, NetworkMembers, batch_count, pairs_of
from whence.ensemble.model import MeanPrediction, MeanWeights
from whence.errors import ConfigError, MismatchError, ModelError

SETS = [(0, 1, 2, 3), (0,), (1, 3), (2, 0), (3,), (0, 1, 2, 3), (1, 2, 3), (ALONE,)]
CPU = torch.device("cpu")


class Small(nn.Module):
    """A network with the layers that adapters change: of vectors, of sequences, and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.words, self.sequence, self.last = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 48)

    def forward(self, x, t, *, text):
        h = self.first(x)
        h = h * (1 + t.reshape(-1, 1, 1, 1) / 1000) + self.words(text)[:, :, None, None]
        h = torch.tanh(self.sequence(torch.tanh(h).flatten(2).transpose(1, 2)))
        return self.last(h.mean(1)).reshape(x.shape)


@pytest.fixture(scope="module")
def base() -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Small().eval()


@pytest.fixture(scope="module")
def adapters(base) -> dict[int, AdapterWeights]:
    return {m: random_adapter(base, m) for m in range(4)}


def random_adapter(base: nn.Module, seed: int, rank: int = 2) -> AdapterWeights:
    start = initial_weights(base, AdapterConfig(rank=rank, alpha=3.0, target=""), seed)
    source = torch.Generator().manual_seed(seed)
    layers = {
        name: LowRank(own.A, torch.randn(own.B.shape, generator=source), own.scale)
        for name, own in start.network.items()
    }
    return AdapterWeights(layers)


@pytest.fixture(scope="module")
def networks(base, adapters) -> dict[int, nn.Module]:
    """A network of its own for each member, and the base."""
    found = {ALONE: base}
    for m, adapter in adapters.items():
        found[m] = copy.deepcopy(base)
        attach(found[m], [adapter])
    return found


def members_of(network: nn.Module, adapters: Mapping[int, AdapterWeights]) -> AdapterMembers:
    return AdapterMembers.of(network, tuple(adapters), adapters.__getitem__, CPU)


@pytest.fixture(scope="module")
def members(base, adapters) -> AdapterMembers:
    return members_of(copy.deepcopy(base), adapters)


@pytest.fixture(scope="module")
def batch():
    source = torch.Generator().manual_seed(1)
    x, text = torch.randn(8, 3, 4, 4, generator=source), torch.randn(8, 16, generator=source)
    return x, torch.arange(8) * 100, {"text": text}


def alone(network, batch, n):
    x, t, conditions = batch
    with torch.no_grad():
        return network(x[n : n + 1], t[n : n + 1], text=conditions["text"][n : n + 1])[0]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_mean_prediction_is_that_of_networks_of_their_own(members, networks, batch, batch_size):
    x, t, conditions = batch
    found = MeanPrediction(members, SETS, batch_size, conditions)(x, t)
    for n, numbers in enumerate(SETS):
        expected = torch.stack([alone(networks[m], batch, n) for m in numbers]).double().mean(0)
        torch.testing.assert_close(found[n], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_row_order_and_neighbour_invariance(members, batch, batch_size):
    """Bit for bit, whatever stands beside a row and whichever members are drawn with it."""
    x, t, conditions = batch
    for kind in (MeanPrediction, MeanWeights):
        found = kind(members, SETS, batch_size, conditions)(x, t)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
        moved = kind(members, [SETS[k] for k in order], batch_size, {"text": conditions["text"][order]})
        assert torch.equal(found[order], moved(x[order], t[order]))
        single = kind(members, [SETS[2]], batch_size, {"text": conditions["text"][2:3]})(x[2:3], t[2:3])
        assert torch.equal(found[2], single[0])


def test_two_sets_of_members_on_one_base_do_not_mix(base, adapters, batch):
    """Members that were opened later leave those that were opened before as they are."""
    x, t, conditions = batch
    network = copy.deepcopy(base)
    first = members_of(network, {0: adapters[0]})
    expected = MeanPrediction(first, [(0,)] * 8, 4, conditions)(x, t)
    second = members_of(network, {0: adapters[1], 1: adapters[2]})
    other = MeanPrediction(second, [(0,)] * 8, 4, conditions)(x, t)
    assert not torch.allclose(other, expected)
    assert torch.equal(MeanPrediction(first, [(0,)] * 8, 4, conditions)(x, t), expected)
    assert sum(isinstance(layer, MemberLayer) for layer in network.modules()) == len(first.layers)


def test_the_mean_of_weights_is_the_network_with_the_mean_of_the_changes(members, base, adapters, batch):
    x, t, conditions = batch
    found = MeanWeights(members, SETS, 4, conditions)(x, t)
    for n, numbers in enumerate(SETS):
        network = copy.deepcopy(base)
        for name, layer in network.named_modules():
            kept = [adapters[m].network[name].delta() for m in numbers if m != ALONE and name in adapters[m].network]
            if kept:
                layer.weight.data += torch.stack(kept).mean(0)
        torch.testing.assert_close(found[n].float(), alone(network, batch, n), atol=1e-4, rtol=1e-4)


def test_the_mean_of_a_and_b_apart_is_another_network(base, adapters):
    """The trap: mean B times mean A is not the mean of B A."""
    exact, error = mean_adapter(list(adapters.values()))
    assert error == 0
    names = list(exact.network)
    apart = {
        name: LowRank(
            *(torch.stack([getattr(a.network[name], side) for a in adapters.values()]).mean(0) for side in "AB")
        )
        for name in names
    }
    wrong = sum((apart[name].delta() * 1.5 - exact.network[name].delta()).square().sum() for name in names)
    assert wrong / sum(exact.network[name].delta().square().sum() for name in names) > 0.5


def test_members_that_are_left_out_change_no_bit(base, adapters, batch):
    """Whatever their weights are: one member has other weights, and rows without it stay as they are."""
    x, t, conditions = batch
    other = {**adapters, 1: random_adapter(base, 99)}
    for kind in (MeanPrediction, MeanWeights):
        found = [kind(members_of(copy.deepcopy(base), own), SETS, 4, conditions)(x, t) for own in (adapters, other)]
        for n, numbers in enumerate(SETS):
            assert torch.equal(found[0][n], found[1][n]) == (1 not in numbers)


def test_equal_members_are_one_member(base, adapters, batch):
    x, t, conditions = batch
    copies = members_of(copy.deepcopy(base), dict.fromkeys(range(8), adapters[2]))
    one = MeanPrediction(copies, [(3,)] * 8, 4, conditions)(x, t)
    assert torch.equal(one, MeanPrediction(copies, [tuple(range(8))] * 8, 4, conditions)(x, t))
    torch.testing.assert_close(MeanWeights(copies, [(0, 5)] * 8, 4, conditions)(x, t), one, atol=1e-5, rtol=1e-5)


def test_evaluations_are_counted_in_batches_of_the_base(members, networks, batch):
    x, t, conditions = batch
    seen: list[int] = []
    handle = members.base.register_forward_hook(lambda _n, given, _o: seen.append(len(given[0])))
    MeanPrediction(members, SETS, 6, conditions)(x, t)
    handle.remove()
    pairs = sum(len(numbers) for numbers in SETS)
    assert seen == [6] * batch_count({0: pairs}, 6, on_one_base=True) == [6] * 3
    whole = NetworkMembers({m: networks[m] for m in range(4)})
    assert batch_count(dict.fromkeys(whole.numbers, 4), 6, on_one_base=False) == 4


def test_the_memory_is_that_of_the_base_and_the_adapters(members, base, adapters):
    size = sum(p.numel() for p in base.parameters())
    one = sum(own.A.numel() + own.B.numel() for own in adapters[0].network.values())
    assert members.size(4) == size + 4 * one
    assert len({p.data_ptr() for p in members.base.parameters()}) == len(list(base.parameters()))


def test_pairs_come_by_member(members):
    assert pairs_of(SETS[:3]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 2], [2, 0], [3, 0], [3, 2]]
    assert pairs_of([]).shape == (0, 2)


@pytest.mark.parametrize(("rank", "exact"), [(None, True), (3, False), (2, False), (100, True)])
def test_the_mean_adapter_against_the_dense_mean(adapters, rank, exact):
    found, error = mean_adapter(list(adapters.values()), rank)
    lost = whole = 0.0
    for name, own in found.network.items():
        dense = torch.stack([adapter.network[name].delta() for adapter in adapters.values()]).double().mean(0)
        most = min(rank or 8, 8, *dense.flatten(1).shape)
        assert len(own.A) == most
        values = torch.linalg.svdvals(dense.flatten(1))
        lost, whole = lost + float(values[most:].square().sum()), whole + float(values.square().sum())
        left = (own.delta().double() - dense).flatten(1)
        assert torch.linalg.matrix_norm(left).item() == pytest.approx(values[most:].norm().item(), abs=1e-5)
    assert (error == 0) == exact
    assert error == pytest.approx((lost / whole) ** 0.5, abs=1e-6)


def test_one_frozen_a_has_an_exact_mean_at_its_own_rank(base):
    config = AdapterConfig(rank=2, target="", freeze_a=True)
    starts = [initial_weights(base, config, seed) for seed in (1, 2, 3)]
    assert all(
        torch.equal(starts[0].network[name].A, other.network[name].A) for other in starts for name in other.network
    )
    own = [
        AdapterWeights({name: LowRank(w.A, torch.randn_like(w.B), 1.0) for name, w in start.network.items()})
        for start in starts
    ]
    mean, error = mean_adapter(own)
    assert error == 0
    for name, layer in mean.network.items():
        assert len(layer.A) == 2
        dense = torch.stack([adapter.network[name].delta() for adapter in own]).mean(0)
        torch.testing.assert_close(layer.delta(), dense, atol=1e-5, rtol=1e-5)


def test_what_has_no_mean(base, adapters):
    fewer = AdapterWeights({name: own for name, own in adapters[0].network.items() if name != "last"})
    with pytest.raises(MismatchError, match="change other layers"):
        mean_adapter([adapters[0], fewer])
    with pytest.raises(ConfigError, match="at least one adapter"):
        mean_adapter([])
    with pytest.raises(ConfigError, match="rank from 1 on"):
        mean_adapter([adapters[0]], 0)
    with pytest.raises(ModelError, match="does not fit the layer"):
        members_of(copy.deepcopy(base), {0: wrong_shape(adapters[0])})


def wrong_shape(adapter: AdapterWeights) -> AdapterWeights:
    return AdapterWeights({name: LowRank(own.A, torch.cat([own.B, own.B])) for name, own in adapter.network.items()})
