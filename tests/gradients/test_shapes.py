"""Features of examples of several shapes: each as it is alone, and at the same place of one canvas of shared noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from whence.config import ModelConfig
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.engine import Engine
from whence.gradients import make_features as module
from whence.gradients.compression import Compression
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.features import Feature
from whence.gradients.gradient_spec import make_gradient_spec
from whence.gradients.make_features import FeatureJob, make_features
from whence.gradients.readouts import Outcome, signs
from whence.gradients.stored_features import StoredFeatures
from whence.ragged import stack_rows

SHAPES = ((1, 8, 8), (1, 6, 10), (1, 10, 6))
NAMES = tuple("kjihgfedcba")
KINDS = (Feature("loss"), Feature("loss", normalised=True), Feature("signs"))
CANVAS = (10, 10)
OWN, SHARED = OwnDraws(Draws(1)), OwnDraws(Draws(1, shared=True, canvas=CANVAS))


@pytest.fixture(scope="module")
def pictures() -> Examples:
    """Eleven pictures of three shapes, neither ordered by id nor by shape."""
    random = np.random.default_rng(0)
    rows = [random.integers(0, 256, SHAPES[n % 3], dtype=np.uint8) for n in range(len(NAMES))]
    return Examples(NAMES, stack_rows(rows).map(torch.from_numpy))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0).save(path)
    return path


@pytest.fixture(scope="module")
def spec(pictures, folder, tmp_path_factory):
    return make_gradient_spec(tmp_path_factory.mktemp("spec"), Checkpoint(folder), pictures, Compression(width=200))


def made(path, spec, examples, source, batch=4) -> tuple[dict[str, dict[str, torch.Tensor]], FeatureJob]:
    """Sums, norms and losses by kind and id, and the job that made them."""
    examples.write(path / "examples")
    job = FeatureJob(path, spec, path / "examples", examples.fingerprint, source, 12, KINDS, batch)
    make_features([job], engine=Engine(1))
    found = {}
    for kind in KINDS:
        stored = StoredFeatures.open(path, kind)
        parts = [(shard.sums.transpose(0, 1).flatten(1), shard.norms, shard.losses) for shard in stored.shards()]
        rows = torch.cat([torch.cat(part, 1) for part in parts])
        found[kind.name] = dict(zip(stored.ids, rows, strict=True))
    return found, job


@pytest.fixture(scope="module")
def whole(tmp_path_factory, spec, pictures):
    """The features at own draws, and the job that made them; only to be read."""
    return made(tmp_path_factory.mktemp("whole"), spec, pictures, OWN)


@pytest.mark.parametrize("source", [OWN, SHARED], ids=["own draws", "shared draws"])
def test_features_of_several_shapes_are_those_of_each_alone(tmp_path, pictures, spec, source):
    together, _ = made(tmp_path / "all", spec, pictures, source)
    for n, name in enumerate(NAMES[:5]):
        alone, _ = made(tmp_path / name, spec, pictures.select([n]), source)
        for kind, rows in together.items():
            assert torch.allclose(rows[name], alone[kind][name], rtol=2e-4, atol=2e-6), (kind, name)


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 2, 8])
def test_features_do_not_depend_on_the_size_of_batches(tmp_path, pictures, spec, whole, batch):
    expected, _ = whole
    found, _ = made(tmp_path / "other", spec, pictures, OWN, batch)
    for kind, rows in expected.items():
        for name, row in rows.items():
            assert torch.allclose(found[kind][name], row, rtol=2e-4, atol=2e-6)


def test_the_order_of_examples_changes_no_bit(tmp_path, pictures, spec, whole):
    expected, _ = whole
    order = [7, 2, 9, 0, 5, 10, 1, 8, 3, 6, 4]
    found, _ = made(tmp_path / "other", spec, pictures.select(order), OWN)
    assert pictures.select(order).fingerprint == pictures.fingerprint
    assert all(torch.equal(found[kind][name], row) for kind, rows in expected.items() for name, row in rows.items())


def test_an_interrupted_pass_goes_on_to_the_same_bytes(tmp_path, pictures, spec, whole, monkeypatch):
    expected, _ = whole
    pictures.write(tmp_path / "part" / "examples")
    job = FeatureJob(tmp_path / "part", spec, tmp_path / "part" / "examples", pictures.fingerprint, OWN, 12, KINDS, 4)
    write, left = module.write_sums, [4]

    def fail(*arguments):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_sums", fail)
        with pytest.raises(KeyboardInterrupt):
            make_features([job], engine=Engine(1))
    found, _ = made(tmp_path / "part", spec, pictures, OWN)
    assert all(torch.equal(found[kind][name], row) for kind, rows in expected.items() for name, row in rows.items())


def test_more_draws_are_those_of_all_at_once(tmp_path, pictures, spec, whole):
    expected, job = whole
    pictures.write(tmp_path / "part" / "examples")
    part = replace(job, path=tmp_path / "part", examples=tmp_path / "part" / "examples")
    make_features([replace(part, draws=8)], engine=Engine(1))
    found, _ = made(tmp_path / "part", spec, pictures, OWN)
    assert all(torch.equal(found[kind][name], row) for kind, rows in expected.items() for name, row in rows.items())


@pytest.mark.parametrize("shape", SHAPES)
def test_shared_noise_and_signs_are_the_centre_of_one_canvas(shape):
    _, height, width = shape
    top, left = (CANVAS[0] - height) // 2, (CANVAS[1] - width) // 2
    place = (..., slice(top, top + height), slice(left, left + width))
    at = np.array([0, 3])
    _, noise = SHARED(["a", "b"], at, shape)
    drawn = normals(keys("noise", 1, ["", ""]), at, (1, *CANVAS))
    assert torch.equal(noise, drawn[place])
    output = torch.zeros(2, *shape)
    found = Outcome(output, output, torch.ones(2), torch.ones(2), at, CANVAS).signs
    assert torch.equal(found, signs("output", at, 100).reshape(2, 1, *CANVAS)[place])


def test_a_canvas_of_the_shape_itself_changes_no_bit():
    draws, at = Draws(1, shared=True), np.arange(4)
    plain, same = (one(["a"] * 4, at, (3, 6, 10)) for one in (draws, replace(draws, canvas=(6, 10))))
    assert all(torch.equal(a, b) for a, b in zip(plain, same, strict=True))
    assert "canvas" not in draws.record()
