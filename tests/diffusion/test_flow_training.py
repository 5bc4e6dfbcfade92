"""New networks that are trained by flow matching: recorded, drawn by Euler's method, attributed, in an ensemble."""

from pathlib import Path

import diffusers
import pytest
import torch

import whence
from whence.attribution.target import Target
from whence.config import Config, ModelConfig, SamplerConfig
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.record import Record
from whence.diffusion.sampling import default_sampler, draw_pictures, picture_noise
from whence.diffusion.training import request_of, train
from whence.engine import Engine
from whence.ensemble.ablation import ablate
from whence.ensemble.sampling import sample
from whence.ensemble.training import train_ensemble
from whence.errors import ConfigError
from whence.process_config import ProcessConfig
from whence.retraining.rule import RetrainingRule

PROCESS = ProcessConfig(density="logit_normal", logit_mean=0.5, weighting="cosmap", shift=2.0, noise_offset=0.1)


@pytest.fixture(scope="module")
def config(tiny_bank_config) -> Config:
    flow = tiny_bank_config.updated("model", prediction="flow_prediction").updated("training", checkpoints=1, steps=8)
    return flow.model_copy(update={"process": PROCESS, "sampler": SamplerConfig(steps=3)})


@pytest.fixture(scope="module")
def run(tiny_data, config, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("flow") / "run"
    train(tiny_data, path, config)
    return path


def test_the_first_step_is_that_of_a_few_lines(tiny_data, run, config):
    record = Record(run)
    network = DiffusionModel.new(config.model, tiny_data.size, config.training.seed).network
    x = tiny_data.images([tiny_data.index_of(id) for id in record.batch(0)])
    t, noise = record["timesteps"][0], record.noise(0, tiny_data.size)
    sigma = (t / config.model.timesteps).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        output = network((1 - sigma) * x + sigma * noise, t).sample
    weight = 2 / (torch.pi * (1 - 2 * sigma + 2 * sigma.square()))
    expected = (weight * (output - (noise - x)).square()).mean((1, 2, 3))
    torch.testing.assert_close(record["losses"][0], expected, rtol=1e-5, atol=1e-6)
    assert (noise.mean((1, 2, 3)).abs() > 0).all()


def test_a_run_says_how_it_was_trained_wherever_it_is_opened(run, config):
    model = DiffusionModel.load(run)
    assert model.settings == PROCESS
    assert model.process.record() == Target.open(run).model.process.record()
    assert model.process.record()["shift"] == 2.0
    other = DiffusionModel.load(run, settings=ProcessConfig(weighting="none"))
    assert other.settings == PROCESS.model_copy(update={"weighting": "none"})


def test_it_draws_as_its_pipeline(run):
    pipeline = diffusers.DDPMPipeline.from_pretrained(run)
    assert pipeline.scheduler.config.shift == 2.0
    assert all(one.agrees for one in PipelineCheck.open(run).compare())
    model = DiffusionModel.load(run)
    drawn = draw_pictures(model, default_sampler(model).model_copy(update={"steps": 4, "clip": False}), ["0/0"])
    pipeline.scheduler.set_timesteps(4)
    x = picture_noise([(0, 0)], 0, model.size)
    with torch.no_grad():
        for t in pipeline.scheduler.timesteps:
            x = pipeline.scheduler.step(pipeline.unet(x, t).sample, t, x).prev_sample
    torch.testing.assert_close(drawn, x.clamp(-1, 1), atol=1e-5, rtol=1e-5)


def test_it_is_attributed_over_its_record_and_without(tiny_data, run):
    target = Target.open(run)
    queries = target.queries("sample:2", steps=3)
    assert queries.origin.sampler.method == "euler"
    config = whence.AttributionConfig(draws=8, compression={"width": 64})
    scores = whence.attribute(target, tiny_data, queries, ["d-trak", "tracin"], config=config, engine=Engine(1))
    for one in scores.values():
        assert one.scores.shape == (2, 40)
        assert torch.isfinite(one.scores).all()
        assert one.scores.abs().max() > 0


def test_an_ensemble_of_flows_leaves_a_unit_out(tiny_data, config, tmp_path):
    config = config.updated("training", steps=1, checkpoints=0)
    ensemble = train_ensemble(tiny_data, tmp_path / "ens", members=6, config=config, engine=Engine(1))
    assert ensemble.reference_model.settings == PROCESS
    samples = sample(ensemble, count=1, engine=Engine(1))
    assert samples.drawing.sampler.method == "euler"
    [ablation] = ablate(ensemble, "0/0", units=["u1"], engine=Engine(1))
    assert ablation.distance > 0


def test_a_model_of_a_coalition_is_of_the_same_process(tiny_data, run, config, tmp_path):
    start, settings = DiffusionModel.load(run), request_of(tiny_data, config).config
    rule = RetrainingRule(kind="retraining")
    again = rule.train(tiny_data, torch.arange(20).numpy(), tmp_path / "half", settings, start=start)
    assert again.settings == PROCESS
    assert again.process.record() == start.process.record()


def test_other_networks_may_have_settings_too(tiny_data, tiny_bank_config, tmp_path):
    config = tiny_bank_config.model_copy(update={"process": ProcessConfig(snr_gamma=5.0, noise_offset=0.1)})
    train(tiny_data, tmp_path / "run", config)
    train(tiny_data, tmp_path / "plain", tiny_bank_config)
    assert "process" not in request_of(tiny_data, tiny_bank_config).made
    assert DiffusionModel.load(tmp_path / "run").settings == config.process
    noise = [Record(run).noise(0, tiny_data.size) for run in (tmp_path / "run", tmp_path / "plain")]
    offset = noise[0] - noise[1]
    torch.testing.assert_close(offset, offset.mean((2, 3), keepdim=True).expand_as(offset), atol=1e-6, rtol=0)
    assert offset.abs().min() > 0


def test_settings_that_state_every_default_are_those_that_state_none(tiny_data, config, tmp_path):
    own = config.model_copy(update={"sampler": SamplerConfig()})
    (tmp_path / "all.toml").write_text(own.to_toml())
    stated = request_of(tiny_data, whence.read_config(tmp_path / "all.toml")).config
    assert stated == request_of(tiny_data, own).config
    assert stated.sampler.method == "euler"


REFUSED = {
    "μ of a new network": (ModelConfig(prediction="flow_prediction"), ProcessConfig(mu=1.0), "process.shift"),
    "a density without a flow": (ModelConfig(), ProcessConfig(density="mode"), "density means nothing"),
    "min-SNR of a flow": (ModelConfig(prediction="flow_prediction"), ProcessConfig(snr_gamma=5.0), "snr_gamma means"),
}


@pytest.mark.parametrize(("model", "process", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_do_not_fit_are_refused(tiny_data, model, process, message):
    with pytest.raises(ConfigError, match=message):
        request_of(tiny_data, Config(model=model, process=process))


def test_a_flow_of_latents_and_another_process_than_that_of_a_start_are_refused(tiny_data, run, stable_diffusion):
    with pytest.raises(ConfigError, match="not as a flow"):
        request_of(tiny_data, Config(model=ModelConfig(prediction="flow_prediction")), autoencoder=stable_diffusion)
    with pytest.raises(ConfigError, match="The process is that of `start`"):
        request_of(tiny_data, Config(process=ProcessConfig(shift=3.0)), start=DiffusionModel.load(run))
