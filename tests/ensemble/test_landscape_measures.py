"""Other ways to read a landscape, each against a loop or a picture that was really enlarged."""

import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import gmean

from whence import images
from whence.engine import Engine
from whence.ensemble import Ensemble
from whence.ensemble.influence import Influence
from whence.ensemble.landscape import (
    BinaryLandscape,
    Landscape,
    binary_landscape,
    embedding_influence,
    geometric_mean_radius,
    published_scale,
)
from whence.ensemble.make_landscape import landscape
from whence.ensemble.members import NetworkMembers
from whence.errors import ArtefactError


@pytest.fixture(scope="module")
def drawn(tiny_ensemble, tmp_path_factory) -> Landscape:
    path = shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("reading") / "ens")
    return landscape(Ensemble.open(path), "0/2", placebos=7, engine=Engine(1))[0]


def published(pixels: np.ndarray) -> np.ndarray:
    """A picture uint8 [C, H, W] as the published figures compare it: 256 x 256 x 3, in [0, 1]."""
    array = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    large = Image.fromarray(array).resize((256, 256), Image.Resampling.NEAREST).convert("RGB")
    return np.asarray(large, np.float64) / 255


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 32, 32), (1, 32, 32), (3, 8, 8), (3, 256, 256), (1, 4, 16)])
def test_the_published_scale_is_that_of_pictures_enlarged_by_repeating_pixels(size):
    pair = np.random.default_rng(0).integers(0, 256, (2, *size), np.uint8)
    native = images.distance(*(torch.from_numpy(pixels / 127.5 - 1) for pixels in pair)).item()
    expected = np.linalg.norm(published(pair[0]) - published(pair[1]))
    assert native * published_scale(size) == pytest.approx(expected, rel=1e-12)


def test_black_and_white_against_a_loop(drawn):
    one = binary_landscape(drawn)
    assert one.sample == "0/2"

    def changed(picture: torch.Tensor) -> int:
        pairs = zip(drawn.factual.flatten().tolist(), picture.flatten().tolist(), strict=True)
        return sum((before > 0) != (after > 0) for before, after in pairs)

    assert one.changed_pixels.tolist() == [changed(drawn.counterfactual(unit)) for unit in drawn.units]
    assert one.placebo_changed_pixels.tolist() == [changed(picture) for block in drawn.placebos() for picture in block]
    black_and_white = [torch.where(p > 0, 1.0, -1.0) for p in (drawn.factual, *map(drawn.counterfactual, drawn.units))]
    assert one.radius == pytest.approx(max(images.distance(black_and_white[0], p).item() for p in black_and_white[1:]))


@pytest.mark.parametrize(
    ("changed", "certifying", "radius"),
    [([0, 0, 0], 3, 0.0), ([0], 1, 0.0), ([0, 1, 0], 2, 1.0), ([4, 0, 9], 1, 3.0), ([1, 2, 2], 0, math.sqrt(2))],
)
def test_unattributable_only_when_no_unit_changes_anything(changed, certifying, radius):
    one = BinaryLandscape("0/0", torch.tensor(changed), torch.tensor([5, 0]))
    assert one.certifying_units == certifying
    assert one.unattributable == (certifying == len(changed)) == (one.radius == 0)
    assert one.radius == pytest.approx(radius)


def test_a_landscape_that_changes_nothing_is_unattributable(ensemble, monkeypatch):
    network = ensemble.open_members([1]).networks[1]
    copies = NetworkMembers(dict.fromkeys(range(6), network))
    monkeypatch.setattr(Ensemble, "open_members", lambda *_, **__: copies)
    (one,) = landscape(ensemble, "0/0", placebos=2, engine=Engine(1))
    assert binary_landscape(one).unattributable
    assert binary_landscape(one).certifying_units == 10


TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}


def eye(name: str, folder):
    """A tiny vision model of random weights, as transformers writes it."""
    import transformers

    torch.manual_seed(0)
    if name == "dino":
        model = transformers.Dinov2Model(transformers.Dinov2Config(**TOWER))
    else:
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        text |= {"vocab_size": 9, "bos_token_id": 0, "eos_token_id": 1}
        vision = TOWER | {"intermediate_size": 16}
        model = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        )
    model.save_pretrained(folder)
    return folder


def seen(folder, picture: torch.Tensor) -> np.ndarray:
    """One picture's embedding by hand, of length 1."""
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.CLIPImageProcessorPil(size={"height": 8, "width": 8}, do_center_crop=False)
    ready = processor(images=Image.fromarray(images.to_pixels(picture)[0]).convert("RGB"), return_tensors="pt")
    with torch.inference_mode():
        if hasattr(model, "visual_projection"):
            found = model.visual_projection(model.vision_model(**ready).pooler_output)[0]
        else:
            found = model(**ready).pooler_output[0]
    return (found / found.norm()).double().numpy()


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_distances_as_a_vision_model_sees_them(drawn, tmp_path, name):
    folder = eye(name, tmp_path / name)
    one = embedding_influence(drawn, folder, level=0.1)
    assert (one.query, one.units, one.level) == ("0/2", drawn.units, 0.1)
    assert (one.effects.dtype, one.placebos.dtype) == (torch.float64, torch.float64)
    factual = seen(folder, drawn.factual)
    for unit in ("u0", "u6"):
        expected = np.linalg.norm(seen(folder, drawn.counterfactual(unit)) - factual)
        assert one.effects[drawn.units.index(unit)].item() == pytest.approx(expected, abs=1e-5)
    last = list(drawn.placebos())[-1][-1]
    assert one.placebos[-1].item() == pytest.approx(np.linalg.norm(seen(folder, last) - factual), abs=1e-5)
    assert len(one.placebos) == 7
    assert (one.effects > 0).all()


def test_without_placebos_and_without_a_model(ensemble, tmp_path):
    (one,) = landscape(ensemble, "0/0", placebos=0, engine=Engine(1))
    assert len(embedding_influence(one, eye("dino", tmp_path / "dino")).placebos) == 0
    assert len(binary_landscape(one).placebo_changed_pixels) == 0
    with pytest.raises(ArtefactError, match="no config.json"):
        embedding_influence(one, tmp_path / "nothing")


@pytest.mark.parametrize("radii", [[2.0], [0.5, 2.0], [0.1, 3.0, 7.0, 7.0], [1e-200, 1e-200, 1.0]])
def test_the_geometric_mean_against_scipy(radii):
    readings = [Influence("q", ("u", "v"), torch.tensor([0.0, r]).double(), torch.zeros(1)) for r in radii]
    assert geometric_mean_radius(readings) == pytest.approx(gmean(radii))


def test_one_picture_that_nobody_moves_makes_the_geometric_mean_zero():
    readings = [Influence("q", ("u",), torch.tensor([r]), torch.zeros(1)) for r in (3.0, 0.0)]
    assert geometric_mean_radius(readings) == 0.0
