"""A prefilter: gradients of candidates, a kernel of the population, and what was lost."""

import numpy as np
import pytest
import torch

import whence
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.prefilter import Prefilter, share_found
from whence.attribution.trak import trak
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.errors import ConfigError
from whence.scores.scores import Scores

ONE = whence.Engine(workers=1)


@pytest.fixture(scope="module")
def digits():
    return load("digits").select(range(60))


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    training = TrainingConfig(steps=12, batch_size=10, save_every=12, checkpoints=0, warmup=2)
    path = tmp_path_factory.mktemp("prefilter") / "run"
    whence.train(digits, path, Config(model=ModelConfig(channels=(8,), groups=4, attention=0), training=training))
    return path


def config(prefilter=None, **settings):
    return whence.AttributionConfig(draws=8, compression={"width": 120}, prefilter=prefilter, **settings)


@pytest.fixture(scope="module")
def whole(run, digits):
    return whence.attribute(run, digits, "sample:2", ["trak", "tangent"], config=config(), engine=ONE)


@pytest.mark.parametrize("text", [pytest.param("latent:60", marks=pytest.mark.slow), "pixel:1000"])
def test_candidates_of_all_are_all(run, digits, whole, text):
    found = whence.attribute(run, digits, "sample:2", ["trak", "tangent"], config=config(text), engine=ONE)
    for name, scores in found.items():
        order = [scores.examples.index(one) for one in whole[name].examples]
        assert torch.allclose(scores.scores[:, order], whole[name].scores, rtol=1e-5, atol=1e-12)
        assert scores.recall["proponents"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert scores.recall["sample"] == 0


def test_scores_are_of_the_nearest_and_near_those_of_the_whole_kernel(run, digits, whole, tmp_path):
    out = tmp_path / "scores"
    [scores] = whence.attribute(
        run, digits, "sample:2", "trak", config=config("latent:20"), out=out, engine=ONE
    ).values()
    assert 20 <= len(scores.examples) < 60
    assert scores.recall["examples"] == 60
    assert scores.recall["candidates"] == len(scores.examples)
    expected = whole["trak"].scores[:, [whole["trak"].examples.index(name) for name in scores.examples]]
    assert np.corrcoef(scores.scores.flatten(), expected.flatten())[0, 1] > 0.9
    pixels = torch.from_numpy(digits.pixels.astype(np.float64)).flatten(1) / 127.5 - 1
    queries = whence.read_queries(whence.DiffusionModel.load(run), "sample:2").values.double().flatten(1)
    nearest = torch.cdist(queries, pixels).topk(20, 1, largest=False).indices.flatten().tolist()
    assert {digits.ids[n] for n in nearest} == set(scores.examples)
    stored = Scores.read(out / "trak")
    assert stored.recall == scores.recall
    assert torch.equal(stored.scores, scores.scores)
    again = whence.attribute(run, digits, "sample:2", "trak", config=config("latent:20"), out=out, engine=ONE)
    assert torch.equal(again["trak"].scores, scores.scores)


def test_the_weighted_sample_has_the_kernel_of_the_population():
    random = torch.Generator().manual_seed(0)
    population, queries = (torch.randn(n, 12, generator=random) for n in (4000, 3))
    weights = torch.cat([torch.ones(50), torch.full((500,), 3950 / 500)])
    few = FeaturePair(population[:550], queries, weights=weights, population=4000)
    expected = trak(FeaturePair(population, queries), 1.0)[:, :50]
    assert (trak(few, 1.0)[:, :50] - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("rows", [20, 4])
def test_the_mean_eigenvalue_is_that_of_the_population(rows):
    features = torch.randn(rows, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.full((rows,), 40.0 / rows)
    pair = FeaturePair(features, features[:1], weights=weights, population=40)
    trace = float(features.double().square().sum()) * 40 / rows
    assert pair.kernel.absolute(1.0) == pytest.approx(trace / 8, rel=1e-6)


def test_the_share_that_is_found():
    assert share_found(np.zeros(100, int), 10.0, 20, 2).value == 1
    assert share_found(np.zeros(100, int), 10.0, 20, 2).interval.low == pytest.approx(20 / 50)
    assert share_found(np.zeros(0, int), 0.0, 20, 2).interval.low == 1
    some = share_found(np.array([1] * 10 + [0] * 90), 2.0, 20, 1)
    assert some.value == pytest.approx(0.5)
    assert some.interval.low < 0.5 < some.interval.high


def test_the_recall_is_that_of_all_scores(run, digits, whole):
    """With a sample of all others, what is estimated is what the whole matrix says of the same kernel."""
    [scores] = whence.attribute(run, digits, "sample:2", "trak", config=config("latent:40"), engine=ONE).values()
    assert scores.recall["candidates"] + scores.recall["sample"] == 60
    counts = []
    for row, own in zip(whole["trak"].scores, scores.scores, strict=True):
        least = own.topk(scores.recall["top"]).values[-1]
        counts.append(int((row >= least - 1e-9).sum()))
    asked = scores.recall["top"] * 2
    assert scores.recall["proponents"]["value"] == pytest.approx(asked / sum(counts), rel=0.03)


BAD = [
    ("latent", ["trak"], "A prefilter is NAME:COUNT"),
    ("nothing:5", ["trak"], "A prefilter is NAME:COUNT"),
    ("latent:0", ["trak"], "A prefilter is NAME:COUNT"),
    ("latent:5", ["trak", "ek-fac"], "ek-fac needs all training examples"),
    ("latent:5", ["trak", "pixel"], "pixel needs all training examples"),
    ("latent:5", ["tracin"], "tracin needs all training examples"),
]


@pytest.mark.parametrize(("text", "methods", "message"), BAD)
def test_what_a_prefilter_is_not_for(run, digits, text, methods, message):
    with pytest.raises(ConfigError, match=message):
        whence.attribute(run, digits, "sample:1", methods, config=config(text), engine=ONE)


def test_a_prefilter_is_not_for_top_or_an_index(run, digits, tmp_path):
    with pytest.raises(ConfigError, match="Leave out --top or --prefilter"):
        whence.attribute_top(run, digits, "sample:1", "trak", top=3, config=config("latent:5"))
    whence.attribute(run, digits, "sample:1", "trak", config=config("latent:5"), out=tmp_path / "s", engine=ONE)
    with pytest.raises(ConfigError, match="candidates of a prefilter"):
        whence.build_index(tmp_path / "s", tmp_path / "index")
    assert Prefilter.parse("embedding-dot:a:b:7") == Prefilter("embedding-dot:a:b", 7)
