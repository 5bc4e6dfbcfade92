"""`whence index` and `whence search`, as a user runs them."""

import shutil

import pytest

import whence as library
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load

TRAINING = TrainingConfig(steps=12, batch_size=10, save_every=12, checkpoints=0, warmup=2)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run on thirty digits, and the folder of scores for four pictures that it draws."""
    root, digits = tmp_path_factory.mktemp("index"), load("digits").select(range(30))
    model = ModelConfig(channels=(8,), groups=4, attention=0)
    library.train(digits, root / "run", Config(model=model, training=TRAINING))
    config = library.AttributionConfig(draws=8, compression={"width": 120})
    one = library.Engine(workers=1)
    library.attribute(
        root / "run", digits, "sample:4", ["trak", "das-squared"], config=config, out=root / "scores", engine=one
    )
    return root


@pytest.fixture(scope="module")
def indexed(scored):
    library.build_index(scored / "scores" / "trak", scored / "index")
    return scored / "index"


def test_from_scores_to_an_index(whence, scored, indexed):
    outcome = whence("index", scored / "scores" / "trak", "--out", indexed)
    assert outcome.code == 0, outcome.err
    assert "30 training images by trak" in outcome.out
    assert "Candidates by Flat of" in outcome.out
    assert "Recall of the top 30: 1.000 (1.000 to 1.000) in 4 searches" in outcome.out
    assert f"Next: whence search {indexed}" in outcome.out


def test_a_search_prints_proponents_opponents_and_times(whence, scored, indexed):
    outcome = whence("search", indexed, "--queries", "sample:1", "--top", 3)
    assert outcome.code == 0, outcome.err
    scores = library.load_scores(scored / "scores" / "trak")
    [(name, value)] = scores.top("0/0", 1)
    assert f"  1  {name}" in outcome.out
    assert f"{value:.4g}" in outcome.out
    assert "trak: proponents of query 0/0" in outcome.out
    assert "trak: opponents of query 0/0" in outcome.out
    assert "Gradients of a picture: " in outcome.out
    assert "Both searches: " in outcome.out


def test_an_image_file_is_searched_for(whence, scored, indexed):
    from PIL import Image

    Image.fromarray(load("digits").pixels[3, 0]).save(scored / "picture.png")
    outcome = whence("search", indexed, "--queries", scored / "picture.png", "--top", 1)
    assert outcome.code == 0, outcome.err
    assert "trak: proponents of query picture.png" in outcome.out


@pytest.mark.parametrize("command", ["index", "search"])
def test_help(whence, command):
    outcome = whence(command, "--help")
    assert outcome.code == 0
    assert f"whence {command} [OPTIONS]" in outcome.out


def refused(outcome) -> bool:
    """Whether a command ended with a message."""
    return outcome.code == 1 and "Error: " in outcome.err and "Traceback" not in outcome.err


def test_bad_input_is_a_message(whence, scored, indexed, tmp_path):
    cases = [
        (("index", scored / "scores", "--out", tmp_path / "i"), "holds several scores"),
        (("index", scored / "scores" / "das-squared", "--out", tmp_path / "i"), "are no inner products"),
        (("index", scored / "scores" / "trak", "--out", tmp_path / "i", "--factory", "X"), "FAISS can't make 'X'"),
        (("index", scored / "scores" / "trak", "--out", indexed, "--factory", "IVF2,Flat"), "made.factory"),
        (("index", tmp_path / "nothing", "--out", tmp_path / "i"), "does not exist"),
        (("search", tmp_path / "nothing", "--queries", "sample:1"), "is not a Whence index"),
        (("search", scored / "run", "--queries", "sample:1"), "run is a"),
        (("search", indexed, "--queries", "nowhere"), "nowhere"),
    ]
    for words, message in cases:
        outcome = whence(*words)
        assert refused(outcome), (words, outcome.err)
        assert message in outcome.err
    assert not (tmp_path / "i").exists()


def test_another_model_is_refused(whence, scored, indexed, tmp_path):
    from whence.diffusion.model import DiffusionModel

    model = DiffusionModel.load(scored / "run")
    model.network.conv_in.bias.data += 1
    model.save(tmp_path / "other")
    outcome = whence("search", indexed, "--queries", "sample:1", "--model", tmp_path / "other")
    assert refused(outcome)
    assert "Give the model of the index" in outcome.err
    shutil.copytree(scored / "run", tmp_path / "moved")
    assert whence("search", indexed, "--queries", "sample:1", "--model", tmp_path / "moved").code == 0


def test_attribute_with_a_prefilter_says_what_was_lost(whence, scored, tmp_path):
    words = ("--queries", "sample:2", "--method", "trak", "--draws", 8, "--width", 120, "--workers", 1)
    library.DiffusionModel.load(scored / "run").save(tmp_path / "model")  # without a record of its data
    out = tmp_path / "scores"
    outcome = whence("attribute", tmp_path / "model", "digits", *words, "--prefilter", "latent:8", "--out", out)
    assert outcome.code == 0, outcome.err
    assert "candidates of 1,500 images; of those that score as high as a picture's" in outcome.out
    assert ", opponents ." in outcome.out or ", opponents 0." in outcome.out
    outcome = whence("attribute", tmp_path / "model", "digits", *words, "--prefilter", "pixels:8", "--out", out)
    assert refused(outcome)
    assert "A prefilter is NAME:COUNT" in outcome.err
