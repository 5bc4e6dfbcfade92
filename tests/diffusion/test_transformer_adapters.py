"""Adapters of Stable Diffusion 3 and FLUX: files of diffusers, PEFT, kohya and others, and trained ones."""

import json
import runpy
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

import whence
from whence.attribution.target import Target
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.adapter_file import read_adapter
from whence.diffusion.adapters.layers import attach
from whence.diffusion.conditioner import TEXT
from whence.diffusion.families.flux import Flux
from whence.diffusion.families.stable_diffusion_3 import POOLED
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

MAKE = runpy.run_path(str(Path(__file__).parent.parent / "flow_pipelines.py"))
KINDS = {"SD3": ("stable_diffusion_3", "StableDiffusion3Pipeline"), "FLUX": ("flux", "FluxPipeline")}
FILE = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module", params=KINDS)
def base(request, tmp_path_factory) -> tuple[Path, type]:
    """The folder of a pipeline, and its class."""
    make, kind = KINDS[request.param]
    return MAKE[make](tmp_path_factory.mktemp("base") / make), getattr(diffusers, kind)


def trained_by_peft(kind, folder: Path):
    """A pipeline whose transformer has an adapter with random weights."""
    pipe = kind.from_pretrained(folder, local_files_only=True)
    targets = ["to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "ff.net.2", "linear"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe.transformer.add_adapter(LoraConfig(r=4, lora_alpha=6, target_modules=targets, init_lora_weights=False))
    return pipe


def test_a_file_of_diffusers_draws_as_its_pipeline(base, tmp_path):
    folder, kind = base
    pipe = trained_by_peft(kind, folder)
    metadata = {"transformer_lora_adapter_metadata": pipe.transformer.peft_config["default"].to_dict()}
    kind.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(pipe.transformer), **metadata)
    comparisons = list(PipelineCheck.open(folder, [Adapter(tmp_path / FILE, 0.5)], size=(16, 16)).compare())
    assert all(one.agrees for one in comparisons), comparisons
    assert DiffusionModel.load(folder, (4, 8, 8)).network is not None


def test_a_folder_of_peft_gives_the_weights_of_the_file_of_diffusers(base, tmp_path):
    folder, kind = base
    layers = get_peft_model_state_dict(trained_by_peft(kind, folder).transformer)
    save_file(
        {f"base_model.model.{key}": value for key, value in layers.items()}, tmp_path / "adapter_model.safetensors"
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 6, "peft_type": "LORA"}))
    save_file({f"transformer.{key}": 1.5**0.5 * value for key, value in layers.items()}, tmp_path / FILE)
    own, theirs = read_adapter(Adapter(tmp_path / "adapter_model.safetensors")), read_adapter(Adapter(tmp_path / FILE))
    assert own.network.keys() == theirs.network.keys()
    for name, layer in own.network.items():
        torch.testing.assert_close(layer.delta(), theirs.network[name].delta(), rtol=1e-4, atol=1e-5)


def pair(layer: str, outputs: int, inputs: int, names=("lora_down", "lora_up"), alpha: float | None = 1.0):
    """A and B of rank 2 in a file, and ΔW."""
    source = torch.Generator().manual_seed(len(layer) + outputs)
    a, b = torch.randn(2, inputs, generator=source), torch.randn(outputs, 2, generator=source)
    tensors = {f"{layer}.{names[0]}.weight": a, f"{layer}.{names[1]}.weight": b}
    tensors |= {} if alpha is None else {f"{layer}.alpha": torch.tensor(alpha)}
    return tensors, (1.0 if alpha is None else alpha / 2) * b @ a


#: The first attention's layer of three in one, in the names of several programs.
FUSED = {
    "kohya": ("lora_unet_double_blocks_0_img_attn_qkv", ("lora_down", "lora_up"), 1.0),
    "FLUX's own code": ("diffusion_model.double_blocks.0.img_attn.qkv", ("lora_A", "lora_B"), None),
    "FLUX's own code, with alpha": ("diffusion_model.double_blocks.0.img_attn.qkv", ("lora_down", "lora_up"), 1.0),
    "XLabs": ("double_blocks.0.processor.qkv_lora1", ("down", "up"), None),
}


@pytest.mark.parametrize("program", FUSED)
def test_a_layer_of_three_in_one_becomes_three(program, tmp_path):
    name, sides, alpha = FUSED[program]
    tensors, delta = pair(name, 96, 32, sides, alpha)
    save_file(tensors, tmp_path / "flux.safetensors")
    weights = read_adapter(Adapter(tmp_path / "flux.safetensors"))
    for part, rows in zip("qkv", delta.split(32), strict=True):
        found = weights.network[f"transformer_blocks.0.attn.to_{part}"].delta()
        torch.testing.assert_close(found, rows, rtol=1e-4, atol=1e-5)
    assert weights.network_part == "transformer"


def test_a_single_block_of_kohya_has_the_widths_of_flux(tmp_path):
    tensors, delta = pair("lora_unet_single_blocks_3_linear1", 3 * 3072 + 12288, 3072)
    save_file(tensors, tmp_path / "flux.safetensors")
    found = read_adapter(Adapter(tmp_path / "flux.safetensors")).network
    names = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]
    assert set(found) == {f"single_transformer_blocks.3.{name}" for name in names}
    torch.testing.assert_close(
        found["single_transformer_blocks.3.proj_mlp"].delta()[-5:], delta[-5:], rtol=1e-4, atol=1e-4
    )


def test_an_adapter_of_kohya_draws_as_its_pipeline(tmp_path):
    folder = MAKE["flux"](tmp_path / "flux")
    tensors = pair("lora_unet_double_blocks_0_img_attn_qkv", 96, 32)[0]
    tensors |= pair("lora_unet_double_blocks_0_txt_mlp_2", 32, 128)[0]
    for name in ("q_proj", "out_proj"):
        tensors |= pair(f"lora_te1_text_model_encoder_layers_0_self_attn_{name}", 16, 16)[0]
    save_file(tensors, tmp_path / "flux.safetensors")
    comparisons = list(PipelineCheck.open(folder, [Adapter(tmp_path / "flux.safetensors")], size=(16, 16)).compare())
    assert all(one.agrees for one in comparisons), comparisons
    weights = read_adapter(Adapter(tmp_path / "flux.safetensors"))
    assert len(weights.network) == 4
    assert len(weights.text_encoder) == 2


REFUSED = {
    "T5 of kohya": (
        pair("lora_unet_double_blocks_0_img_attn_qkv", 96, 32)[0] | pair("lora_te3_encoder_block_0", 8, 8)[0],
        "parts that diffusers leaves out",
    ),
    "unknown layer": (pair("lora_unet_double_blocks_0_new_attention", 8, 8)[0], "can't convert them"),
    "Stable Diffusion 3 of kohya": (pair("lora_unet_joint_blocks_0_x_block", 8, 8)[0], "Stable Diffusion 3 by kohya"),
    "another network": (pair("diffusion_model.input_blocks.0", 8, 8)[0], "the names of its own code"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_can_not_be_converted_whole_are_refused(name, tmp_path):
    tensors, message = REFUSED[name]
    save_file(tensors, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match=message):
        read_adapter(Adapter(tmp_path / "lora.safetensors"))


def test_an_adapter_of_another_transformer_is_refused(base, tmp_path):
    tensors, _ = pair("transformer.transformer_blocks.7.attn.to_q", 16, 16, ("lora_A", "lora_B"), None)
    save_file(tensors, tmp_path / FILE)
    network = DiffusionModel.load(base[0], (4, 8, 8)).network
    with pytest.raises(ModelError, match="1 of its 1 layers are not there"):
        attach(network, [read_adapter(Adapter(tmp_path / FILE))])


def data() -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
    ids = tuple("fedcba")
    return Dataset(ids, pixels, tuple((id,) for id in ids), tuple(f"picture {n % 3}" for n in range(6)))


CONFIG = (
    Config()
    .updated("training", steps=4, batch_size=3, warmup=1, checkpoints=1, save_every=2, learning_rate=1e-2, seed=3)
    .updated("adapter", rank=2, alpha=4.0, resolution=16)
)


def test_a_trained_adapter_is_recorded_attributed_and_opened_by_diffusers(base, tmp_path):
    folder, kind = base
    config = CONFIG.updated("process", density="logit_normal", logit_mean=1.0, weighting="cosmap")
    manifest = train(data(), tmp_path / "lora", config, base=folder)
    assert manifest.made["process"] == {"density": "logit_normal", "logit_mean": 1.0, "weighting": "cosmap"}
    assert manifest.made["model"]["density"] == "logit_normal"
    record = Record(tmp_path / "lora")
    assert record["timesteps"].is_floating_point()
    assert record.noise(3, (4, 8, 8)).shape == (3, 4, 8, 8)
    pipe = kind.from_pretrained(folder, local_files_only=True)
    pipe.load_lora_weights(tmp_path / "lora")
    target = Target.open(tmp_path / "lora")
    model, x, t = target.model, torch.ones(2, 4, 8, 8), torch.tensor([300.0, 800.0])
    conditions = model.text.conditions(["a", "b"])
    assert model.process.record() == manifest.made["model"]
    with torch.no_grad():
        own = model.output(x, t, **conditions)
        if kind is diffusers.FluxPipeline:
            theirs = Flux.forward(own_forward(pipe.transformer), x, t, **conditions)
        else:
            theirs = pipe.transformer(x, timestep=t, **conditions).sample
    torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)
    if kind is diffusers.FluxPipeline:
        return  # its texts of 512 tokens make batches of many small pictures slow
    queries = target.queries("sample:2", steps=2)
    few = whence.AttributionConfig(draws=8, compression={"width": 256})
    options = {"config": few, "out": tmp_path / "scores", "engine": whence.Engine(1)}
    scores = whence.attribute(target, data(), queries, ["tangent", "tracin"], **options)
    assert scores["tracin"].scores.shape == (2, 6)
    assert "weighting = cosmap" in scores["tangent"].estimand.process


def own_forward(transformer):
    """A transformer of the pipeline, called as `Flux` is."""
    transformer.__class__ = type("Called", (Flux,), {})
    return transformer


def test_conditions_are_named_as_the_network_names_them():
    assert (TEXT, POOLED) == ("encoder_hidden_states", "pooled_projections")
