"""Behaviours that others define: functions of pictures, and vision models in local folders."""

import math
import shutil

import numpy as np
import pytest
import torch

from whence.config import SamplerConfig
from whence.credit.behaviours import Context, behaviour, function_behaviour
from whence.data import Dataset, load
from whence.errors import ArtefactError, ConfigError, DataError, NotFiniteError
from whence.retraining.measurement import Measurement, MeasurementPlan
from whence.similarity.embedding import embed

DIGITS = load("digits:test")
QUERIES = Dataset(("0/4", "b", "7/2"), DIGITS.pixels[:3], (("(none)",),) * 3, (None,) * 3)
DRAWN = np.array([True, False, True])
NAMES = tuple(f"0/{k}" for k in range(8))
PLAN = MeasurementPlan(NAMES, DIGITS.select(range(50, 62)), QUERIES, DRAWN, SamplerConfig())
CONTEXT = Context(DIGITS, PLAN, DIGITS.pixels[20:28])
MEASURED = Measurement(DIGITS.pixels[30:38], np.zeros(0), np.zeros(0), DIGITS.pixels[8:10])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny vision model of random weights."""
    from transformers import ViTConfig, ViTModel

    path = tmp_path_factory.mktemp("models") / "vit"
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTModel(ViTConfig(**sizes, image_size=28, patch_size=7)).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda pictures: pictures.mean((1, 2, 3)), MEASURED.pictures.mean()),
        (lambda pictures: pictures.mean((1, 2, 3))[:, None].tolist(), MEASURED.pictures.mean()),
        (
            lambda pictures: np.quantile(pictures.max((1, 2, 3)), 0.9),
            np.quantile(MEASURED.pictures.max((1, 2, 3)), 0.9),
        ),
        (lambda pictures: torch.from_numpy(pictures).float().mean(), MEASURED.pictures.mean()),
        (lambda pictures: 3, 3.0),
    ],
)
def test_a_function_gives_the_mean_over_pictures(function, expected):
    assert function_behaviour(function, "own").prepare(CONTEXT)(MEASURED) == pytest.approx([expected], rel=1e-6)


def test_a_function_cannot_change_what_others_see():
    def spoil(pictures):
        pictures[:] = 0
        return 0.0

    before = MEASURED.pictures.copy()
    function_behaviour(spoil, "spoil").prepare(CONTEXT)(MEASURED)
    assert np.array_equal(MEASURED.pictures, before)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda pictures: pictures.mean((2, 3, 1))[:3], DataError, r"own gave \(3,\) numbers for 8 pictures"),
        (lambda pictures: pictures, DataError, "expected one each, or one"),
        (lambda pictures: "high", DataError, r"own failed on drawn pictures uint8 \(8, 1, 8, 8\)"),
        (lambda pictures: 1 // 0, DataError, "own failed .* division"),
        (lambda pictures: math.nan, NotFiniteError, "not finite"),
    ],
)
def test_what_a_function_may_not_return(function, error, message):
    with pytest.raises(error, match=message):
        function_behaviour(function, "own").prepare(CONTEXT)(MEASURED)


def test_a_function_of_a_file(tmp_path):
    file = tmp_path / "own scores.py"
    file.write_text("import numpy as np\nWHITE = 255\ndef ink(pictures): return (pictures / WHITE).mean((1, 2, 3))\n")
    found = behaviour(f"{file}:ink").prepare(CONTEXT)(MEASURED)
    assert found == pytest.approx([MEASURED.pictures.mean() / 255])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", "'no_such_module' can't be imported"),
        ("numpy:no_such_function", "numpy has no function 'no_such_function'"),
        ("numpy:pi", "has no function 'pi'"),
        ("none.py:f", "There is no file none.py"),
        ("{}/bad.py:f", "bad.py can't be run: "),
        ("a b:f", "can't be imported"),
        (".relative:f", "can't be imported"),
    ],
)
def test_functions_that_are_not_there(tmp_path, name, message):
    (tmp_path / "bad.py").write_text("def f(:\n")
    with pytest.raises(ConfigError, match=message):
        behaviour(name.format(tmp_path))


def test_likeness_in_the_eyes_of_a_vision_model(folder):
    shown, asked = (torch.from_numpy(one).float() / 127.5 - 1 for one in (MEASURED.redrawn, QUERIES.pixels[DRAWN]))
    expected = torch.nn.functional.cosine_similarity(embed(shown, folder), embed(asked, folder))
    found = behaviour(f"embedding:{folder}").prepare(CONTEXT)(MEASURED)
    assert found == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("kind", ["diversity", "coverage", "precision"])
def test_behaviours_of_models_in_an_embedding(folder, kind):
    one = behaviour(f"{kind}:{folder}")
    (found,) = one.prepare(CONTEXT)(MEASURED)
    assert 0 <= found <= 1  # entropy over two clusters, or a share
    assert one.list_rows(CONTEXT)[0][0] == f"{kind}:{folder}"


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    """Folders of tiny scoring models of random weights, by how many labels they have."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    root = tmp_path_factory.mktemp("scorers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    for labels in (["beauty"], ["low", "high"]):
        config = ViTConfig(**sizes, image_size=28, patch_size=7, id2label=dict(enumerate(labels)))
        ViTForImageClassification(config).save_pretrained(root / str(len(labels)))
        ViTImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(root / str(len(labels)))
    return root


def by_hand(folder) -> torch.Tensor:
    """Logits of the pictures of `MEASURED`, all in one batch of PIL images."""
    from PIL import Image
    from transformers import ViTForImageClassification, ViTImageProcessorPil

    shown = [Image.fromarray(one[0]).convert("RGB") for one in MEASURED.pictures]
    ready = ViTImageProcessorPil.from_pretrained(folder)(images=shown, return_tensors="pt")
    with torch.inference_mode():
        return ViTForImageClassification.from_pretrained(folder)(**ready).logits


def test_scores_by_a_model_with_one_output(scorers):
    expected = by_hand(scorers / "1").mean().item()
    one = behaviour(f"score:{scorers / '1'}")
    assert one.prepare(CONTEXT)(MEASURED) == pytest.approx([expected], abs=1e-5)
    assert one.unit == "score"


@pytest.mark.parametrize(("label", "column"), [("low", 0), ("high", 1)])
def test_the_probability_of_a_label(scorers, label, column):
    expected = by_hand(scorers / "2").softmax(1)[:, column].mean().item()
    one = behaviour(f"score:{scorers / '2'}#{label}")
    assert one.prepare(CONTEXT)(MEASURED) == pytest.approx([expected], abs=1e-5)
    assert one.unit == "probability"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2", "has 2 labels; ask for one as score:.*#LABEL, of low, high"),
        ("2#middle", "has no label 'middle'; .* of low, high"),
        ("1#beauty!", "has no label 'beauty!'"),
        ("3", "has no config.json"),
    ],
)
def test_scores_that_can_not_be_told(scorers, name, message):
    with pytest.raises(ArtefactError, match=message):
        behaviour(f"score:{scorers / name}").prepare(CONTEXT)


def test_a_model_without_a_trained_output_is_refused(folder, scorers, tmp_path):
    own = shutil.copytree(folder, tmp_path / "vit")
    shutil.copy(scorers / "1" / "preprocessor_config.json", own)
    with pytest.raises(ArtefactError, match="lacks the weights classifier"):
        behaviour(f"score:{own}").prepare(CONTEXT)


@pytest.mark.parametrize("kind", ["diversity", "coverage", "precision", "embedding", "score"])
def test_a_folder_without_a_model_is_refused_before_any_model_is_measured(tmp_path, kind):
    with pytest.raises(ArtefactError, match="is not a folder of a transformers model"):
        behaviour(f"{kind}:{tmp_path}").prepare(CONTEXT)
