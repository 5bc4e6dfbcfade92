"""Adapters: every format gives the network that diffusers or PEFT make of the same file."""

import copy
import json
import resource
import signal
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from torch import nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.adapter_file import read_adapter, write_adapter
from whence.diffusion.adapters.layers import LoraLayer, attach, delta, low_rank_weights, match_layers
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.gradients.collector import Collector, check
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
#: Linear layers and convolutions with kernels, strides and single pixels.
ALL = [*ATTENTION, "ff.net.0.proj", "proj_in", "conv1", "downsamplers.0.conv", "time_emb_proj", "conv_shortcut"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj"]


@pytest.fixture(scope="module")
def whole(stable_diffusion):
    pipe = StableDiffusionPipeline.from_pretrained(stable_diffusion)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(whole):
    """A pipeline that a test may change."""
    parts = {name: copy.deepcopy(part) for name, part in whole.components.items() if name in ("unet", "text_encoder")}
    return StableDiffusionPipeline(**{**whole.components, **parts}, requires_safety_checker=False)


@pytest.fixture
def network(whole):
    return copy.deepcopy(whole.unet)


def _batch(rows=2):
    make = torch.Generator().manual_seed(1)
    t = torch.tensor([10, 700, 300, 999])[:rows]
    return torch.randn(rows, 4, 8, 8, generator=make), t, torch.randn(rows, 16, 16, generator=make)


@torch.no_grad()
def _draw(unet):
    return unet(*_batch()).sample


@torch.no_grad()
def _read_text(encoder):
    return encoder(torch.tensor([[5, 9, 20, 7]])).last_hidden_state


def _random(model, seed=0):
    """Fill the A and B of PEFT with noise."""
    make = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=make) / 3
    return model


def _config(modules=ALL, rank=4, **settings):
    return LoraConfig(r=rank, target_modules=list(modules), **settings)


def _inject(model, config, seed=0):
    """A copy of the model with random adapter weights of PEFT, and their state."""
    model = _random(inject_adapter_in_model(config, copy.deepcopy(model)), seed)
    return model, get_peft_model_state_dict(model)


def _save(folder, tensors, header=None, name="pytorch_lora_weights.safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name, header)
    return folder / name


class Format(NamedTuple):
    """Writes an adapter into a folder, and loads it into a pipeline as its program does."""

    write: Callable
    load: Callable


def _load(pipe, folder):
    pipe.load_lora_weights(folder)


def _prefixed(state, part="unet"):
    return {f"{part}.{key}": value for key, value in state.items()}


def _packed(unet, text=None):
    return {key: sorted(v) if isinstance(v, set) else v for key, v in {**unet, **(text or {})}.items()}


def _diffusers(pipe, folder, **settings):
    config, words = _config(**settings), _config(TEXT, rank=2, lora_alpha=3)
    unet, text = _inject(pipe.unet, config)[1], _inject(pipe.text_encoder, words)[1]
    metadata = {"unet_lora_adapter_metadata": _packed(config.to_dict())}
    metadata["text_encoder_lora_adapter_metadata"] = _packed(words.to_dict())
    StableDiffusionPipeline.save_lora_weights(folder, unet, text, **metadata)


def _diffusers_plain(pipe, folder):
    unet, text = _inject(pipe.unet, _config())[1], _inject(pipe.text_encoder, _config(TEXT, rank=2))[1]
    StableDiffusionPipeline.save_lora_weights(folder, unet, text)


def _diffusers_down(pipe, folder):
    unet, text = _inject(pipe.unet, _config(ATTENTION))[1], _inject(pipe.text_encoder, _config(TEXT, rank=2))[1]
    tensors = (
        _prefixed(convert_state_dict_to_diffusers(unet)),
        _prefixed(convert_state_dict_to_diffusers(text), "text_encoder"),
    )
    assert any(".lora.down." in key for key in tensors[0])
    assert any(".lora_linear_layer.down." in key for key in tensors[1])
    _save(folder, {**tensors[0], **tensors[1]})


def _processors(state):
    for layer in ATTENTION:
        old = f".processor.{layer.removesuffix('.0')}_lora"
        state = {
            key.replace(f".{layer}.lora_A", f"{old}.down").replace(f".{layer}.lora_B", f"{old}.up"): value
            for key, value in state.items()
        }
    assert not any("lora_A" in key for key in state)
    return state


def _diffusers_old(pipe, folder):
    text = _inject(pipe.text_encoder, _config(TEXT, rank=2))[1]
    for new, old in {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}.items():
        text = {key.replace(f"{new}.lora_A", f"{old}_lora.down"): value for key, value in text.items()}
        text = {key.replace(f"{new}.lora_B", f"{old}_lora.up"): value for key, value in text.items()}
    text = {f"text_encoder.text_model.{key}": value for key, value in text.items()}
    _save(folder, {**_prefixed(_processors(_inject(pipe.unet, _config(ATTENTION))[1])), **text})


def _network_old(pipe, folder):
    _save(folder, _processors(_inject(pipe.unet, _config(ATTENTION))[1]))


def _load_network(pipe, folder):
    pipe.unet.load_lora_adapter(folder, prefix=None, use_safetensors=True)


def _network_own(pipe, folder):
    unet = copy.deepcopy(pipe.unet)
    unet.add_adapter(_config(lora_alpha=6, use_rslora=True))
    _random(unet).save_lora_adapter(folder)


def _peft(pipe, folder, **settings):
    _random(get_peft_model(copy.deepcopy(pipe.unet), _config(**settings))).save_pretrained(folder)


def _load_peft(pipe, folder):
    pipe.unet = PeftModel.from_pretrained(pipe.unet, folder)


def _peft_text(pipe, folder):
    model = get_peft_model(copy.deepcopy(pipe.text_encoder), _config([*TEXT, "fc1"], lora_alpha=6))
    _random(model).save_pretrained(folder)


def _peft_text_old(pipe, folder):
    """As PEFT saved it when the encoder was one level deeper, and without the class of the model."""
    _peft_text(pipe, folder)
    state = load_file(folder / "adapter_model.safetensors")
    state = {key.replace("model.encoder", "model.text_model.encoder"): value for key, value in state.items()}
    _save(folder, state, name="adapter_model.safetensors")
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_mapping": None}))


def _load_peft_text(pipe, folder):
    pipe.text_encoder = PeftModel.from_pretrained(pipe.text_encoder, folder)


def _load_peft_text_old(pipe, folder):
    outer = nn.Module()
    outer.text_model = pipe.text_encoder
    PeftModel.from_pretrained(outer, folder)


def _kohya(state, prefix, alpha):
    """As kohya's trainer saves it: underscores for points, and the scale as alpha."""
    tensors = {}
    for key, value in state.items():
        layer, side = key.removesuffix(".weight").split(".lora_")
        name = f"lora_{prefix}_{layer.replace('.', '_')}"
        tensors |= {f"{name}.lora_{'down' if side == 'A' else 'up'}.weight": value}
        tensors |= {f"{name}.alpha": torch.tensor(alpha)}
    return tensors


def _kohya_file(pipe, folder, alpha=3.0):
    unet, text = _inject(pipe.unet, _config())[1], _inject(pipe.text_encoder, _config([*TEXT, "fc1"]))[1]
    text = {f"text_model.{key}": value for key, value in text.items()}
    tensors = {**_kohya(unet, "unet", alpha), **_kohya(text, "te", alpha)}
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight" in tensors
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight" in tensors
    _save(folder, tensors, {"ss_network_dim": "4"}, "style.safetensors")


PATTERNS = {"rank_pattern": {"to_q": 2, "mid_block.*to_k": 3}, "alpha_pattern": {"to_q": 7, "attn1.to_v": 1}}
FORMATS = {
    "diffusers": Format(_diffusers_plain, _load),
    "diffusers with settings": Format(lambda p, f: _diffusers(p, f, lora_alpha=6), _load),
    "diffusers, rank-stabilised": Format(lambda p, f: _diffusers(p, f, lora_alpha=6, use_rslora=True), _load),
    "diffusers with patterns": Format(lambda p, f: _diffusers(p, f, lora_alpha=6, **PATTERNS), _load),
    "diffusers, down and up": Format(_diffusers_down, _load),
    "diffusers, processors": Format(_diffusers_old, _load),
    "network, processors": Format(_network_old, _load_network),
    "network": Format(_network_own, _load_network),
    "PEFT": Format(lambda p, f: _peft(p, f, lora_alpha=6), _load_peft),
    "PEFT, rank-stabilised": Format(lambda p, f: _peft(p, f, lora_alpha=6, use_rslora=True), _load_peft),
    "PEFT with patterns": Format(lambda p, f: _peft(p, f, lora_alpha=6, **PATTERNS), _load_peft),
    "PEFT, text encoder": Format(_peft_text, _load_peft_text),
    "PEFT, older text encoder": Format(_peft_text_old, _load_peft_text_old),
    "kohya": Format(_kohya_file, _load),
}


def _attached(whole, adapters, part="network"):
    model = copy.deepcopy(whole.unet if part == "network" else whole.text_encoder)
    attach(model, [read_adapter(adapter) for adapter in adapters], part)
    return model


def _same(found, expected, plain):
    assert (expected - plain).norm() / plain.norm() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("name", FORMATS)
def test_the_output_is_that_of_the_program_of_the_format(pipe, whole, tmp_path, name):
    FORMATS[name].write(whole, tmp_path)
    FORMATS[name].load(pipe, tmp_path)
    weights = read_adapter(Adapter(tmp_path))
    assert weights.network or weights.text_encoder
    if weights.network:
        _same(_draw(_attached(whole, [Adapter(tmp_path)])), _draw(pipe.unet), _draw(whole.unet))
    if weights.text_encoder:
        found = _read_text(_attached(whole, [Adapter(tmp_path)], "text_encoder"))
        _same(found, _read_text(pipe.text_encoder), _read_text(whole.text_encoder))


def test_half_precision_is_read_as_float32(whole, tmp_path):
    _diffusers_plain(whole, tmp_path / "full")
    tensors = load_file(tmp_path / "full" / "pytorch_lora_weights.safetensors")
    halves = {key: value.to(torch.bfloat16) for key, value in tensors.items()}
    found = read_adapter(Adapter(_save(tmp_path / "half", halves)))
    same = read_adapter(Adapter(_save(tmp_path / "cast", {key: value.float() for key, value in halves.items()})))
    assert found.fingerprint == same.fingerprint
    assert {layer.A.dtype for layer in found.network.values()} == {torch.float32}


@pytest.mark.parametrize("strengths", [(1.0, 1.0), (0.8, -0.3)])
def test_several_adapters_are_those_of_diffusers(pipe, whole, tmp_path, strengths):
    _diffusers(whole, tmp_path / "a", lora_alpha=6)
    second = _inject(whole.unet, _config(["to_q", "conv1", "conv2"], rank=2), seed=5)[1]
    StableDiffusionPipeline.save_lora_weights(tmp_path / "b", second)
    for name in "ab":
        pipe.load_lora_weights(tmp_path / name, adapter_name=name)
    pipe.set_adapters(["a", "b"], list(strengths))
    adapters = [Adapter(tmp_path / name, strength) for name, strength in zip("ab", strengths, strict=True)]
    network = _attached(whole, adapters)
    _same(_draw(network), _draw(pipe.unet), _draw(whole.unet))
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert {name.split(".")[-1] for name in names if "lora_" in name} == {"0", "1"}
    assert set(low_rank_weights(network, 1)) == {key.rsplit(".lora_")[0] for key in second}


def test_the_change_of_a_layer_is_the_product(pipe, whole, tmp_path):
    _diffusers(whole, tmp_path, lora_alpha=6)
    pipe.load_lora_weights(tmp_path)
    pipe.fuse_lora()
    network = _attached(whole, [Adapter(tmp_path)])
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LoraLayer)}
    assert {type(layer.base_layer) for layer in layers.values()} == {nn.Linear, nn.Conv2d}
    for name, layer in layers.items():
        fused = pipe.unet.get_submodule(name).base_layer.weight
        plain = whole.unet.get_submodule(name).weight
        torch.testing.assert_close(delta(layer), fused - plain, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(layer.weight, fused, rtol=1e-4, atol=1e-6)


def test_equal_weights_in_two_formats_have_one_fingerprint(whole, tmp_path):
    def tensors(alpha):
        unet, text = _inject(whole.unet, _config())[1], _inject(whole.text_encoder, _config(TEXT))[1]
        words = {f"text_model.{key}": value for key, value in text.items()}
        return {**_kohya(unet, "unet", alpha), **_kohya(words, "te", alpha)}

    unet, text = _inject(whole.unet, _config())[1], _inject(whole.text_encoder, _config(TEXT))[1]
    StableDiffusionPipeline.save_lora_weights(tmp_path / "a", unet, text)
    first = read_adapter(Adapter(tmp_path / "a"))
    same = read_adapter(Adapter(_save(tmp_path / "b", tensors(4.0))))
    stronger = read_adapter(Adapter(_save(tmp_path / "c", tensors(8.0))))
    weaker = read_adapter(Adapter(tmp_path / "c", strength=0.5))
    assert first.fingerprint == same.fingerprint == weaker.fingerprint != stronger.fingerprint
    of_text = [one.part_fingerprint("text_encoder") for one in (first, same, weaker, stronger)]
    assert of_text[0] == of_text[1] == of_text[2] != of_text[3]
    assert first.fingerprint != of_text[0]


@pytest.mark.parametrize("name", ["diffusers with patterns", "kohya"])
def test_what_is_written_is_what_diffusers_reads(pipe, whole, tmp_path, name):
    FORMATS[name].write(whole, tmp_path / "a")
    weights = read_adapter(Adapter(tmp_path / "a", 0.7))
    network = _attached(whole, [Adapter(tmp_path / "a", 0.7)])
    encoder = _attached(whole, [Adapter(tmp_path / "a", 0.7)], "text_encoder")
    named = AdapterWeights(low_rank_weights(network), low_rank_weights(encoder))
    assert named.fingerprint == weights.fingerprint
    file = write_adapter(tmp_path / "b", named, {"made by": "a test"})
    assert file == tmp_path / "b" / "pytorch_lora_weights.safetensors"
    pipe.load_lora_weights(tmp_path / "b")
    _same(_draw(network), _draw(pipe.unet), _draw(whole.unet))
    _same(_read_text(encoder), _read_text(pipe.text_encoder), _read_text(whole.text_encoder))
    again = read_adapter(Adapter(tmp_path / "b"))
    for layer, own in named.network.items():
        torch.testing.assert_close(again.network[layer].delta(), own.delta())


def test_an_alpha_of_each_layer_is_that_layers_own(whole, tmp_path):
    state = _kohya(_inject(whole.unet, _config())[1], "unet", 4.0)
    names = sorted(key for key in state if key.endswith(".alpha"))
    alphas = {key: torch.tensor(float(n + 1)) for n, key in enumerate(names[1:])}
    state = {key: value for key, value in state.items() if key not in names} | alphas
    layers = read_adapter(Adapter(_save(tmp_path, state))).network
    expected = {key.removesuffix(".alpha"): float(value) / 4 for key, value in alphas.items()}
    assert {name: layer.scale for name, layer in layers.items()} == {names[0].removesuffix(".alpha"): 1.0} | expected
    alpha_pattern = {f"^{name}": 4 * own.scale for name, own in match_layers(whole.unet, layers).items()}
    reference = _inject(whole.unet, _config(alpha_pattern=alpha_pattern))[0]
    _same(_draw(_attached(whole, [Adapter(tmp_path)])), _draw(reference), _draw(whole.unet))


def test_other_parameters_are_frozen_and_the_mode_stays(whole, tmp_path):
    _diffusers_plain(whole, tmp_path)
    network = _attached(whole, [Adapter(tmp_path)])
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in network.named_parameters() if ".lora_" in name}
    assert not any(module.training for module in network.modules())


def test_the_fingerprint_of_a_model_depends_on_the_strength(whole, tmp_path):
    _diffusers_plain(whole, tmp_path)
    models = [DiffusionModel(_attached(whole, [Adapter(tmp_path, s)]), whole.scheduler) for s in (1.0, 1.0, 0.5)]
    same, again, other = (fingerprint(model) for model in models)
    assert same == again != other


class _Caption(nn.Module):
    """The UNet with a caption as a tensor."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x_t, t, caption):
        return self.unet(x_t, t, caption).sample


def test_gradients_of_single_examples_are_those_of_autograd(whole, tmp_path):
    _diffusers(whole, tmp_path, lora_alpha=6)
    network = _Caption(_attached(whole, [Adapter(tmp_path), Adapter(tmp_path, 0.5)]))
    x_t, t, caption = _batch(rows=3)
    cover = coverage(network, "lora")
    made = maps(cover, Compression(kind="none"))
    (found,) = Collector(network, cover, made)(x_t, t, [torch.cos], conditions={"caption": caption})
    assert set(cover.layers) == {
        name.removesuffix(".weight") for name, _ in network.named_parameters() if "lora" in name
    }
    for n in range(3):
        output = network(x_t[n : n + 1], t[n : n + 1], caption[n : n + 1])
        parameters = {name: network.get_submodule(name).weight for name in cover.layers}
        gradients = torch.autograd.grad(output, list(parameters.values()), torch.cos(output.detach()))
        for name, gradient in zip(parameters, gradients, strict=True):
            error = (found[n, made.by_layer[name][1]] - gradient.flatten()).norm()
            assert error <= 1e-3 * gradient.norm() + 1e-6, name
    check(network, cover, x_t, t, torch.cos, {"caption": caption})


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    """The command line tells OSErrors in one line; nothing is left behind."""
    weights = AdapterWeights({"conv_in": LowRank(torch.ones(1, 2), torch.ones(3, 1))})
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with pytest.raises(OSError, match="File too large: .*pytorch_lora_weights"):
            write_adapter(tmp_path, weights)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
