import multiprocessing
import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from whence.config import ModelConfig
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError
from whence.gradients import store
from whence.gradients.compression import Compression
from whence.gradients.features import Feature
from whence.gradients.preparing import prepare
from whence.gradients.sources import Own
from whence.gradients.store import Features, Job, Request, plan_passes

IDS = tuple(f"image {n:02d}" for n in range(19))
X = torch.randint(0, 256, (19, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
KINDS = (Feature("loss"), Feature("loss", normalised=True), Feature("mean"))
FILES = ("sums", "norms", "losses")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0).save(path)
    return path


def _request(path, folder, order=None, compression=None, **changes):
    rows = list(range(19)) if order is None else order
    examples = Examples(tuple(IDS[n] for n in rows), X[rows])
    examples.write(path / "examples")
    subject, _ = prepare(path, Checkpoint(folder), examples, compression or Compression(width=300))
    request = Request(subject, path / "examples", examples.fingerprint, Own(Draws(1)), batch=8)
    return replace(request, **changes)


def _make(path, request, kinds, draws, workers=1):
    store.extend([Job(path, request, kinds, draws)], workers=workers)


def _values(path, kind):
    found = Features.open(path, kind)
    return {
        name: torch.cat([getattr(shard, name) for shard in found.shards()], 1 if name == "sums" else 0)
        for name in FILES
    }


def _same(a, b, kinds=KINDS):
    return all(torch.equal(_values(a, kind)[name], _values(b, kind)[name]) for kind in kinds for name in FILES)


@pytest.fixture(scope="module")
def reference(tmp_path_factory, folder):
    """The features of 16 draws of all kinds, made at once by one process."""
    path = tmp_path_factory.mktemp("reference")
    _make(path, _request(path, folder), KINDS, 16, workers=1)
    return path


def test_the_order_of_the_examples_does_not_matter(tmp_path, folder, reference):
    order = torch.randperm(19, generator=torch.Generator().manual_seed(1)).tolist()
    _make(tmp_path, _request(tmp_path, folder, order), KINDS, 16, workers=1)
    assert Features.open(tmp_path, KINDS[0]).ids == IDS
    assert _same(tmp_path, reference)


def test_two_processes_give_what_one_gives(tmp_path, folder, reference):
    _make(tmp_path, _request(tmp_path, folder), KINDS, 16, workers=2)
    assert _same(tmp_path, reference)


def test_few_stores_at_a_time_give_what_all_at_once_give(tmp_path, folder, reference, monkeypatch):
    monkeypatch.setattr(store, "AT_ONCE", 1)
    reports = []
    jobs = [Job(tmp_path / name, _request(tmp_path, folder), KINDS, 16) for name in ("a", "b")]
    store.extend(jobs, workers=1, report=lambda done, total: reports.append((done, total)))
    assert all(_same(tmp_path / name, reference) for name in ("a", "b"))
    assert reports == sorted(reports)
    assert reports[-1] == (2 * 16 * 19, 2 * 16 * 19)


def test_draws_that_are_added_give_what_all_at_once_give(tmp_path, folder, reference):
    request = _request(tmp_path, folder)
    for draws in (8, 11, 16):
        _make(tmp_path, request, KINDS, draws)
        assert store.counts(tmp_path / "loss") == [draws]
    assert _same(tmp_path, reference)


def test_a_kind_that_is_added_later_is_the_same(tmp_path, folder, reference):
    request = _request(tmp_path, folder)
    _make(tmp_path, request, KINDS[2:], 8, workers=1)
    assert plan_passes(tmp_path, request, KINDS, 16) == {0: list(KINDS[:2]), 8: [KINDS[2]]}
    _make(tmp_path, request, KINDS, 16, workers=1)
    assert plan_passes(tmp_path, request, KINDS, 16) == {}
    assert _same(tmp_path, reference)


def _slowly(path, folder):
    made = store.make_shard

    def slow(**arguments):
        made(**arguments)
        time.sleep(1)

    store.make_shard = slow
    _make(path, _request(path, folder), KINDS, 16, workers=1)


def test_features_killed_in_the_middle_go_on_to_the_same_bytes(tmp_path, folder, reference):
    process = multiprocessing.get_context("fork").Process(target=_slowly, args=(tmp_path, folder))
    process.start()
    part = tmp_path / "mean" / "draws-00016.part"
    while not (part / "00000.safetensors").exists():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (part / "00002.safetensors").exists()
    before = (part / "00000.safetensors").stat().st_mtime_ns
    _make(tmp_path, _request(tmp_path, folder), KINDS, 16, workers=1)
    assert (tmp_path / "mean" / "draws-00016" / "00000.safetensors").stat().st_mtime_ns == before
    assert _same(tmp_path, reference)


def test_means_are_over_the_draws_that_are_kept(reference):
    found = Features.open(reference, KINDS[0])
    values = _values(reference, KINDS[0])
    torch.testing.assert_close(found.mean(), values["sums"].sum(0) / 16)
    torch.testing.assert_close(found.mean(without=3), (values["sums"].sum(0) - values["sums"][3]) / 14)
    kept = [index for index in range(16) if store.group(index) != 3]
    torch.testing.assert_close(found.loss(without=3), values["losses"][:, kept].mean(1))


def test_half_precision_is_near_and_can_not_be_extended(tmp_path, folder, reference):
    request = _request(tmp_path, folder, precision="float16")
    _make(tmp_path, request, KINDS, 16, workers=1)
    for kind in KINDS:
        exact, found = Features.open(reference, kind).mean(), Features.open(tmp_path, kind).mean()
        assert 0 < (found - exact).norm() / exact.norm() < 1e-3
    with pytest.raises(ConfigError, match="half precision, which can't be extended to 24"):
        _make(tmp_path, request, KINDS, 24, workers=1)


def _other_model(folder, tmp_path):
    other = DiffusionModel.load(folder)
    other.network.conv_in.bias.data += 1
    other.save(tmp_path / "other")
    return tmp_path / "other"


def test_a_store_of_another_model_is_refused(tmp_path, folder):
    _make(tmp_path, _request(tmp_path, folder), KINDS[:1], 8)
    other = _request(tmp_path, _other_model(folder, tmp_path))
    with pytest.raises(MismatchError, match=r"inputs\.model"):
        _make(tmp_path, other, KINDS[:1], 8)


def test_a_store_of_other_examples_is_refused(tmp_path, folder):
    examples = _request(tmp_path, folder).examples
    with pytest.raises(MismatchError, match=r"inputs\.examples"):
        prepare(tmp_path, Checkpoint(folder), Examples(IDS[1:], X[1:]), Compression(width=300))
    assert examples.exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": Own(Draws(2))}, "seed"),
        ({"source": Own(Draws(1, antithetic=True))}, "antithetic"),
        ({"batch": 16}, "batch"),
        ({"fingerprint": "another"}, "examples"),
    ],
)
def test_features_that_were_made_otherwise_are_refused(tmp_path, folder, change, named):
    request = _request(tmp_path, folder)
    _make(tmp_path, request, KINDS[:1], 8, workers=1)
    with pytest.raises(MismatchError, match=named):
        _make(tmp_path, replace(request, **change), KINDS[:1], 8, workers=1)


def test_features_of_another_version_of_the_mathematics_are_refused(tmp_path, folder, monkeypatch):
    request = _request(tmp_path, folder)
    _make(tmp_path, request, KINDS[:1], 8, workers=1)
    older = {**request.subject.compression, "version": 0}
    newer = replace(request, subject=replace(request.subject, compression=older))
    with pytest.raises(MismatchError, match="compression.version: there"):
        _make(tmp_path, newer, KINDS[:1], 8, workers=1)
    monkeypatch.setattr("whence.gradients.preparing.VERSION", 0)
    with pytest.raises(MismatchError, match="version: there"):
        _request(tmp_path, folder)


def test_a_model_that_changes_in_between_is_refused(tmp_path, folder):
    request = _request(tmp_path, folder)
    changed = replace(request, subject=replace(request.subject, model=Checkpoint(_other_model(folder, tmp_path))))
    with pytest.raises(MismatchError, match="changed while features were made"):
        _make(tmp_path, changed, KINDS[:1], 8, workers=1)


@pytest.mark.parametrize(
    ("draws", "message"), [(7, "At least 8 draws are needed"), (8, "16 draws already"), (0, "given 0")]
)
def test_too_few_draws_are_refused(reference, folder, draws, message):
    with pytest.raises(ConfigError, match=message):
        plan_passes(reference, _request(reference, folder), KINDS, draws)


def test_damage_and_absence_are_told(tmp_path, folder):
    with pytest.raises(ArtefactError, match="holds no features of 'loss'"):
        Features.open(tmp_path, KINDS[0])
    _make(tmp_path, _request(tmp_path, folder), KINDS[:1], 8, workers=1)
    file = tmp_path / "loss" / "draws-00008" / "00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match="damaged"):
        Features.open(tmp_path, KINDS[0])


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        ((), X[:0], "no examples"),
        (("a", "a"), X[:2], "only 1 different ids"),
        (("a",), X[:2], "1 ids, but 2 values"),
    ],
)
def test_examples_that_do_not_fit_are_refused(ids, values, message):
    with pytest.raises(DataError, match=message):
        Examples(ids, values)


def test_images_of_another_size_are_refused(tmp_path, folder):
    with pytest.raises(DataError, match="are 1x4x4; the model takes 1x8x8"):
        prepare(tmp_path, Checkpoint(folder), Examples(IDS, X[:, :, :4, :4]), Compression(width=300))


def test_examples_are_read_as_they_were_written(tmp_path):
    examples = Examples(IDS[::-1], X, {"caption": torch.arange(19)})
    examples.write(tmp_path / "examples")
    found = Examples.read(tmp_path / "examples")
    assert (found.ids, found.fingerprint) == (IDS, examples.fingerprint)
    assert found.conditions_of([0, 2])["caption"].tolist() == [18, 16]
    assert torch.equal(found.x(range(19)), examples.sorted().x(range(19)))
