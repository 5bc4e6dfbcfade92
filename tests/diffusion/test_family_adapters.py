"""Adapters of Stable Diffusion XL, DiT and PixArt: files of diffusers, PEFT and kohya's trainer, against diffusers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

from whence.config import Config
from whence.data import Dataset
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.layers import LoraLayer
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.training import train
from whence.errors import ModelError

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
WORDS = ["q_proj", "k_proj", "v_proj", "out_proj"]


@pytest.fixture(scope="module")
def xl(tmp_path_factory, pipelines) -> Path:
    return pipelines["stable_diffusion_xl"](tmp_path_factory.mktemp("xl") / "xl")


@pytest.fixture(scope="module")
def parts(xl):
    """Trained weights by part, by names of PEFT; B is not zero."""
    pipe = StableDiffusionXLPipeline.from_pretrained(xl)
    found, random = {}, torch.Generator().manual_seed(0)
    for part, targets in (("unet", ATTENTION), ("text_encoder", WORDS), ("text_encoder_2", WORDS)):
        network = getattr(pipe, part)
        inject_adapter_in_model(LoraConfig(r=2, lora_alpha=2, target_modules=targets), network)
        state = get_peft_model_state_dict(network)
        found[part] = {key: 0.2 * torch.randn(value.shape, generator=random) for key, value in state.items()}
    return found


def of_diffusers(parts, folder: Path) -> Path:
    StableDiffusionXLPipeline.save_lora_weights(folder, parts["unet"], parts["text_encoder"], parts["text_encoder_2"])
    return folder / "pytorch_lora_weights.safetensors"


#: Blocks of the small UNet (two layers a block, of which the second has attention) in the code before diffusers.
OLD_BLOCKS = {
    "down_blocks_1_attentions_0": "input_blocks_3_1",
    "mid_block_attentions_0": "middle_block_1",
    "up_blocks_0_attentions_0": "output_blocks_0_1",
    "up_blocks_0_attentions_1": "output_blocks_1_1",
}


def of_kohya(parts, folder: Path, old: bool) -> Path:
    tensors = {}
    for part, prefix in (("unet", "lora_unet"), ("text_encoder", "lora_te1"), ("text_encoder_2", "lora_te2")):
        for key, value in parts[part].items():
            layer, side = key.removesuffix(".weight").rsplit(".", 1)
            flat = layer.replace(".", "_")
            if old and part == "unet":
                begin = next(name for name in OLD_BLOCKS if flat.startswith(name))
                flat = flat.replace(begin, OLD_BLOCKS[begin])
            text = "" if part == "unet" or flat.startswith("text_model") else "text_model_"
            name = f"{prefix}_{text}{flat}"
            tensors[f"{name}.lora_{'down' if side == 'lora_A' else 'up'}.weight"] = value
            tensors[f"{name}.alpha"] = torch.tensor(2.0)
    folder.mkdir()
    save_file(tensors, folder / "kohya.safetensors")
    return folder / "kohya.safetensors"


FILES = {
    "diffusers": of_diffusers,
    "kohya": lambda parts, folder: of_kohya(parts, folder, old=False),
    "kohya with older names of blocks": lambda parts, folder: of_kohya(parts, folder, old=True),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "kohya" else name for name in FILES]
)
def test_the_parts_of_an_xl_file_change_what_diffusers_changes(xl, parts, tmp_path, name):
    adapter = Adapter(FILES[name](parts, tmp_path / "file"), strength=0.7)
    checked = PipelineCheck.open(xl, [adapter])
    comparisons = {one.what: one for one in checked.compare()}
    assert all(one.agrees for one in comparisons.values()), comparisons
    layers = [name for name, module in checked.model.network.named_modules() if isinstance(module, LoraLayer)]
    assert len(layers) == len(parts["unet"]) // 2
    plain = Encoders.of(xl).conditions(["a cat"])
    adapted = Encoders.of(xl, (adapter,)).conditions(["a cat"])
    for name in ("encoder_hidden_states", "text_embeds"):
        assert (plain[name][[0]] - adapted[name][[0]]).abs().max() > 1e-3
    half = plain["encoder_hidden_states"][[0]].shape[-1] // 2
    difference = (plain["encoder_hidden_states"][[0]] - adapted["encoder_hidden_states"][[0]]).abs()
    assert difference[..., :half].max() > 1e-3
    assert difference[..., half:].max() > 1e-3
    assert Encoders.of(xl).text.fingerprint != Encoders.of(xl, (adapter,)).text.fingerprint


def test_the_three_files_have_one_fingerprint(xl, parts, tmp_path):
    texts = [
        Encoders.of(xl, (Adapter(make(parts, tmp_path / str(n))),)).text.fingerprint
        for n, make in enumerate(FILES.values())
    ]
    assert len(set(texts)) == 1


def test_parts_that_the_model_does_not_have_are_refused(xl, parts, stable_diffusion, tmp_path):
    only = StableDiffusionXLPipeline.save_lora_weights
    only(tmp_path / "two", text_encoder_2_lora_layers=parts["text_encoder_2"])
    with pytest.raises(ModelError, match="changes the text_encoder_2, which .* does not have"):
        DiffusionModel.load(stable_diffusion, adapters=[Adapter(tmp_path / "two")])
    only(tmp_path / "unet", parts["unet"])
    with pytest.raises(ModelError, match="is not of this UNet2DConditionModel"):
        DiffusionModel.load(stable_diffusion, adapters=[Adapter(tmp_path / "unet")])
    of_kohya(parts, tmp_path / "old", old=True)
    with pytest.raises(ModelError, match="changes the text_encoder_2"):
        DiffusionModel.load(stable_diffusion, adapters=[Adapter(tmp_path / "old")])


@pytest.mark.parametrize("name", ["dit", "pixart"])
def test_a_file_of_peft_on_a_transformer(pipelines, tmp_path, name):
    import diffusers

    folder = pipelines[name](tmp_path / name)
    model = DiffusionModel.load(folder)
    plain = getattr(diffusers, type(model.network).__name__).from_pretrained(folder / "transformer")
    adapted = get_peft_model(plain, LoraConfig(r=2, lora_alpha=4, target_modules=ATTENTION))
    random = torch.Generator().manual_seed(0)
    for key, parameter in adapted.named_parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=random) if "lora_" in key else parameter.data
    adapted.save_pretrained(tmp_path / "peft")
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    texts = ["dog", "bird"] if name == "dit" else ["a cat", "a dog"]
    conditions = {key: one[range(2)] for key, one in Encoders.of(model).conditions(texts).items()}
    ours = DiffusionModel.load(folder, adapters=[Adapter(tmp_path / "peft")])
    with torch.no_grad():
        named = dict(conditions)
        if name == "pixart":
            named["added_cond_kwargs"] = {"resolution": None, "aspect_ratio": None}
        theirs = adapted(x, timestep=t, **named).sample[:, :4]
        torch.testing.assert_close(ours.output(x, t, **conditions), theirs, atol=1e-5, rtol=1e-5)


CAPTIONS = {
    "dit": ("dog", "cat", "bird", ""),
    "stable_diffusion_xl": ("a", "b", "c", "a"),
    "pixart": ("a", "b", "c", ""),
}


@pytest.mark.parametrize("name", CAPTIONS)
def test_an_adapter_is_trained_on_each_family(pipelines, tmp_path, name):
    folder = pipelines[name](tmp_path / name)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    data = Dataset(tuple("abcd"), pixels, tuple((id,) for id in "abcd"), CAPTIONS[name])
    config = Config().updated("training", steps=3, batch_size=2, warmup=1, checkpoints=1, learning_rate=3e-2, seed=3)
    config = config.updated("training", caption_dropout=0.5).updated("adapter", rank=2)
    train(data, tmp_path / "run", config, base=folder)
    run = AdapterRun.open(tmp_path / "run")
    model, encoders = run.checkpoint().open(), run.encoders
    conditions = encoders.encode(data).conditions_of(range(4))
    x, t = torch.randn(4, 4, 8, 8), torch.tensor([10, 300, 600, 900])
    with torch.no_grad():
        difference = model.output(x, t, **conditions) - DiffusionModel.load(folder).output(x, t, **conditions)
    assert difference.abs().max() > 0
    from safetensors.torch import load_file

    keys = load_file(tmp_path / "run" / "pytorch_lora_weights.safetensors").keys()
    assert all(key.startswith("unet." if name == "stable_diffusion_xl" else "transformer.") for key in keys)


def test_names_of_classes_are_kept_by_a_run(pipelines, tmp_path):
    """Classes are named by a file in training; whatever opens the run knows the names."""
    from whence.attribution.target import Target
    from whence.diffusion.base import labels_of_base
    from whence.errors import ConfigError, DataError

    folder = pipelines["dit"](tmp_path / "dit")
    (tmp_path / "classes.txt").write_text("ant\nbee\nbug\n")
    labels = labels_of_base(folder, tmp_path / "classes.txt")
    assert labels == {"ant": 0, "bee": 1, "bug": 2}
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    data = Dataset(tuple("abc"), pixels, tuple((id,) for id in "abc"), ("ant", "bee", ""))
    config = Config().updated("training", steps=2, batch_size=2, warmup=1, checkpoints=1).updated("adapter", rank=2)
    with pytest.raises(DataError, match="ant is no class|ant and bee|no class"):
        train(data, tmp_path / "run", config, base=folder)
    train(data, tmp_path / "run", config.updated("adapter", classes=labels), base=folder)
    target = Target.open(tmp_path / "run")
    for text in (target.model.text, target.encoders.text):
        assert text.conditions(["bug", "ant", ""])["class_labels"].tolist() == [2, 0, 1000]
    with pytest.raises(ConfigError, match="takes no classes"):
        labels_of_base(pipelines["pixart"](tmp_path / "pixart"), tmp_path / "classes.txt")
    with pytest.raises(ConfigError, match="labels beyond"):
        train(data, tmp_path / "other", config.updated("adapter", classes={"ant": 1001}), base=folder)
