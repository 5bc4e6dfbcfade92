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
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError
from whence.gradients import make_features as module
from whence.gradients.compression import Compression
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.features import Feature, group
from whence.gradients.gradient_spec import make_gradient_spec
from whence.gradients.make_features import FeatureJob, make_features
from whence.gradients.stored_features import StoredFeatures, draw_counts

IDS = tuple(f"image {n:02d}" for n in range(19))
X = torch.randint(0, 256, (19, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SERIAL = Engine(1)
KINDS = (Feature("loss"), Feature("loss", normalised=True), Feature("mean"))
FILES = ("sums", "norms", "losses")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0).save(path)
    return path


def _job(path, folder, order=None, compression=None, **changes):
    """All kinds of features at 16 draws, unless changes say otherwise."""
    rows = list(range(19)) if order is None else order
    examples = Examples(tuple(IDS[n] for n in rows), X[rows])
    examples.write(path / "examples")
    place = path if compression else folder / "widths"
    spec = make_gradient_spec(place, Checkpoint(folder), examples, compression or Compression(width=300))
    job = FeatureJob(path, spec, path / "examples", examples.fingerprint, OwnDraws(Draws(1)), 16, KINDS, batch=8)
    return replace(job, **changes)


def _make(job, kinds=KINDS, draws=16, engine=SERIAL):
    make_features([replace(job, kinds=kinds, draws=draws)], engine=engine)


def _values(path, kind):
    found = StoredFeatures.open(path, kind)
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
    _make(_job(path, folder), engine=Engine(1))
    return path


def test_the_order_of_the_examples_does_not_matter(tmp_path, folder, reference):
    order = torch.randperm(19, generator=torch.Generator().manual_seed(1)).tolist()
    _make(_job(tmp_path, folder, order), engine=Engine(1))
    assert tuple(StoredFeatures.open(tmp_path, KINDS[0]).ids) == IDS
    assert _same(tmp_path, reference)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path, folder, reference):
    _make(_job(tmp_path, folder), engine=Engine(2))
    assert _same(tmp_path, reference)


@pytest.mark.slow
def test_few_stores_at_a_time_give_what_all_at_once_give(tmp_path, folder, reference, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 1)
    reports = []
    job = _job(tmp_path, folder)
    jobs = [replace(job, path=tmp_path / name) for name in ("a", "b")]
    make_features(jobs, engine=Engine(1, lambda done, total: reports.append((done, total))))
    assert all(_same(tmp_path / name, reference) for name in ("a", "b"))
    assert reports == sorted(reports)
    assert reports[-1] == (2 * 16 * 19, 2 * 16 * 19)


def test_draws_that_are_added_give_what_all_at_once_give(tmp_path, folder, reference):
    job = _job(tmp_path, folder)
    for draws in (8, 11, 16):
        _make(job, KINDS, draws)
        assert draw_counts(tmp_path / "loss") == [draws]
    assert _same(tmp_path, reference)


@pytest.mark.slow
def test_a_kind_that_is_added_later_is_the_same(tmp_path, folder, reference):
    job = _job(tmp_path, folder)
    _make(job, KINDS[2:], 8, engine=Engine(1))
    assert job.missing() == {0: list(KINDS[:2]), 8: [KINDS[2]]}
    _make(job, engine=Engine(1))
    assert job.missing() == {}
    assert _same(tmp_path, reference)


def _slowly(path, folder):
    made = module.make_shard

    def slow(**arguments):
        made(**arguments)
        time.sleep(1)

    module.make_shard = slow
    _make(_job(path, folder), engine=Engine(1))


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
    _make(_job(tmp_path, folder), engine=Engine(1))
    assert (tmp_path / "mean" / "draws-00016" / "00000.safetensors").stat().st_mtime_ns == before
    assert _same(tmp_path, reference)


def test_means_are_over_the_draws_that_are_kept(reference):
    found = StoredFeatures.open(reference, KINDS[0])
    values = _values(reference, KINDS[0])
    torch.testing.assert_close(found.mean(), values["sums"].sum(0) / 16)
    torch.testing.assert_close(found.mean(without=3), (values["sums"].sum(0) - values["sums"][3]) / 14)
    kept = [index for index in range(16) if group(index) != 3]
    torch.testing.assert_close(found.loss(without=3), values["losses"][:, kept].mean(1))


def test_half_precision_is_near_and_can_not_be_extended(tmp_path, folder, reference):
    job = _job(tmp_path, folder, precision="float16")
    _make(job, engine=Engine(1))
    for kind in KINDS:
        exact, found = StoredFeatures.open(reference, kind).mean(), StoredFeatures.open(tmp_path, kind).mean()
        assert 0 < (found - exact).norm() / exact.norm() < 1e-3
    with pytest.raises(ConfigError, match="half precision, which can't be extended to 24"):
        _make(job, KINDS, 24, engine=Engine(1))


def _other_model(folder, tmp_path):
    other = DiffusionModel.load(folder)
    other.network.conv_in.bias.data += 1
    other.save(tmp_path / "other")
    return tmp_path / "other"


def test_a_store_of_another_model_is_refused(tmp_path, folder):
    _make(_job(tmp_path, folder), KINDS[:1], 8)
    other = _job(tmp_path, _other_model(folder, tmp_path))
    with pytest.raises(MismatchError, match=r"inputs\.model"):
        _make(other, KINDS[:1], 8)


def test_a_store_of_other_examples_is_refused(tmp_path, folder):
    examples = _job(tmp_path, folder).examples
    with pytest.raises(MismatchError, match=r"inputs\.examples"):
        make_gradient_spec(folder / "widths", Checkpoint(folder), Examples(IDS[1:], X[1:]), Compression(width=300))
    assert examples.exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": OwnDraws(Draws(2))}, "seed"),
        ({"source": OwnDraws(Draws(1, antithetic=True))}, "antithetic"),
        ({"batch": 16}, "batch"),
        ({"fingerprint": "another"}, "examples"),
    ],
)
def test_features_that_were_made_otherwise_are_refused(tmp_path, folder, change, named):
    job = _job(tmp_path, folder)
    _make(job, KINDS[:1], 8, engine=Engine(1))
    with pytest.raises(MismatchError, match=named):
        _make(replace(job, **change), KINDS[:1], 8, engine=Engine(1))


def test_features_of_another_version_of_the_mathematics_are_refused(tmp_path, folder, monkeypatch):
    job = _job(tmp_path, folder)
    _make(job, KINDS[:1], 8, engine=Engine(1))
    older = {**job.spec.compression, "version": 0}
    newer = replace(job, spec=replace(job.spec, compression=older))
    with pytest.raises(MismatchError, match="compression.version: there"):
        _make(newer, KINDS[:1], 8, engine=Engine(1))
    monkeypatch.setattr("whence.gradients.gradient_spec.VERSION", 0)
    with pytest.raises(MismatchError, match="version: there"):
        _job(tmp_path, folder)


def test_a_model_that_changes_in_between_is_refused(tmp_path, folder):
    job = _job(tmp_path, folder)
    changed = replace(job, spec=replace(job.spec, checkpoint=Checkpoint(_other_model(folder, tmp_path))))
    with pytest.raises(MismatchError, match="changed while features were made"):
        _make(changed, KINDS[:1], 8, engine=Engine(1))


@pytest.mark.parametrize(
    ("draws", "message"), [(7, "At least 8 draws are needed"), (8, "16 draws already"), (0, "given 0")]
)
def test_too_few_draws_are_refused(reference, folder, draws, message):
    with pytest.raises(ConfigError, match=message):
        _job(reference, folder, draws=draws).missing()


def test_damage_and_absence_are_told(tmp_path, folder):
    with pytest.raises(ArtefactError, match="holds no features of 'loss'"):
        StoredFeatures.open(tmp_path, KINDS[0])
    _make(_job(tmp_path, folder), KINDS[:1], 8, engine=Engine(1))
    file = tmp_path / "loss" / "draws-00008" / "00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match="damaged"):
        StoredFeatures.open(tmp_path, KINDS[0])


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
        make_gradient_spec(tmp_path, Checkpoint(folder), Examples(IDS, X[:, :, :4, :4]), Compression(width=300))


def test_examples_are_read_as_they_were_written(tmp_path):
    examples = Examples(IDS[::-1], X, {"caption": torch.arange(19)})
    examples.write(tmp_path / "examples")
    found = Examples.read(tmp_path / "examples")
    assert (found.ids, found.fingerprint) == (IDS, examples.fingerprint)
    assert found.conditions_of([0, 2])["caption"].tolist() == [18, 16]
    assert torch.equal(found.x(range(19)), examples.sorted().x(range(19)))
