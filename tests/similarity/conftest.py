from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SIDE = 28
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 7,
}


def _clip():
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=TOWER, projection_dim=16))


def _clip_vision():
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**TOWER))


def _dino():
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(**{name: value for name, value in TOWER.items() if name != "intermediate_size"}))


def _vit(pooling: bool):
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**TOWER), add_pooling_layer=pooling)


def _bert():
    from transformers import BertConfig, BertModel

    sizes = {name: value for name, value in TOWER.items() if name not in ("image_size", "patch_size")}
    return BertModel(BertConfig(**sizes, vocab_size=50))


def _masked():
    from transformers import ViTMAEConfig, ViTMAEModel

    return ViTMAEModel(ViTMAEConfig(**TOWER))


MODELS: dict[str, Callable] = {
    "clip": _clip,
    "clip-vision": _clip_vision,
    "dino": _dino,
    "vit": lambda: _vit(True),
    "vit-without-pooling": lambda: _vit(False),
    "bert": _bert,
    "masked": _masked,
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Callable[[str], Path]:
    """Folder of a tiny model of random weights, as transformers writes it; only to be read."""
    root = tmp_path_factory.mktemp("models")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            torch.manual_seed(0)
            MODELS[name]().save_pretrained(root / name)
        return root / name

    return folder
