import pytest
import torch

from whence.config import ModelConfig
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError
from whence.gradients.readouts import READOUTS, Outcome, outcome, readout


def _model(prediction="epsilon", **settings) -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(channels=(8,), prediction=prediction, **settings), (2, 8, 8), seed=0)


@pytest.mark.parametrize("name", READOUTS)
def test_the_cotangent_is_what_autograd_says(name):
    o = torch.randn(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    y, (w, b) = torch.randn(3, 2, 4, 5, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64)
    value = readout(name).value(Outcome(o, y, w, b))
    assert value.shape == (3,)
    (expected,) = torch.autograd.grad(value.sum(), o)
    torch.testing.assert_close(readout(name).cotangent(Outcome(o.detach(), y, w, b)), expected)


def test_the_loss_readout_is_the_loss_of_training():
    model = _model("v_prediction")
    x, noise, t = torch.randn(4, 2, 8, 8), torch.randn(4, 2, 8, 8), torch.tensor([0, 10, 500, 999])
    with torch.no_grad():
        output = model.network(model.process.noised(x, t, noise), t).sample
        torch.testing.assert_close(readout("loss").value(outcome(model, output, x, t, noise)), model.loss(x, t, noise))


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_elbo_weights_the_same_error_of_the_noise_alike(prediction):
    """The same clean image, expressed by another prediction type, has the same ELBO-weighted loss."""
    x, noise, guess = (torch.randn(5, 2, 8, 8, dtype=torch.float64) for _ in range(3))
    t = torch.tensor([1, 20, 300, 700, 950])
    noise_model, other = _model("epsilon"), _model(prediction)
    x_t = noise_model.process.noised(x, t, noise)
    a, s = (part.reshape(-1, 1, 1, 1) for part in _signal_and_noise(noise_model, t))
    guessed_x = (x_t - s * guess) / a
    output = guessed_x if prediction == "sample" else a * guess - s * guessed_x
    elbo = readout("elbo")
    here = Outcome(
        guess, noise_model.process.target(x, t, noise), torch.ones(len(t)), noise_model.process.elbo_weight(t)
    )
    there = Outcome(output, other.process.target(x, t, noise), torch.ones(len(t)), other.process.elbo_weight(t))
    torch.testing.assert_close(elbo.value(there), elbo.value(here))


def _signal_and_noise(model, t):
    bar = model.scheduler.alphas_cumprod.double()[t]
    return bar.sqrt(), (1 - bar).sqrt()


def test_elbo_weight_of_the_noise_is_the_formula_of_ddpm():
    model = _model("epsilon", schedule="linear")
    beta, bar = model.scheduler.betas.double(), model.scheduler.alphas_cumprod.double()
    expected = beta / (2 * (1 - beta) * (1 - bar))
    torch.testing.assert_close(model.process.elbo_weight(torch.arange(1000)), expected, rtol=1e-3, atol=0)


def test_an_unknown_readout_is_refused():
    with pytest.raises(ConfigError, match="There is no readout 'hope'; there are loss"):
        readout("hope")
