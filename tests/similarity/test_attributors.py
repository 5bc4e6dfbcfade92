import pytest
import torch

from whence.errors import ArtefactError, ConfigError
from whence.similarity.attributors import ATTRIBUTORS, EMBEDDINGS, attributor, pixel
from whence.similarity.embedding import Embedder, EmbeddingSimilarity


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pixel", {}),
        ("pixel-dot", {"measure": "dot"}),
        ("pixel-cosine", {"measure": "cosine"}),
        ("pixel-flips", {"flips": True}),
    ],
)
def test_pixel_by_name(tiny_data, name, options):
    shown = tiny_data.images([1, 2]) * 0.9
    found, expected = attributor(name, tiny_data)(shown, ["a", "b"]), pixel(shown, ["a", "b"], tiny_data, **options)
    assert torch.equal(found.scores, expected.scores)
    assert found.method == expected.method


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_embedding_by_its_folder(tiny_data, model_folder, name):
    folder = model_folder("clip")
    shown = tiny_data.images([1, 2]) * 0.9
    found = attributor(f"{name}:{folder}", tiny_data)(shown, ["a", "b"])
    expected = EmbeddingSimilarity(tiny_data, Embedder.load(folder), EMBEDDINGS[name])(shown, ["a", "b"])
    assert torch.equal(found.scores, expected.scores)
    assert found.method == expected.method == f"{name} clip"


@pytest.mark.parametrize("name", [*ATTRIBUTORS, *EMBEDDINGS])
def test_every_attributor_scores_every_unit(tiny_data, model_folder, name):
    """A training image is most like itself, except by a dot product, which larger vectors win."""
    full = f"{name}:{model_folder('dino')}" if name in EMBEDDINGS else name
    scores = attributor(full, tiny_data)(tiny_data.images([4]), ["q"])
    assert set(scores.by_unit().examples) == set(tiny_data.unit_ids)
    assert name.endswith("-dot") or scores.by_unit().top("q", 1)[0][0] == tiny_data.units[4][0]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("pixels", ConfigError, "no attributor 'pixels'; there are pixel, pixel-dot, .*, embedding-cosine:FOLDER"),
        ("pixel-cosine:x", ConfigError, "no attributor 'pixel-cosine:x'"),
        ("embedding-euclidean:x", ConfigError, "no attributor 'embedding-euclidean:x'"),
        ("embedding", ConfigError, "no attributor 'embedding'"),
        ("embedding:nowhere", ArtefactError, "nowhere is not a folder of a transformers model"),
    ],
)
def test_unknown_names(tiny_data, name, error, message):
    with pytest.raises(error, match=message):
        attributor(name, tiny_data)
