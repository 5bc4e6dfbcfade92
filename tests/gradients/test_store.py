from dataclasses import replace

import pytest
import torch

from whence.config import ModelConfig
from whence.diffusion.draws import Draws
from whence.diffusion.process import DiffusionModel
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.gradients import store
from whence.gradients.collect import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.coverage import coverage
from whence.gradients.store import Features, Request, extend

IDS = ("c", "a", "e", "b", "d")
X = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
REQUEST = Request({"model": "m", "data": "d"}, Compression(width=300).record(), Draws(1), ("loss", "mean"))


@pytest.fixture(scope="module")
def parts():
    model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)
    cover = coverage(model.network)
    return model, Collector(model.network, cover, maps(cover, Compression(width=300)))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(store, "SHARD", 2)


def _all(features, readout="loss"):
    return torch.cat(list(features.shards(readout)))


def test_a_store_is_sorted_by_id_and_independent_of_the_order_given(parts, tmp_path):
    first = extend(tmp_path / "a", REQUEST, *parts, X, IDS, 2)
    order = [4, 2, 0, 1, 3]
    second = extend(tmp_path / "b", REQUEST, *parts, X[order], [IDS[n] for n in order], 2)
    assert first.ids == second.ids == tuple(sorted(IDS))
    assert torch.equal(_all(first), _all(second))


def test_draws_are_added_to_those_that_are_there(parts, tmp_path):
    once = extend(tmp_path / "a", REQUEST, *parts, X, IDS, 6)
    extend(tmp_path / "b", REQUEST, *parts, X, IDS, 2)
    seen = []
    twice = extend(tmp_path / "b", REQUEST, *parts, X, IDS, 6, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert twice.draws == once.draws == 6
    for readout in REQUEST.readouts:
        assert torch.equal(_all(once, readout), _all(twice, readout))
    again = extend(tmp_path / "b", REQUEST, *parts, X, IDS, 6, lambda *_: pytest.fail("work was redone"))
    assert again == twice


def test_an_interrupted_run_goes_on_where_it_was(parts, tmp_path):
    class StopError(Exception):
        pass

    def stop(done, _total):
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        extend(tmp_path / "a", REQUEST, *parts, X, IDS, 2, stop)
    part = tmp_path / "a" / "draws-00002.part"
    before = {file.name: file.stat().st_mtime_ns for file in part.glob("shard-*")}
    assert len(before) == 2
    found = extend(tmp_path / "a", REQUEST, *parts, X, IDS, 2)
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "a" / "draws-00002").glob("shard-*")}
    assert before.items() <= after.items()
    assert torch.equal(_all(found), _all(extend(tmp_path / "b", REQUEST, *parts, X, IDS, 2)))


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, inputs={"model": "another", "data": "d"}),
        replace(REQUEST, compression=Compression(width=301).record()),
        replace(REQUEST, draws=Draws(2)),
        replace(REQUEST, readouts=("loss",)),
    ],
    ids=["model", "compression", "draws", "readouts"],
)
def test_a_store_of_something_else_is_refused(parts, tmp_path, other):
    extend(tmp_path / "a", REQUEST, *parts, X, IDS, 2)
    with pytest.raises(MismatchError, match="made from something else"):
        extend(tmp_path / "a", other, *parts, X, IDS, 4)


def test_fewer_draws_than_there_are_is_refused(parts, tmp_path):
    extend(tmp_path / "a", REQUEST, *parts, X, IDS, 4)
    with pytest.raises(ConfigError, match="holds 4 draws already"):
        extend(tmp_path / "a", REQUEST, *parts, X, IDS, 2)


def test_other_examples_are_refused(parts, tmp_path):
    extend(tmp_path / "a", REQUEST, *parts, X, IDS, 2)
    with pytest.raises(MismatchError, match="5 other examples; 4 were given"):
        extend(tmp_path / "a", REQUEST, *parts, X[:4], IDS[:4], 4)


def test_an_empty_or_damaged_store_is_refused(parts, tmp_path):
    with pytest.raises(ArtefactError, match="holds no features"):
        Features.open(tmp_path / "a")
    extend(tmp_path / "a", REQUEST, *parts, X, IDS, 2)
    (tmp_path / "a" / "draws-00002" / "shard-00001.safetensors").write_bytes(b"x")
    with pytest.raises(ArtefactError, match="is damaged"):
        Features.open(tmp_path / "a")
