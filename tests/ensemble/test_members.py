import pytest
import torch

from whence.config import ModelConfig
from whence.diffusion.model import DiffusionModel
from whence.ensemble import MeanPrediction, NetworkMembers

SETS = [(0, 1, 2, 3), (0,), (1, 3), (2, 0), (3,), (0, 1, 2, 3), (1, 2, 3)]


@pytest.fixture(scope="module")
def networks():
    config = ModelConfig(channels=(8, 16))
    return {m: DiffusionModel.new(config, (1, 8, 8), seed=m).network for m in range(4)}


@pytest.fixture(scope="module")
def batch():
    source = torch.Generator().manual_seed(0)
    return torch.randn(len(SETS), 1, 8, 8, generator=source), torch.arange(len(SETS)) * 100


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16])
def test_the_mean_against_a_plain_loop(networks, batch, batch_size):
    """Bit for bit: each row alone in a batch padded with zeros, members added in ascending order."""
    x, t = batch
    found = MeanPrediction(NetworkMembers(networks), SETS, batch_size)(x, t)
    assert found.dtype == torch.float64
    for n, members in enumerate(SETS):
        total = torch.zeros(1, 8, 8, dtype=torch.float64)
        for member in sorted(members):
            padded, at = torch.zeros(batch_size, 1, 8, 8), torch.zeros(batch_size, dtype=torch.long)
            padded[0], at[0] = x[n], t[n]
            with torch.no_grad():
                total += networks[member](padded, at).sample[0]
        assert torch.equal(found[n], total / len(members))


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_row_order_and_neighbour_invariance(networks, batch, batch_size):
    x, t = batch
    found = MeanPrediction(NetworkMembers(networks), SETS, batch_size)(x, t)
    order = torch.randperm(len(SETS), generator=torch.Generator().manual_seed(1))
    again = MeanPrediction(NetworkMembers(networks), [SETS[k] for k in order], batch_size)(x[order], t[order])
    assert torch.equal(found[order], again)
    others = [(0, 1, 2, 3)] * 5 + [SETS[3]]
    beside = MeanPrediction(NetworkMembers(networks), others, batch_size)(
        torch.cat([torch.full((5, 1, 8, 8), 3.0), x[3:4]]), torch.cat([torch.full((5,), 999), t[3:4]])
    )
    assert torch.equal(found[3], beside[5])


def test_another_batch_size_agrees_to_a_bound(networks, batch):
    """Measured 7e-7; the network works in float32."""
    found = [MeanPrediction(NetworkMembers(networks), SETS, size)(*batch) for size in (1, 4, 16)]
    assert max((found[0] - other).abs().max().item() for other in found) < 1e-5


def test_members_in_any_order_and_networks_in_any_order(networks, batch):
    found = MeanPrediction(NetworkMembers(networks), SETS, 4)(*batch)
    backwards = {m: networks[m] for m in reversed(networks)}
    assert torch.equal(found, MeanPrediction(NetworkMembers(backwards), [s[::-1] for s in SETS], 4)(*batch))


def test_copies_of_one_model_are_that_model(networks, batch):
    """Eight times the same float32 numbers, added in float64 and divided by eight: not a bit is lost."""
    one = MeanPrediction(NetworkMembers({0: networks[0]}), [(0,)] * len(SETS), 4)(*batch)
    eight = MeanPrediction(NetworkMembers(dict.fromkeys(range(8), networks[0])), [tuple(range(8))] * len(SETS), 4)(
        *batch
    )
    assert torch.equal(one, eight)
