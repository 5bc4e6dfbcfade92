"""Every call hands conditions through, row by row: a network of ten classes against itself asked for one class."""

import copy
import runpy
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from whence.config import SamplerConfig
from whence.diffusion.checks import require_finite
from whence.diffusion.denoiser import predict
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.sampling import Guidance, draw_pictures, predicted_clean
from whence.diffusion.training import request_of, time_step, train
from whence.errors import DataError, NotFiniteError

PIPELINES = runpy.run_path(str(Path(__file__).parent.parent / "pipelines.py"))
NAMES = ["0/0", "3/1", "0/7"]
CLASSES = torch.tensor([3, 1, 9])
DDIM = SamplerConfig(method="ddim", steps=3, batch_size=2)


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    """Its class embeddings are large enough to see."""
    torch.manual_seed(0)
    network = PIPELINES["class_network"]()
    return DiffusionModel(network.eval(), DDPMScheduler(prediction_type="v_prediction"))


class OfOneClass(nn.Module):
    """The same network, asked for one class."""

    def __init__(self, network, label: int) -> None:
        super().__init__()
        self.network, self.label = network, label

    def forward(self, x, t):
        return self.network(x, t, class_labels=torch.full((len(x),), self.label))


def of_class(model: DiffusionModel, label: int) -> DiffusionModel:
    return DiffusionModel(OfOneClass(model.network, label), model.scheduler, model.size)


def test_each_row_of_a_canonical_batch_has_its_own_conditions(model):
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([0, 500, 999])
    together = predict(model.network, x, t, 2, {"class_labels": CLASSES})
    for n, label in enumerate(CLASSES.tolist()):
        alone = predict(OfOneClass(model.network, label), x[n : n + 1], t[n : n + 1], 2)
        assert torch.equal(together[n], alone[0])


def test_a_picture_is_drawn_under_its_own_conditions(model):
    drawn = draw_pictures(model, DDIM, NAMES, conditions={"class_labels": CLASSES})
    _, clean = predicted_clean(model, DDIM, NAMES, conditions={"class_labels": CLASSES})
    for n, label in enumerate(CLASSES.tolist()):
        assert torch.equal(drawn[n], draw_pictures(of_class(model, label), DDIM, NAMES[n : n + 1])[0])
    assert torch.equal(clean[-1].clamp(-1, 1), drawn)


def test_guidance_of_0_and_1_are_the_two_predictions(model):
    none = torch.tensor([0, 0, 0])
    for scale, label in ((0.0, none), (1.0, CLASSES)):
        guidance = Guidance(scale, {"class_labels": none})
        found = draw_pictures(model, DDIM, NAMES, conditions={"class_labels": CLASSES}, guidance=guidance)
        torch.testing.assert_close(found, draw_pictures(model, DDIM, NAMES, conditions={"class_labels": label}))


class Guided(nn.Module):
    """The formula of classifier-free guidance, written out, as a network."""

    def __init__(self, network, scale: float, label: int) -> None:
        super().__init__()
        self.network, self.scale, self.label = network, scale, label

    def forward(self, x, t):
        conditional, unconditional = (
            self.network(x, t, class_labels=torch.full((len(x),), label)).sample for label in (self.label, 0)
        )
        return (1 - self.scale) * unconditional + self.scale * conditional


@pytest.mark.parametrize("method", ["ddim", "ddpm"])
def test_guidance_against_its_formula(model, method):
    sampler = DDIM.model_copy(update={"method": method})
    given = {"class_labels": torch.full((3,), 4)}
    found = draw_pictures(
        model, sampler, NAMES, conditions=given, guidance=Guidance(2.5, {"class_labels": torch.zeros(3).long()})
    )
    written = DiffusionModel(Guided(model.network, 2.5, 4), model.scheduler, model.size)
    torch.testing.assert_close(found, draw_pictures(written, sampler, NAMES), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, draw_pictures(model, sampler, NAMES, conditions=given), atol=1e-2)


def test_a_loss_that_is_not_finite_is_found_under_its_conditions(model):
    broken = copy.deepcopy(model)
    broken.network.class_embedding.weight.data[9] = torch.nan
    x, t, noise = torch.zeros(3, 1, 8, 8), torch.tensor([0, 500, 999]), torch.ones(3, 1, 8, 8)
    with pytest.raises(NotFiniteError, match=r"for c\. The first layer .* is class_embedding"):
        require_finite(broken, x, t, noise, list("abc"), "here", {"class_labels": CLASSES})
    require_finite(broken, x, t, noise, list("abc"), "here", {"class_labels": torch.tensor([0, 1, 2])})


def test_training_sees_the_conditions_of_every_example(tiny_data, tiny_bank_config, model, tmp_path):
    labels = torch.tensor([int(caption) for caption in tiny_data.captions])
    conditions = {"class_labels": labels}
    train(tiny_data, tmp_path / "run", tiny_bank_config, start=model, conditions=conditions)
    record = Record(tmp_path / "run")
    rows = record["rows"][0].long()
    x, noise = tiny_data.images(rows.numpy()), record.noise(0, tiny_data.size)
    with torch.no_grad():
        losses = model.loss(x, record["timesteps"][0].long(), noise, class_labels=labels[rows])
    torch.testing.assert_close(record["losses"][0], losses)
    before = (tmp_path / "run" / "manifest.json").stat().st_mtime_ns
    train(tiny_data, tmp_path / "run", tiny_bank_config, start=model, conditions=conditions)
    assert (tmp_path / "run" / "manifest.json").stat().st_mtime_ns == before
    seconds, _ = time_step(request_of(tiny_data, tiny_bank_config, start=model, conditions=conditions))
    assert seconds > 0


@pytest.mark.parametrize(
    ("rows", "conditional", "message"),
    [(39, True, "There are 40 training examples, but 39 rows of 'class_labels'"), (40, False, "take no conditions")],
)
def test_conditions_that_training_cannot_use_are_refused(
    tiny_data, tiny_bank_config, model, tmp_path, rows, conditional, message
):
    conditions = {"class_labels": torch.zeros(rows).long()}
    with pytest.raises(DataError, match=message):
        train(
            tiny_data,
            tmp_path / "run",
            tiny_bank_config,
            start=model if conditional else None,
            conditions=conditions,
        )
