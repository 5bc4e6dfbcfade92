"""The commands that measure scores, as a user runs them on scores that are known."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import whence as library
from whence.attribution.pictures import Pictures
from whence.config import ModelConfig
from whence.data import load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.scores.scores import Estimand, Scores

NAMES = tuple(f"image {n:02d}" for n in range(30))
SOURCES = tuple(("odd" if n < 5 else "usual",) for n in range(30))
INPUTS = {"model": "m", "data": "d", "queries": "q"}
CONFIG = {"seed": 0, "draws": 64, "damping": 0.1}


def scores_of(values, queries=NAMES, units=SOURCES, method="mine", **more) -> Scores:
    estimand = Estimand("loss", "left out", "none", "m", "example")
    given = {"examples": NAMES, "sign": "positive is proponent", "combine": "sum", "draws": 64} | more
    return Scores(torch.as_tensor(values).float(), queries, units=units, method=method, estimand=estimand, **given)


@pytest.fixture
def out(tmp_path):
    """Two methods: one that finds everything, and a random one."""
    source = np.random.default_rng(0)
    best = 0.1 * (np.array(SOURCES) == np.array(SOURCES).T) + np.diag(np.where(np.arange(30) < 5, 9.0, 5.0))
    for name, values in (("best", best + 0.01 * source.random((30, 30))), ("guess", source.random((30, 30)))):
        scores_of(values, method=name).write(tmp_path / "out" / name, INPUTS, {"config": CONFIG})
    return tmp_path / "out"


def line(outcome, measure: str, method: str = "") -> list[str]:
    """What a line of the table says after measure and method."""
    assert outcome.code == 0, outcome.err
    (found,) = [row for row in outcome.out.splitlines() if row.startswith(measure) and f"  {method}" in row]
    return found.removeprefix(measure).replace(method, "", 1).split()


def test_specificity(whence, out):
    outcome = whence("evaluate", "specificity", out, "--top", 3)
    assert "30 queries, 30 training images" in outcome.out
    value, low, _, high, chance = line(outcome, "different images in all top 3", "guess")
    assert float(low) <= float(value) <= float(high)
    assert chance == "29"  # 30 · (1 - .9^30)
    assert line(outcome, "share of images in half of them", "guess")[0] == "0.00%"
    assert "Chance is that of a random order" in outcome.out


def test_outliers(whence, out):
    outcome = whence("evaluate", "outliers", out, "--outliers", "odd")
    assert line(outcome, "area under the ROC curve", "best") == ["1.000", "1.000", "to", "1.000", "0.500"]
    assert line(outcome, "recall among as many", "best")[0] == "1.000"
    assert line(outcome, "recall among as many", "guess")[-1] == "0.167"
    assert 0.2 < float(line(outcome, "area under the ROC curve", "guess")[0]) < 0.8


def test_labelled_data_of_several_sizes_is_cropped(whence, out, tmp_path):
    """The advice to pass --resolution can be followed."""
    (tmp_path / "data").mkdir()
    for n in range(30):
        Image.new("RGB", (8 + n % 2, 8)).save(tmp_path / "data" / f"image {n:02}.png")
    rows = "".join(f"image {n:02}.png,{SOURCES[n][0]}\n" for n in range(30))
    (tmp_path / "data" / "metadata.csv").write_text("file_name,source\n" + rows)
    for words in (("outliers", out, "--outliers", "odd"), ("retrieval", out)):
        labelled = ("evaluate", *words, "--data", tmp_path / "data", "--unit-column", "source")
        assert "Pass --resolution" in whence(*labelled).err
        assert "30 of 30 training images" in whence(*labelled, "--resolution", 8, "--grey").err


def test_retrieval_of_training_images(whence, out):
    outcome = whence("evaluate", "retrieval", out, "--top", 4)
    assert line(outcome, "precision of the top 4", "best") == ["1.000", "1.000", "to", "1.000", "0.713"]
    assert line(outcome, "itself first", "best")[0] == "1.000"
    assert line(outcome, "itself in the top 10", "guess")[-1] == "0.333"
    assert "A training image should come first for itself" in outcome.out


def test_retrieval_of_other_pictures(whence, tmp_path):
    """Held-out digits, by the captions of data on disk."""
    digits, asked = load("digits", unit_column="label"), load("digits:test", unit_column="label")
    right = np.array(asked.units[:40]) == np.array(digits.units[:200]).T
    found = scores_of(right, asked.ids[:40], tuple((name,) for name in digits.ids[:200]), examples=digits.ids[:200])
    found.write(tmp_path / "perfect", INPUTS)
    words = ("evaluate", "retrieval", tmp_path / "perfect", "--queries", "digits:test")
    outcome = whence(*words, "--data", "digits", "--unit-column", "label")
    assert line(outcome, "precision of the top 10", "perfect")[:1] == ["1.000"]
    assert "itself" not in outcome.out
    assert "there is no precision: --data DATA" in whence(*words).out
    outcome = whence(*words, "--data", "digits:test", "--unit-column", "label")
    assert (outcome.code, "200 of 200 training images of perfect are not in digits:test" in outcome.err) == (1, True)


def test_repeatability(whence, out, tmp_path):
    other = tmp_path / "again"
    for name in ("best", "guess"):
        values = Scores.read(out / name).scores.flip(0, 1)
        again = scores_of(values, NAMES[::-1], SOURCES[::-1], name, examples=NAMES[::-1], draws=32)
        again.write(other / name, INPUTS, {"config": CONFIG | {"seed": 1, "draws": 32}})
    outcome = whence("evaluate", "repeatability", out, other, "--top", 5)
    assert line(outcome, "rank correlation, top 5", "guess (64 and 32 draws)")[:4] == ["1.000", "1.000", "to", "1.000"]
    assert line(outcome, "overlap, top 5", "best (64 and 32 draws)")[::4] == ["1.000", "0.167"]
    assert whence("evaluate", "repeatability", out / "best", other / "best").code == 0


@pytest.mark.parametrize(
    ("inputs", "config", "more", "message"),
    [
        ({}, {"seed": 0}, {}, "the seed 0, so they share draws"),
        ({}, {"damping": 1.0, "seed": 1}, {}, "differ in damping"),
        ({"model": "other"}, {"seed": 1}, {}, "differ in model"),
        ({}, {"seed": 1}, {"combine": "max"}, "differ in combine"),
        ({}, {"seed": 1}, {"method": "another"}, "differ in method"),
        ({}, {"seed": 1}, {"draws": None}, "No method with draws is in both"),
    ],
)
def test_what_is_no_repetition(whence, tmp_path, inputs, config, more, message):
    values = np.random.default_rng(0).random((2, 30, 30))
    gone = {"draws": more["draws"]} if "draws" in more else {}
    scores_of(values[0], **gone).write(tmp_path / "a", INPUTS, {"config": CONFIG})
    scores_of(values[1], **more).write(tmp_path / "b", INPUTS | inputs, {"config": CONFIG | config})
    outcome = whence("evaluate", "repeatability", tmp_path / "a", tmp_path / "b")
    assert outcome.code == 1
    assert message in outcome.err


def test_methods_that_are_in_one_of_the_sets_are_left_out(whence, out, tmp_path):
    shutil.copytree(out / "best", out / "only here")
    scores_of(np.eye(30)).write(tmp_path / "again" / "best", INPUTS)
    outcome = whence("evaluate", "repeatability", out, tmp_path / "again")
    assert (outcome.code, "differ in" in outcome.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("specificity", "nowhere"), "nowhere does not exist"),
        (("specificity", "OUT", "--top", 31), "from 1 to 30 examples"),
        (("outliers", "OUT", "--outliers", "strange"), "No training image is of the unit 'strange'; there are 'odd'"),
        (("outliers", "OUT", "--outliers", "odd", "--outliers", "usual"), "30 of 30 examples are outliers"),
        (("outliers", "OUT", "--outliers", "odd", "--data", "digits"), "30 of 30 training images are not in digits"),
        (("retrieval", "OUT", "--queries", "digits"), "are not in digits, such as 'image 00'"),
        (("retrieval", "OUT", "--top", 30), "from 1 to 29 examples beside the query"),
    ],
)
def test_bad_requests(whence, out, words, message):
    outcome = whence("evaluate", *[out if word == "OUT" else word for word in words])
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("command", [("outliers", "--outliers", "odd"), ("retrieval",)])
def test_queries_that_are_no_training_images(whence, tmp_path, command):
    scores_of(np.ones((2, 30)), ("image 03", "0/0")).write(tmp_path / "some", INPUTS)
    outcome = whence("evaluate", command[0], tmp_path / "some", *command[1:])
    assert (outcome.code, "The query '0/0' of some is no training image" in outcome.err) == (1, True)


@pytest.mark.parametrize("given", ["out", "best"])
def test_other_pictures_under_the_ids_of_training_images(whence, out, given):
    """Two folders may have files of the same names: pictures are compared where they are kept."""
    source = np.random.default_rng(0)
    pixels = torch.from_numpy(source.integers(0, 256, (30, 1, 4, 4), np.uint8))
    Pictures(Examples(NAMES, pixels), Examples(NAMES, pixels), SOURCES).write(out / "pictures", INPUTS)
    path = out if given == "out" else out / given
    assert whence("evaluate", "retrieval", path).code == 0
    Pictures(Examples(NAMES, pixels.flip(0)), Examples(NAMES, pixels), SOURCES).write(out / "pictures", INPUTS)
    outcome = whence("evaluate", "retrieval", path)
    assert (outcome.code, "'image 00' has the id of a training image, but is another" in outcome.err) == (1, True)


def test_scores_that_cant_be_compared_are_noted(whence, out):
    scores_of(np.eye(4, 30), NAMES[:4]).write(out / "few", INPUTS)
    said = whence("evaluate", "specificity", out).out
    assert "not all of the same queries" in said
    assert "so few queries" in said


def test_of_images_that_are_attributed_to_themselves(whence, tmp_path):
    """From the model to the table: pixels trace every image to itself, and two seeds of TRAK are compared."""
    digits = load("digits", unit_column="label").select(range(12))
    model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)
    for seed in (0, 1):
        config = library.AttributionConfig(draws=8, seed=seed, compression=library.Compression(width=100))
        library.attribute(
            model, digits, digits, ["trak", "pixel"], config=config, out=tmp_path / str(seed), engine=Engine(1)
        )
    outcome = whence("evaluate", "retrieval", tmp_path / "0", "--top", 3)
    assert line(outcome, "itself first", "pixel")[0] == "1.000"
    outcome = whence("evaluate", "repeatability", tmp_path / "0", tmp_path / "1", "--top", 3)
    assert line(outcome, "overlap, top 3", "trak (8 draws)")[-1] == "0.250"
    assert "Without draws, so the same every time: pixel." in outcome.out


def bank_scores(bank, values, seed=0) -> Scores:
    estimand = Estimand("loss", "left out", "none", "m", "example")
    names = bank.queries
    return Scores(
        torch.from_numpy(values),
        names,
        bank.examples,
        bank.data.units,
        "mine",
        estimand,
        "positive is proponent",
        "sum",
    )


def test_calibration(whence, tiny_bank, tmp_path):
    """Scores that are the losses' own empirical influence on the pool, which they must then follow; and zeros."""
    bank = tiny_bank
    asked = bank.attribution_queries()
    inputs = {
        "model": bank.fingerprints[0],
        "data": Examples.of(bank.data).fingerprint,
        "queries": asked.fingerprint,
    }
    pool = bank.pool("test")
    change = pool.mean - pool.mean.mean(0)
    values = np.linalg.pinv((~pool.kept).astype(float)) @ change  # [N, Q]: sums over what is left out are the changes
    bank_scores(bank, values.T).write(tmp_path / "fitted", inputs)
    outcome = whence("evaluate", "calibration", tmp_path / "fitted", "--bank", bank.path, "--use", "development")
    assert outcome.code == 0, outcome.err
    assert "2 held out queries (development), pool test: 4 subsets" in outcome.out
    assert "2 drawn queries (development), pool test: 4 subsets" not in outcome.out
    rows = [row.split() for row in outcome.out.splitlines() if row.startswith(("R² together", "slope  "))]
    assert [row[row.index("fitted") + 1] for row in rows] == ["1.000", "1", "1.000", "1"]
    assert "methods without a unit compare by R² alone" in " ".join(outcome.out.split())
    bank_scores(bank, 0 * values.T).write(tmp_path / "nothing", inputs)
    outcome = whence("evaluate", "calibration", tmp_path / "nothing", "--bank", bank.path)
    assert (outcome.code, "nothing: All subsets have the same predicted" in outcome.err) == (1, True)
