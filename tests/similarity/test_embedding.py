"""Embeddings by tiny models of random weights that transformers wrote to a folder."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from whence import images
from whence.errors import ArtefactError, NotFiniteError
from whence.similarity.embedding import BATCH, Embedder, EmbeddingSimilarity, embed

USABLE = ["clip", "clip-vision", "dino", "vit", "vit-without-pooling"]


def pictures(count: int, channels: int = 3, height: int = 20, width: int = 20) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def as_image(picture: torch.Tensor) -> Image.Image:
    array = images.to_pixels(picture)
    return Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)).convert("RGB")


def by_hand(name: str, folder, picture: torch.Tensor, processor) -> torch.Tensor:
    """One picture, by the model's own class and a PIL image."""
    import transformers

    classes = {"clip": "CLIPModel", "clip-vision": "CLIPVisionModel", "dino": "Dinov2Model"}
    model = getattr(transformers, classes.get(name, "ViTModel")).from_pretrained(folder)
    ready = processor(images=as_image(picture), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        if name == "clip":
            found = model.visual_projection(model.vision_model(ready).pooler_output)
        else:
            output = model(ready)
            found = output.last_hidden_state[:, 0] if name == "vit-without-pooling" else output.pooler_output
    return (found / found.norm())[0]


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("channels", [1, 3])
def test_against_the_model_itself(model_folder, name, channels):
    from transformers import CLIPImageProcessorPil

    folder = model_folder(name)
    shown = pictures(3, channels, 20, 14)
    found = embed(shown, folder)
    assert found.dtype == torch.float32
    processor = CLIPImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False)
    for picture, row in zip(shown, found, strict=True):
        torch.testing.assert_close(row, by_hand(name, folder, picture, processor), atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", USABLE)
def test_rows_have_length_one_and_differ(model_folder, name):
    found = embed(pictures(6), model_folder(name))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6))
    assert torch.pdist(found).min() > 1e-4


@pytest.mark.parametrize("processor", ["CLIPImageProcessorPil", "ViTImageProcessorPil", "BitImageProcessorPil"])
def test_the_folders_own_processor_is_used(model_folder, tmp_path, processor):
    import transformers

    folder = shutil.copytree(model_folder("dino"), tmp_path / "dino")
    sizes = (
        {"size": {"height": 28, "width": 28}}
        if processor.startswith("ViT")
        else {"size": {"shortest_edge": 40}, "crop_size": {"height": 28, "width": 28}}
    )
    own = getattr(transformers, processor)(**sizes, image_mean=[0.3] * 3, image_std=[0.6] * 3)
    own.save_pretrained(folder)
    (picture,) = pictures(1)
    found = embed(picture[None], folder)[0]
    torch.testing.assert_close(found, by_hand("dino", folder, picture, own), atol=2e-5, rtol=0)
    assert not torch.allclose(found, embed(picture[None], model_folder("dino"))[0], atol=1e-3)


def test_a_row_does_not_depend_on_the_pictures_beside_it(model_folder):
    shown, folder = pictures(2 * BATCH + 3), model_folder("clip")
    together = embed(shown, folder)
    order = torch.randperm(len(shown), generator=torch.Generator().manual_seed(0))
    assert torch.equal(embed(shown[order], folder), together[order])
    assert torch.equal(embed(shown[5:6], folder), together[5:6])
    assert torch.equal(embed(shown[BATCH:], folder), together[BATCH:])


def test_nothing_is_printed(model_folder, capfd):
    embed(pictures(1), model_folder("vit-without-pooling"))
    assert capfd.readouterr() == ("", "")


def test_the_fingerprint_is_of_weights_and_configuration(model_folder, tmp_path, flip_byte):
    folder = shutil.copytree(model_folder("clip"), tmp_path / "elsewhere")
    first = Embedder.load(model_folder("clip")).fingerprint
    assert Embedder.load(folder).fingerprint == first
    (folder / "README.md").write_text("words")
    assert Embedder.load(folder).fingerprint == first
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcessor", "size": 28}')
    second = Embedder.load(folder).fingerprint
    flip_byte(folder / "model.safetensors", -1)
    assert len({first, second, Embedder.load(folder).fingerprint}) == 3


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def with_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard-of", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('this code was run')")


def lacking(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("layernorm.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def shortened(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])


def no_json(folder):
    (folder / "config.json").write_text("{")


def another_size(folder):
    from transformers import ViTImageProcessorPil

    ViTImageProcessorPil(size={"height": 35, "width": 35}).save_pretrained(folder)


def not_a_number(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["layernorm.bias"][:] = torch.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("bert", None, ArtefactError, "BertModel, which doesn't look at pictures"),
        ("masked", None, ArtefactError, "ViTMAEModel, which has no pooled output"),
        ("vit", shutil.rmtree, ArtefactError, "it has no config.json"),
        ("vit", no_json, ArtefactError, "can't be used as a vision model"),
        ("vit", pickled, ArtefactError, "can't be used as a vision model.*safetensors"),
        ("vit", with_code, ArtefactError, "can't be used as a vision model"),
        ("vit", lacking, ArtefactError, "lacks the weights layernorm.weight"),
        ("vit", shortened, ArtefactError, "can't be used as a vision model"),
        ("vit", another_size, ArtefactError, r"refuses pictures of size \(3, 20, 20\)"),
        ("vit", not_a_number, NotFiniteError, "embedding of picture 0 .* is not finite"),
    ],
)
def test_folders_that_can_not_be_used(model_folder, tmp_path, name, change, error, message):
    folder = shutil.copytree(model_folder(name), tmp_path / "copy")
    if change:
        change(folder)
    with pytest.raises(error, match=f"(?s){message}"):
        embed(pictures(2), folder)


def test_distances_against_the_embeddings(model_folder, tiny_data):
    folder = model_folder("dino")
    shown = tiny_data.images([3, 9, 20]) * 0.8
    scores = EmbeddingSimilarity(tiny_data, Embedder.load(folder))(shown, ["a", "b", "c"])
    queries, examples = embed(shown, folder).double(), embed(tiny_data.images(range(40)), folder).double()
    for q in range(3):
        for n in range(40):
            assert scores.scores[q, n].item() == pytest.approx(-(queries[q] - examples[n]).norm().item(), abs=1e-6)
    cosine = queries @ examples.T
    assert torch.equal(cosine.argmax(1), scores.scores.argmax(1))
    assert (scores.method, scores.sign, scores.combine) == ("embedding dino", "unsigned", "max")
    assert scores.estimand.model == Embedder.load(folder).fingerprint


@pytest.mark.parametrize("measure", ["dot", "cosine"])
def test_dot_and_cosine_against_the_model_itself(model_folder, tiny_data, measure):
    """The plain sums, over embeddings that are not normalised."""
    import transformers

    folder = model_folder("dino")
    processor = transformers.CLIPImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False)
    network = transformers.Dinov2Model.from_pretrained(folder)

    def plain(picture):
        with torch.inference_mode():
            ready = processor(images=as_image(picture), return_tensors="pt")["pixel_values"]
            return network(ready).pooler_output[0].double().numpy()

    data = tiny_data.select(range(6))
    shown = data.images([3, 5]) * 0.8
    scores = EmbeddingSimilarity(data, Embedder.load(folder), measure)(shown, ["a", "b"])
    for q, n in np.ndindex(2, 6):
        a, b = plain(shown[q]), plain(data.images([n])[0])
        expected = sum(a * b) if measure == "dot" else sum(a * b) / (sum(a * a) * sum(b * b)) ** 0.5
        assert scores.scores[q, n].item() == pytest.approx(expected, rel=1e-4)
    assert (scores.method, scores.sign, scores.combine) == (f"embedding-{measure} dino", "unsigned", "max")


def test_a_training_image_is_closest_to_itself(model_folder, tiny_data):
    ask = EmbeddingSimilarity(tiny_data, Embedder.load(model_folder("clip")))
    scores = ask(tiny_data.images([7, 30]), ["a", "b"])
    assert [scores.top(name, 1) for name in "ab"] == [[(tiny_data.ids[7], 0.0)], [(tiny_data.ids[30], 0.0)]]


def test_training_images_in_chunks(model_folder, tiny_data, monkeypatch):
    embedder = Embedder.load(model_folder("clip"))
    whole = EmbeddingSimilarity(tiny_data, embedder).examples
    monkeypatch.setattr(sys.modules["whence.similarity.embedding"], "CHUNK", 7)
    assert torch.equal(EmbeddingSimilarity(tiny_data, embedder).examples, whole)
