"""Images of several shapes on a base of latents: encoded shape by shape, and trained on as one data set."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from whence.config import Config
from whence.data import Dataset
from whence.diffusion import shards
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.draws import Batches
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.loop import Loop
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.record import Record
from whence.diffusion.training import request_of, train, training_cost
from whence.engine import Engine
from whence.ensemble import train_ensemble
from whence.errors import ConfigError, DataError, ModelError
from whence.evaluation.bank.bank_request import BankRequest
from whence.ragged import stack_rows

PLACE = Path(__file__).parent.parent
PIPELINES = runpy.run_path(str(PLACE / "pipelines.py")) | runpy.run_path(str(PLACE / "flow_pipelines.py"))
SHAPES = ((3, 16, 16), (3, 12, 20), (3, 20, 12))
ALL = Augmentation(0, flip=True, sampled=True)
WEIGHTS = "pytorch_lora_weights.safetensors"
CONFIG = (
    Config()
    .updated("training", steps=6, batch_size=4, warmup=2, checkpoints=2, save_every=2, learning_rate=1e-2, seed=3)
    .updated("training", flip=True, latents="sample", caption_dropout=0.3)
    .updated("adapter", rank=2, target="attn2")
)


def of_shapes(*shapes: tuple[int, int, int]) -> Dataset:
    """Random pictures of some shapes with captions, whose ids are not in the order of the alphabet."""
    random, names = np.random.default_rng(0), tuple("nmlkjihgfedcba"[: len(shapes)])
    pixels = stack_rows([random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes])
    return Dataset(
        names, pixels, tuple((name,) for name in names), tuple(f"picture {n % 4}" for n in range(len(names)))
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return of_shapes(*(SHAPES[n % 3] for n in range(10)))


@pytest.fixture(scope="module")
def run(data, stable_diffusion, tmp_path_factory) -> Path:
    """A finished run; only to be read."""
    path = tmp_path_factory.mktemp("buckets") / "lora"
    train(data, path, CONFIG, base=stable_diffusion)
    return path


def test_an_encoding_has_each_image_as_it_is_alone(data, stable_diffusion, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 2)
    encoders = Encoders.of(stable_diffusion)
    kept, held = encoders.encode(data, tmp_path / "encoding", ALL), encoders.encode(data, augmentation=ALL)
    read = encoders.read(data, tmp_path / "encoding", ALL)
    assert kept.sizes == held.sizes == read.sizes == tuple((4, h // 2, w // 2) for _, h, w in data.sizes)
    mirrored = np.array([True])
    for n in range(len(data)):
        alone = encoders.encode(data.select([n]), augmentation=ALL)
        noise = torch.ones(1, *alone.size)
        for many in (kept, held, read):
            assert torch.equal(many.x([n]), alone.x([0]))
            assert torch.equal(many.x([n], mirrored, noise), alone.x([0], mirrored, noise))
            for name, condition in alone.conditions.items():
                assert torch.equal(many.conditions_of([n])[name], condition[[0]])


def test_an_interrupted_encoding_goes_on_to_the_same_bytes(data, stable_diffusion, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 2)
    encoders = Encoders.of(stable_diffusion)
    encoders.encode(data, tmp_path / "whole", ALL)
    write, left = shards.artefacts.write_tensors, [3]

    def fail(*arguments):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shards.artefacts, "write_tensors", fail)
        with pytest.raises(KeyboardInterrupt):
            encoders.encode(data, tmp_path / "part", ALL)
    encoders.encode(data, tmp_path / "part", ALL)
    assert files(tmp_path / "part") == files(tmp_path / "whole")


def files(folder: Path) -> dict[str, bytes]:
    """The files of safetensors in a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.safetensors")}


@pytest.mark.parametrize("augmentation", [Augmentation(0), ALL], ids=["means", "posteriors"])
def test_examples_are_read_as_they_were_written(data, stable_diffusion, tmp_path, augmentation):
    examples = Encoders.of(stable_diffusion).encode(data, augmentation=augmentation)
    examples.write(tmp_path / "examples")
    read = Examples.read(tmp_path / "examples")
    assert read.fingerprint == examples.fingerprint == Examples.read_files(tmp_path / "examples").fingerprint
    assert read.ids == tuple(sorted(data.ids, key=lambda name: (data.sizes[data.ids.index(name)], name)))
    for n, name in enumerate(data.ids):
        assert torch.equal(read.ordered(data.ids).x([n]), examples.x([n]))
        assert torch.equal(read.x([read.ids.index(name)]), examples.x([n]))
    turned = examples.select(range(9, -1, -1))
    assert turned.fingerprint == examples.fingerprint


def test_a_network_gets_the_size_of_each_picture(data, tmp_path):
    encoders = Encoders.of(PIPELINES["stable_diffusion_xl"](tmp_path / "xl"))
    sizes = encoders.conditions(encoders.captions(data), data.sizes)
    for n, (_, height, width) in enumerate(data.sizes):
        own = encoders.text.of_size((3, height, width))
        assert own
        for name, one in own.items():
            assert torch.equal(sizes[name][[n]], one)


def test_a_step_is_that_of_its_visits_one_at_a_time(data, stable_diffusion, tmp_path):
    request = request_of(data, CONFIG, base=stable_diffusion)
    examples, captions = request.examples(tmp_path), request.captions()
    weights = torch.linspace(0.5, 1.5, len(data))
    loop = Loop.start(examples, weights.tolist(), CONFIG.training, tmp_path, request.model(), captions)
    visits = loop.visits(1)
    assert len({tuple(examples.sizes[row]) for row in visits.rows}) > 1
    losses = visits.losses(loop.model)
    ((weights[torch.from_numpy(visits.rows)] * losses).sum() / 4).backward()
    found = {name: p.grad.clone() for name, p in loop.parameters.items()}
    loop.optimiser.zero_grad()
    for n, row in enumerate(visits.rows):
        conditions = {name: one[[n]] for name, one in visits.conditions.items()}
        loss = loop.model.loss(visits.x[n][None], visits.t[[n]], visits.noise[n][None], **conditions)
        assert torch.allclose(losses[n], loss[0], rtol=1e-4)
        (weights[row] * loss[0] / 4).backward()
    for name, p in loop.parameters.items():
        assert torch.allclose(found[name], p.grad, rtol=1e-3, atol=1e-7), name


def test_visits_and_records_are_those_of_one_shape(run, data):
    record = Record(run)
    for step in range(6):
        rows, visits = Batches(data.ids, 4, 3)(step)
        assert np.array_equal(record["rows"][step].numpy(), rows)
        assert np.array_equal(record["visits"][step].numpy(), visits)
        t, _ = record.draws([data.ids[row] for row in rows], visits, (1,))
        assert torch.equal(record["timesteps"][step], t.int())
    assert record["losses"].shape == (6, 4)
    assert record["losses"].isfinite().all()


def test_an_interrupted_run_goes_on_to_the_same_weights(run, data, stable_diffusion, tmp_path):
    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "lora", CONFIG, base=stable_diffusion, engine=Engine(report=stop))
    train(data, tmp_path / "lora", CONFIG, base=stable_diffusion)
    expected, found = (load_file(path / WEIGHTS) for path in (run, tmp_path / "lora"))
    assert all(torch.equal(found[name], one) for name, one in expected.items())


def test_the_cost_is_known_before(data, stable_diffusion):
    assert training_cost(data, CONFIG, base=stable_diffusion).work.startswith("1 x 6 steps")


def test_what_takes_one_shape_refuses_several(data, stable_diffusion, tmp_path):
    ways = {
        "An ensemble": lambda: train_ensemble(data, tmp_path / "ensemble", members=4, base=stable_diffusion),
        "A bank": lambda: BankRequest.make(data, None, base=stable_diffusion),
        "A network that is trained as a whole": lambda: train(data, tmp_path / "network"),
    }
    for what, way in ways.items():
        with pytest.raises(DataError, match=f"{what} takes images of one shape, and these have several: 16x16"):
            way()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="shared_noise is for images of one shape"):
        train(data, tmp_path / "lora", CONFIG.updated("training", shared_noise=True), base=stable_diffusion)


def test_images_larger_than_the_model_draws_are_refused(stable_diffusion):
    data = of_shapes((3, 16, 16), (3, 24, 20))
    with pytest.raises(DataError, match="are up to 20x24 pixels; the model draws 16x16, .* --resolution 22 --buckets"):
        request_of(data, CONFIG, base=stable_diffusion)
    request_of(data, CONFIG.updated("adapter", resolution=24), base=stable_diffusion)


def test_sides_that_the_autoencoder_can_not_have_are_refused(stable_diffusion):
    with pytest.raises(DataError, match="needs sides that are multiples of 2"):
        request_of(of_shapes((3, 16, 16), (3, 15, 16)), CONFIG, base=stable_diffusion)


def test_a_transformer_of_squares_refuses_other_shapes(data, tmp_path):
    classes = data.with_fields(captions=("dog",) * 10)
    with pytest.raises(DataError, match="The network can't take training images of 20x12 pixels"):
        request_of(classes, CONFIG.updated("training", caption_dropout=0.0), base=PIPELINES["dit"](tmp_path / "dit"))


FAMILIES = ("stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux", "pixart")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_is_that_of_its_pipeline_at_the_shape_of_a_bucket(name, tmp_path):
    checked = PipelineCheck.open(PIPELINES[name](tmp_path / name), size=(16, 24))
    assert checked.model.codec.picture_size(checked.model.size) == (3, 16, 24)
    comparisons = list(checked.compare())
    assert len(comparisons) == 4
    assert all(one.agrees for one in comparisons), comparisons


def test_a_pipeline_of_squares_is_not_compared_at_another_shape(tmp_path):
    with pytest.raises(ModelError, match="Pictures of 24x16 pixels can't be compared: .* Give another --resolution"):
        list(PipelineCheck.open(PIPELINES["dit"](tmp_path / "dit"), size=(16, 24)).compare())
