"""Any method, asked about pictures of an ensemble."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import whence
from whence.attribution.attributor import GradientAttributor, attributor_of
from whence.attribution.methods import METHODS
from whence.engine import Engine
from whence.errors import ConfigError
from whence.evaluation.false_attribution import false_attribution

CONFIG = whence.AttributionConfig(draws=8, compression=whence.Compression(width=60))
NAMES = ["0/0", "0/1"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Features of the training images, which the tests share."""
    return tmp_path_factory.mktemp("gradients") / "features"


@pytest.fixture
def ask(ensemble, store) -> GradientAttributor:
    found = attributor_of(ensemble, "gradient-dot", config=CONFIG, store=store, engine=Engine(1))
    assert isinstance(found, GradientAttributor)
    return found


def files(path) -> dict:
    return {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file() and file.suffix != ".lock"}


@pytest.mark.slow
def test_it_says_what_attribute_says_and_keeps_the_features_of_the_training_images(ensemble, ask, store):
    pictures = whence.sample(ensemble, count=4, engine=Engine(1)).pictures[:2]
    found = ask(pictures, NAMES)
    queries = whence.Examples(tuple(NAMES), pictures)
    expected = whence.attribute(
        ensemble, ensemble.data, queries, "gradient-dot", config=CONFIG, store=store, engine=Engine(1)
    )
    assert torch.equal(found.scores, expected["gradient-dot"].scores)
    before = {file: time for file, time in files(store).items() if "/examples/" in str(file)}
    assert before
    seen: list = []

    @contextmanager
    def progress(title):
        seen.append(title)
        yield lambda *step: seen.append(step)

    replace(ask, progress=progress)(-pictures, ["other", "pictures"])
    assert seen[0] == "gradient-dot of 2 pictures"
    assert seen[-1][0] == seen[-1][1]
    assert {file: time for file, time in files(store).items() if file in before} == before


@pytest.mark.slow
def test_the_false_attribution_rate_of_a_gradient_method(ensemble, ask):
    found = false_attribution(ensemble, NAMES, ask, controls=2, engine=Engine(1))
    assert found.attributor == "gradient-dot"
    top = ask(whence.sample(ensemble, count=4, engine=Engine(1)).pictures[:2], NAMES).by_unit()
    for k, row in enumerate(found.trials):
        assert row.unit == top.top(row.sample, 1)[0][0]
        without = whence.sample(ensemble, count=4, without=[row.unit], engine=Engine(1)).pictures[k : k + 1]
        name = f"{row.sample} without {row.unit}"
        assert row.after_removal == ask(without, [name]).by_unit().top(name, 1)[0][0]
    before = files(ensemble.path)
    assert false_attribution(ensemble, NAMES, ask, controls=2, engine=Engine(1)) == found
    assert files(ensemble.path) == before


def test_the_way_to_a_picture_is_not_known(ensemble):
    ask = attributor_of(ensemble, "journey-trak", config=CONFIG, engine=Engine(1))
    with pytest.raises(ConfigError, match="leave this method out"):
        false_attribution(ensemble, NAMES, ask, engine=Engine(1))
    assert not list(ensemble.path.glob("evaluations/removals/*"))


@pytest.mark.parametrize("name", [*METHODS, "d-trak-checkpoints"])
def test_every_method_has_one(tiny_ensemble, name):
    found = attributor_of(tiny_ensemble, name)
    assert isinstance(found, GradientAttributor)
    assert found.store == tiny_ensemble.path / "evaluations" / "features"


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("pixels", None, "no method 'pixels'"),
        ("retrac-checkpoints", None, "no method 'retrac-checkpoints'"),
        ("pixel", CONFIG, "pixel compares pictures: it has no draws"),
    ],
)
def test_unknown_names_and_settings_that_nothing_has(tiny_ensemble, name, config, message):
    with pytest.raises(ConfigError, match=message):
        attributor_of(tiny_ensemble, name, config=config)
