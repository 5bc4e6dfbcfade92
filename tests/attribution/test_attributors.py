import pytest
import torch

from whence.attribution import pixel
from whence.attribution.attributors import ATTRIBUTORS, attributor
from whence.attribution.embedding import Embedder
from whence.attribution.embedding_distance import EmbeddingDistance
from whence.errors import ArtefactError, ConfigError


@pytest.mark.parametrize(("name", "options"), [("pixel", {}), ("pixel-flips", {"flips": True})])
def test_pixel_by_name(tiny_data, name, options):
    shown = tiny_data.images([1, 2]) * 0.9
    found, expected = attributor(name, tiny_data)(shown, ["a", "b"]), pixel(shown, ["a", "b"], tiny_data, **options)
    assert torch.equal(found.scores, expected.scores)
    assert found.method == expected.method


def test_an_embedding_by_its_folder(tiny_data, model_folder):
    folder = model_folder("clip")
    shown = tiny_data.images([1, 2]) * 0.9
    found = attributor(f"embedding:{folder}", tiny_data)(shown, ["a", "b"])
    expected = EmbeddingDistance(tiny_data, Embedder.load(folder))(shown, ["a", "b"])
    assert torch.equal(found.scores, expected.scores)


@pytest.mark.parametrize("name", [*ATTRIBUTORS, "embedding"])
def test_every_attributor_scores_every_unit(tiny_data, model_folder, name):
    name = f"embedding:{model_folder('dino')}" if name == "embedding" else name
    scores = attributor(name, tiny_data)(tiny_data.images([4]), ["q"])
    assert set(scores.by_unit().examples) == set(tiny_data.unit_ids)
    assert scores.by_unit().top("q", 1)[0][0] == tiny_data.units[4][0]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("pixels", ConfigError, "no attributor 'pixels'; there are pixel, pixel-flips, embedding:FOLDER"),
        ("embedding", ConfigError, "no attributor 'embedding'"),
        ("embedding:nowhere", ArtefactError, "nowhere is not a folder of a transformers model"),
    ],
)
def test_unknown_names(tiny_data, name, error, message):
    with pytest.raises(error, match=message):
        attributor(name, tiny_data)
