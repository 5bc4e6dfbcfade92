"""What is no adapter of a network is refused, with one sentence that says why."""

import copy
import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.adapter_file import read_adapter, write_adapter
from whence.diffusion.adapters.layers import attach, low_rank_weights, match_layers
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.diffusion.adapters.settings import HEADER_KEY
from whence.errors import ArtefactError, ConfigError, ModelError, NotFiniteError, WhenceError

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
FLAT = f"lora_unet_{LAYER.replace('.', '_')}"
CONFIG = {"r": 2, "lora_alpha": 4, "peft_type": "LORA"}


@pytest.fixture(scope="module")
def unet(stable_diffusion):
    return UNet2DConditionModel.from_pretrained(stable_diffusion, subfolder="unet")


def _pair(layer=f"unet.{LAYER}", a="lora_A", b="lora_B", rank=2, size=16):
    return {
        f"{layer}.{a}.weight": torch.ones(rank, size),
        f"{layer}.{b}.weight": torch.ones(size, rank) / (1 + torch.arange(size))[:, None],
    }


def _kohya(**more):
    return {**_pair(FLAT, "lora_down", "lora_up"), **{f"{FLAT}.{key}": value for key, value in more.items()}}


def _peft():
    return _pair(f"base_model.model.{LAYER}")


def _file(folder, tensors, header=None, config=None, name="adapter_model.safetensors"):
    save_file(tensors, folder / name, header and {HEADER_KEY: json.dumps(header)})
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder / name


ONE = torch.ones(1)
CASES = {
    "no partner": ({f"unet.{LAYER}.lora_A.weight": torch.ones(2, 16)}, ModelError, r"has A of the layer .*, but no B"),
    "alpha alone": (
        _kohya() | {"lora_unet_conv_in.alpha": ONE},
        ModelError,
        r"has alpha of the layer 'lora_unet_conv_in', but no A and B",
    ),
    "two ranks": (
        _pair() | {f"unet.{LAYER}.lora_B.weight": torch.ones(16, 3)},
        ModelError,
        r"A 2x16 and B 16x3 of the layer .*, of ranks 2 and 3",
    ),
    "three dimensions": (
        _pair() | {f"unet.{LAYER}.lora_A.weight": torch.ones(2, 16, 3)},
        ModelError,
        r"A 2x16x3 and B 16x2 of the layer .*expected matrices",
    ),
    "no rows": (_pair(rank=0), ModelError, "A 0x16 and B 16x0 of the layer"),
    "twice": (_pair() | _pair(LAYER), ModelError, f"has A of the layer '{LAYER}' twice"),
    "zero": (
        _pair() | {f"unet.{LAYER}.lora_B.weight": torch.zeros(16, 2)},
        ModelError,
        "changes nothing: B A is zero in all of its layers",
    ),
    "alpha of zero": (_kohya(alpha=torch.zeros(())), ModelError, "changes nothing"),
    "two alphas": (_kohya(alpha=torch.ones(2)), ModelError, "has 2 numbers as alpha of the layer"),
    "not finite": (
        _pair() | {f"unet.{LAYER}.lora_A.weight": torch.full((2, 16), torch.nan)},
        NotFiniteError,
        r"has weights unet\.mid_block.* that are not finite",
    ),
    "infinite alpha": (_kohya(alpha=torch.tensor(torch.inf)), NotFiniteError, "not finite"),
    "integers": (
        {key: value.to(torch.int8) for key, value in _pair().items()},
        ArtefactError,
        r"tensor of torch.int8; expected floating point",
    ),
    "empty": ({}, ArtefactError, "is empty: .* has no tensors"),
    "whole layers": ({"conv_in.weight": torch.ones(8, 4, 3, 3)}, ModelError, r"tensor conv_in\.weight, whose meaning"),
    "DoRA of kohya": (_kohya(dora_scale=torch.ones(16, 1)), ModelError, "of another kind, DoRA"),
    "DoRA of PEFT": (_pair() | {f"unet.{LAYER}.lora_magnitude_vector": ONE}, ModelError, "of another kind, DoRA"),
    "LoHa": ({f"{FLAT}.hada_w1_a": ONE}, ModelError, r"of another kind, LoHa \(it has the tensor lora_unet"),
    "LoKr": ({f"{FLAT}.lokr_w1": ONE}, ModelError, "of another kind, LoKr"),
    "OFT": ({f"{FLAT}.oft_blocks": ONE}, ModelError, "of another kind, OFT"),
    "Tucker": (_kohya(**{"lora_mid.weight": ONE}), ModelError, "of another kind, LoCon with a Tucker core"),
    "differences": (_kohya(diff=ONE), ModelError, "of another kind, full differences of weights"),
    "biases": (_pair() | {f"unet.{LAYER}.lora_B.bias": ONE}, ModelError, "of another kind, LoRA with biases"),
    "FLUX of kohya": (
        _pair("lora_unet_double_blocks_0_img_attn_qkv", "lora_down", "lora_up"),
        ModelError,
        "has the names of a trainer of FLUX, and diffusers can't convert them",
    ),
    "PEFT without settings": (_peft(), ArtefactError, "adapter_config.json does not exist, so its scale isn't known"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_is_no_lora_of_the_model_is_refused(tmp_path, name):
    tensors, error, message = CASES[name]
    with pytest.raises(error, match=message):
        read_adapter(Adapter(_file(tmp_path, tensors)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"use_dora": True}, ModelError, r"of another kind, DoRA \(its settings have use_dora\)"),
        ({"peft_type": "LOHA"}, ModelError, r"of another kind, LOHA \(its settings have peft_type\)"),
        ({"bias": "all"}, ModelError, "LoRA with biases"),
        ({"lora_bias": True}, ModelError, "LoRA with biases"),
        ({"init_lora_weights": "pissa"}, ModelError, "of another kind, LoRA begun with pissa"),
        ({"modules_to_save": ["conv_in"]}, ModelError, "LoRA with whole layers"),
        ({"r": 3}, ModelError, f"A of rank 2 for the layer '{LAYER}'; its settings say 3"),
        ({"rank_pattern": {"to_q": 3}}, ModelError, "its settings say 3"),
        ({"alpha_pattern": {"to_q": 1e400}}, NotFiniteError, "has a scale of inf for the layer"),
        ({"lora_alpha": 0}, ModelError, "changes nothing"),
        ({"lora_alpha": None}, ArtefactError, "The settings of .* can't be read: .*lora_alpha"),
        ({"rank_pattern": {"(": 3}}, ArtefactError, "can't be read"),
        ({"init_lora_weights": "Gaussian"}, None, ""),
        ({"auto_mapping": {"base_model_class": "CLIPTextModel"}}, None, ""),
    ],
)
def test_settings_of_another_kind_are_refused(tmp_path, change, error, message):
    (tmp_path / "peft").mkdir()
    cases = [
        _file(tmp_path / "peft", _peft(), config=CONFIG | change),
        _file(tmp_path, _pair(), {f"unet.{key}": value for key, value in (CONFIG | change).items()}),
        _file(tmp_path, _pair(LAYER), CONFIG | change, name="own.safetensors"),
    ]
    for file in cases:
        if error is None:
            weights = read_adapter(Adapter(file))
            assert bool(weights.text_encoder) == (file.parent.name == "peft" and "auto_mapping" in change)
        else:
            with pytest.raises(error, match=message):
                read_adapter(Adapter(file))


def test_a_damaged_header_is_refused(tmp_path):
    for header, message in {"{": "has no settings of LoRA", "[]": "are no mapping"}.items():
        save_file(_pair(), tmp_path / "a.safetensors", {HEADER_KEY: header})
        with pytest.raises(ArtefactError, match=message):
            read_adapter(Adapter(tmp_path))


def test_settings_and_weights_are_of_the_same_parts(tmp_path):
    header = {f"text_encoder.{key}": value for key, value in CONFIG.items()}
    with pytest.raises(ArtefactError, match="has weights of the unet, but its settings are of the text_encoder only"):
        read_adapter(Adapter(_file(tmp_path, _pair(), header)))
    header = {f"unet.{key}": value for key, value in CONFIG.items()}
    with pytest.raises(ModelError, match="states the scale of the layer .* twice"):
        read_adapter(Adapter(_file(tmp_path, _pair() | {f"unet.{LAYER}.alpha": ONE}, header)))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            {"down_blocks.7.to_q": (16, 16)},
            r"is not of this UNet.*: 1 of its 1 layers are not there \(down_blocks\.7\.to_q\)",
        ),
        ({LAYER: (8, 16)}, rf"does not fit the layer '{LAYER}': with A 2x16 and B 8x2 .* 8x16, .* the layer is 16x16"),
        ({LAYER: (16, 16, 1, 1)}, "does not fit the layer .* 16x16x1x1, and that of the layer is 16x16"),
        ({"conv_in": (8, 4, 1, 1)}, "does not fit the layer 'conv_in'.* 8x4x1x1, and that of the layer is 8x4x3x3"),
        ({"conv_in": (8, 36)}, "does not fit the layer 'conv_in'"),
        ({"conv_norm_out": (8, 8)}, "changes 'conv_norm_out', which is a GroupNorm; expected a Linear or a Conv2d"),
        ({"mid_block": (8, 8)}, "changes 'mid_block', which is a UNetMidBlock"),
    ],
)
def test_what_does_not_fit_the_network_is_refused_and_leaves_it_as_it_was(unet, layers, message):
    network = copy.deepcopy(unet)
    good = AdapterWeights({LAYER: _low_rank(16, 16)})
    bad = AdapterWeights({name: _low_rank(*shape) for name, shape in layers.items()}, source="x.safetensors")
    with pytest.raises(ModelError, match=rf"^x\.safetensors {message}"):
        attach(network, [good, bad])
    assert repr(network) == repr(unet)
    assert all(parameter.requires_grad for parameter in network.parameters())


def _low_rank(outputs, *inputs):
    return LowRank(torch.ones(2, *inputs), torch.ones(outputs, 2, *(1 for _ in inputs[1:])))


def test_adapters_are_attached_once(unet):
    network = copy.deepcopy(unet)
    attach(network, [AdapterWeights({LAYER: _low_rank(16, 16)})])
    with pytest.raises(ModelError, match="which is a LoraLayer.* Attach all adapters at once"):
        attach(network, [AdapterWeights({LAYER: _low_rank(16, 16)})])


def test_a_convolution_in_groups_is_refused():
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(ModelError, match="a convolution in 2 groups; expected one group"):
        attach(network, [AdapterWeights({"0": _low_rank(4, 2, 3, 3)})])


def test_names_with_underscores_are_matched_before_they_are_written(unet, tmp_path):
    weights = read_adapter(Adapter(_file(tmp_path, _kohya())))
    with pytest.raises(ModelError, match="with underscores for points.* low_rank_weights"):
        write_adapter(tmp_path / "out", weights)
    matched = match_layers(unet, weights.network)
    assert list(matched) == [LAYER]
    network = copy.deepcopy(unet)
    attach(network, [weights])
    assert list(low_rank_weights(network)) == [LAYER]


def test_an_adapter_is_a_file_and_a_strength(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a:0.5").touch()
    assert Adapter.parse("a:0.5") == Adapter(Path("a:0.5"))
    assert Adapter.parse("a:0.5:0.25") == Adapter(Path("a:0.5"), 0.25)
    assert Adapter.parse("b") == Adapter(Path("b"))
    assert Adapter.parse("b:-2") == Adapter(Path("b"), -2.0)
    for text, message in {
        "b:x": "'x' is no strength",
        ":1": "is no strength",
        "b:0": "is 0;",
        "b:inf": "is inf;",
    }.items():
        with pytest.raises(ConfigError, match=message):
            Adapter.parse(text)


@given(st.text())
def test_any_text_is_an_adapter_or_refused(text):
    with suppress(ConfigError):
        assert isinstance(Adapter.parse(text), Adapter)


FOLDERS = {
    "nothing": ([], r"holds no adapter: expected pytorch_lora_weights\.safetensors or adapter_model"),
    "several": (["a.safetensors", "b.safetensors"], r"has 2 \.safetensors files \(a\.safetensors, b\.safetensors\)"),
    "pickled": (["pytorch_lora_weights.bin"], "is pickled, and reading it could run any program. Convert it once"),
    "inside": (["unet/adapter_model.safetensors"], r"holds no adapter.* One is in .*unet\."),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_without_one_adapter_is_refused(tmp_path, name):
    files, message = FOLDERS[name]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(ArtefactError, match=message):
        read_adapter(Adapter(tmp_path))


def test_the_adapter_of_a_folder_is_found(tmp_path):
    for name in ("any.safetensors", "adapter_model.safetensors", "pytorch_lora_weights.safetensors"):
        _file(tmp_path, _pair(), name=name)
        (tmp_path / "other.safetensors").unlink(missing_ok=True)
        assert Adapter(tmp_path).weights_file.name == name
        (tmp_path / "other.safetensors").touch()


@pytest.mark.parametrize("file", ["style.pt", "style.ckpt", "style.bin"])
def test_pickled_files_are_refused(tmp_path, file):
    (tmp_path / file).write_bytes(b"\x80\x04")
    with pytest.raises(ArtefactError, match="is pickled"):
        read_adapter(Adapter(tmp_path / file))


@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 100, b"{}"])
def test_damaged_files_are_refused(tmp_path, data):
    file = tmp_path / "a.safetensors"
    file.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"a\.safetensors can't be read as a \.safetensors file"):
        read_adapter(Adapter(file))
    with pytest.raises(ArtefactError, match="does not exist"):
        read_adapter(Adapter(tmp_path / "b.safetensors"))


def _read_and_attach(unet, file):
    """Any damage is an error of Whence, or leaves an adapter that is attached."""
    with suppress(WhenceError):
        attach(copy.deepcopy(unet), [read_adapter(Adapter(file))])


quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def network():
    """The layer of the files here alone."""
    tree = nn.Linear(16, 16)
    for name in reversed(LAYER.split(".")):
        tree = nn.ModuleDict({name: tree})
    return tree


@quick
@given(damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), end=st.integers(0, 2000))
def test_any_damaged_file_is_read_or_refused(network, tmp_path, damage, end):
    header = {f"unet.{key}": value for key, value in CONFIG.items()}
    data = bytearray(_file(tmp_path, _pair(), header, name="whole.safetensors").read_bytes())
    for place, byte in damage:
        data[place % len(data)] = byte
    file = tmp_path / "a.safetensors"
    file.write_bytes(bytes(data[:end] if end % 3 == 0 else data))
    _read_and_attach(network, file)


names = st.sampled_from(
    ["unet", LAYER, FLAT, "lora_A", "lora_B", "lora_up", "_lora", "weight", "alpha", "lora.down", ""]
)
tensors = st.lists(st.integers(0, 16), max_size=4).map(torch.ones)


@quick
@given(
    st.dictionaries(st.lists(names | st.text(max_size=4), max_size=5).map(".".join), tensors, max_size=3), st.booleans()
)
def test_any_names_are_read_or_refused(network, tmp_path, content, whole):
    content.pop("__metadata__", None)
    content = content | (_pair() if whole else {})
    file = tmp_path / "a.safetensors"
    try:
        save_file(content, file)
    except Exception:
        return
    _read_and_attach(network, file)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-3, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
keys = st.sampled_from(["r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "peft_type", "auto_mapping"])


@quick
@given(json_values | st.dictionaries(keys, json_values, max_size=3).map(lambda changed: CONFIG | changed))
def test_any_settings_are_read_or_refused(network, tmp_path, content):
    _read_and_attach(network, _file(tmp_path, _peft(), config=content))
    prefixed = {f"unet.{key}": value for key, value in content.items()} if isinstance(content, dict) else content
    _read_and_attach(network, _file(tmp_path, _pair(), prefixed or {"": 1}))
