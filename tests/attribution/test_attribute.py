"""From a model to scores: what must not change them, models of any kind, and cases that are known exactly."""

import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from diffusers import DDPMScheduler
from scipy.stats import spearmanr
from torch import nn

from whence import artefacts
from whence.attribution.attribute import attribute as attribute_with
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.methods import METHODS
from whence.attribution.pictures import Pictures
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.target import Target
from whence.attribution.trak import trak
from whence.config import Config, ModelConfig, TrainingConfig
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ConfigError
from whence.gradients.compression import Compression
from whence.scores.scores import Scores
from whence.seeds import derived_seed

CONFIG = AttributionConfig(draws=8, compression=Compression(width=200))
EXACT = AttributionConfig(draws=8, compression=Compression(kind="none"))
attribute = partial(attribute_with, engine=Engine(1))
SOME = ["d-trak", "gradient-cosine", "tracin", "journey-trak-steps"]


def same(left: Scores, right: Scores) -> bool:
    """Whether scores are equal to the last bit, with their errors."""
    tensors = ("scores", "standard_error", "deviations")
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in tensors) and (
        (left.queries, left.examples) == (right.queries, right.examples)
    )


@pytest.fixture(scope="module")
def whole(recorded_run, few_digits, drawn, tmp_path_factory):
    """Some methods at once with 16 draws: scores, and the folder."""
    out = tmp_path_factory.mktemp("attribution") / "scores"
    config = CONFIG.model_copy(update={"draws": 16})
    return attribute(recorded_run, few_digits, drawn, SOME, config=config, out=out), out


def test_more_draws_and_methods_later_give_the_same_bits(recorded_run, few_digits, drawn, whole, tmp_path):
    expected, out = whole
    for draws, methods in ((8, SOME[1:2]), (11, SOME[2:3]), (16, SOME[:2]), (16, SOME[2:])):
        config = CONFIG.model_copy(update={"draws": draws})
        found = attribute(recorded_run, few_digits, drawn, methods, config=config, out=tmp_path)
        if draws == 16:
            assert all(same(found[name], expected[name]) for name in methods)
    for name in SOME:
        assert same(Scores.read(tmp_path / name), expected[name])
    assert (tmp_path / "norms.parquet").read_bytes() == (out / "norms.parquet").read_bytes()


def test_scores_do_not_depend_on_the_order(recorded_run, few_digits, drawn, whole):
    rows = torch.randperm(len(few_digits), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = Examples.of(few_digits.select(rows))
    turned = Examples(drawn.ids[::-1], drawn.values.flip(0), origin=drawn.origin)
    config = CONFIG.model_copy(update={"draws": 16})
    found = attribute(recorded_run, shuffled, turned, SOME, config=config)
    for name in SOME:
        expected = whole[0][name]
        places = torch.tensor([expected.examples.index(one) for one in found[name].examples])
        lines = torch.tensor([expected.queries.index(one) for one in found[name].queries])
        assert found[name].examples == tuple(few_digits.ids[n] for n in rows)
        for field in ("scores", "standard_error"):
            assert torch.equal(getattr(found[name], field), getattr(expected, field)[lines][:, places])


@pytest.mark.slow
def test_scores_do_not_depend_on_the_processes(recorded_run, few_digits, drawn, whole):
    config = CONFIG.model_copy(update={"draws": 16})
    found = attribute(recorded_run, few_digits, drawn, SOME, config=config, engine=Engine(2))
    assert all(same(found[name], whole[0][name]) for name in SOME)


def test_the_same_again_changes_nothing(recorded_run, few_digits, drawn, whole, contents):
    _, out = whole
    config, before = CONFIG.model_copy(update={"draws": 16}), contents(out)
    attribute(recorded_run, few_digits, drawn, SOME, config=config, out=out)
    assert contents(out) == before


def test_another_damping_stands_beside(recorded_run, few_digits, drawn, whole, tmp_path):
    for damping in (0.1, 2.5):
        config = CONFIG.model_copy(update={"damping": damping})
        found = attribute(recorded_run, few_digits, drawn, SOME[:2], config=config, out=tmp_path)
    names = {path.name for path in artefacts.whole(tmp_path, "*") if artefacts.kind_of(path) == "scores"}
    assert names == {"d-trak", "d-trak-damping-2.5", "gradient-cosine"}
    assert same(Scores.read(tmp_path / "d-trak-damping-2.5"), found["d-trak"])
    assert not same(Scores.read(tmp_path / "d-trak"), found["d-trak"])


def test_a_folder_of_features_serves_several_results(recorded_run, few_digits, drawn, tmp_path):
    for out in ("one", "two"):
        one = Examples(drawn.ids, drawn.values if out == "one" else -drawn.values)
        attribute(recorded_run, few_digits, one, "trak", config=CONFIG, out=tmp_path / out, store=tmp_path / "s")
    assert not (tmp_path / "one" / "features").exists()
    assert len(list((tmp_path / "s").glob("*/examples/loss"))) == 1
    assert len(list((tmp_path / "s").glob("*/queries-*/loss"))) == 2


def test_the_pictures_at_the_ends_are_kept(whole, few_digits, drawn):
    kept = Pictures.read(whole[1] / "pictures")
    assert (kept.queries.ids, kept.examples.ids) == (drawn.ids, few_digits.ids)
    assert torch.equal(kept.examples.values, artefacts.to_tensor(few_digits.pixels))


def test_pictures_alone_give_results_too(recorded_run, few_digits, drawn, tmp_path):
    found = attribute(recorded_run, few_digits, drawn, ["pixel", "pixel-cosine"], out=tmp_path, config=CONFIG)
    assert same_values(Scores.read(tmp_path / "pixel"), found["pixel"])
    assert artefacts.kind_of(tmp_path / "request") == "attribution"
    assert not (tmp_path / "features").exists()


def same_values(left: Scores, right: Scores) -> bool:
    return torch.equal(left.scores, right.scores)


@pytest.mark.slow
def test_several_models_give_the_mean_and_only_what_each_has_seen(few_digits, drawn, tmp_path):
    """As of an ensemble: recorded steps say nothing of examples that a member was not trained on."""
    every, names, runs = Examples.of(few_digits), ["trak", "tracin"], []
    training = TrainingConfig(steps=8, batch_size=4, save_every=8, checkpoints=2, warmup=1, learning_rate=1e-3)
    config = Config(model=ModelConfig(channels=(8,), groups=4, attention=0), training=training)
    for k, rows in enumerate((range(7), range(3, 10))):
        runs.append(tmp_path / f"run {k}")
        train(few_digits.select(rows), runs[-1], config)
    queries = replace(drawn, origin=None)
    found = attribute(Target("both", tuple(runs)), every, queries, names, config=CONFIG)
    alone = [attribute(run, every, queries, names, config=CONFIG) for run in runs]
    for name in names:
        mean = torch.stack([one[name].scores for one in alone]).mean(0)
        torch.testing.assert_close(found[name].scores, mean, rtol=1e-4, atol=1e-12)
    for one, unseen in zip(alone, (slice(7, 10), slice(0, 3)), strict=True):
        assert (one["trak"].scores != 0).all()
        assert not one["tracin"].scores[:, unseen].any()
        assert int((one["tracin"].scores == 0).sum()) == 6


def test_weights_in_the_loss_weigh_recorded_steps(few_digits, drawn, tmp_path):
    training = TrainingConfig(steps=5, batch_size=4, save_every=5, checkpoints=1, warmup=1, learning_rate=1e-3)
    config = Config(model=ModelConfig(channels=(8,), groups=4, attention=0), training=training)
    train(few_digits, tmp_path / "run", config, weights={few_digits.ids[2]: 0.0, few_digits.ids[5]: 3.0})
    queries = Examples(("q",), few_digits.images([2]))
    scores = attribute(tmp_path / "run", few_digits, queries, "tracin", config=CONFIG)["tracin"].scores[0]
    assert scores[2] == 0
    assert scores[:2].all()
    step = artefacts.read_tensors(next((tmp_path / "run" / "checkpoints").iterdir()))
    model = DiffusionModel.load(tmp_path / "run")
    model.network.load_state_dict({k.removeprefix("weights/"): v for k, v in step.items() if "weights/" in k})
    alone = attribute(model, few_digits, queries, "gradient-dot", config=CONFIG)["gradient-dot"]
    assert alone.scores[0, 2] != 0


def test_checkpoints_of_equal_weights_keep_their_own_visits(few_digits, drawn, tmp_path):
    training = TrainingConfig(steps=10, batch_size=4, save_every=10, checkpoints=2, warmup=1, learning_rate=1e-50)
    config = Config(model=ModelConfig(channels=(8,), groups=4, attention=0), training=training)
    train(few_digits, tmp_path / "run", config)
    plan = FeaturePlan.of(AttributionRequest.of(tmp_path / "run", few_digits, drawn, "tracin", CONFIG))
    assert [term.examples.source.last for term in plan.terms[METHODS["tracin"]]] == [1, 3]
    jobs = FeatureStore(tmp_path / "s").jobs(plan).values()
    assert len({job.path.parent for job in jobs}) == 1
    assert len({job.path for job in jobs}) == 3
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", ["gradient-dot", "trak", "d-trak"])
def test_compressed_gradients_rank_as_whole_ones(recorded_run, few_digits, drawn, name):
    config = CONFIG.model_copy(update={"compression": Compression(width=2048)})
    (left,), (right,) = (
        attribute(recorded_run, few_digits, drawn, name, config=one).values() for one in (config, EXACT)
    )
    for q in range(2):
        assert spearmanr(left.scores[q], right.scores[q]).statistic > 0.9


class Captioned(nn.Module):
    """A denoiser of latents [n, 4, 2, 2] with captions."""

    def __init__(self):
        super().__init__()
        self.base, self.lora_a, self.lora_b = nn.Linear(16, 16), nn.Linear(16, 2, bias=False), nn.Linear(2, 16)
        self.words = nn.Embedding(5, 16)

    def forward(self, x, t, caption):
        h = torch.tanh(x.flatten(1) + self.words(caption).mean(1) + t[:, None] / 1000)
        return (self.base(h) + self.lora_b(self.lora_a(h))).reshape(x.shape)


class Flat(nn.Module):
    """The linear denoiser W x_t."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(4, 4, bias=False)

    def forward(self, x, t):
        return self.weight(x.flatten(1)).reshape(x.shape)


def custom(kind, shape) -> DiffusionModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DiffusionModel(kind(), DDPMScheduler(), shape)


def latents(names: str, seed: int, count: int = 4) -> Examples:
    source = torch.Generator().manual_seed(seed)
    captions = torch.randint(5, (len(names), 3), generator=source)
    return Examples(tuple(names), 3 * torch.randn(len(names), count, 2, 2, generator=source), {"caption": captions})


def loss_features(model, examples, purpose, parameters) -> torch.Tensor:
    """Mean over the draws of the gradient of the loss, by autograd, one after the other."""
    draws, found = Draws(derived_seed(0, purpose), 1000), []
    chosen = [value for name, value in model.network.named_parameters() if re.search(parameters, name)]
    for n, name in enumerate(examples.ids):
        t, noise = draws([name] * 8, range(8), model.size)
        given = examples.conditions_of([n] * 8)
        parts = torch.autograd.grad(model.loss(examples.x([n] * 8), t, noise, **given).mean(), chosen)
        found.append(torch.cat([part.flatten() for part in parts]).double())
    return torch.stack(found)


@pytest.mark.parametrize("parameters", ["", "lora"])
def test_any_network_with_conditions_and_latents(parameters):
    model, examples, queries = custom(Captioned, (4, 2, 2)), latents("abcdefg", 1), latents("xyz", 2)
    trak_scores = partial(attribute, model, examples, method="trak", config=EXACT, parameters=parameters)
    found = trak_scores(queries=queries)["trak"]
    phi, asked = (loss_features(model, *one, parameters) for one in ((examples, "examples"), (queries, "queries")))
    gram = phi.T @ phi
    damping = 0.1 * gram.trace() / min(phi.shape) * torch.eye(len(gram))
    expected = asked @ torch.linalg.inv(gram + damping) @ phi.T
    torch.testing.assert_close(found.scores.double(), expected, rtol=1e-3, atol=1e-5)
    other = Examples(queries.ids, queries.values, {"caption": (queries.conditions["caption"] + 1) % 5})
    assert not same_values(
        attribute(model, examples, other, "trak", config=EXACT, parameters=parameters)["trak"], found
    )


def test_a_linear_denoiser_against_its_gradient_on_paper():
    model = custom(Flat, (1, 2, 2))
    examples, queries = (replace(latents(*one, count=1), conditions={}) for one in (("abcde", 1), ("xy", 2)))
    found = attribute(model, examples, queries, ["gradient-dot", "d-trak"], config=EXACT)
    W = model.network.weight.weight.detach().double()
    for name, residual in (("gradient-dot", 1.0), ("d-trak", 0.0)):
        sides = []
        for one, purpose in ((examples, "examples"), (queries, "queries")):
            rows = []
            for n, own in enumerate(one.ids):
                t, noise = Draws(derived_seed(0, purpose), 1000)([own] * 8, range(8), (1, 2, 2))
                x_t = model.process.noised(one.x([n] * 8), t, noise).flatten(1).double()
                # ∂/∂W ‖W x_t - ε‖² / D = 2 (W x_t - ε) x_tᵀ / D, and without ε for the squared norm
                rows.append(torch.einsum("ti,tj->ij", x_t @ W.T - residual * noise.flatten(1), x_t).flatten() * 2 / 32)
            sides.append(torch.stack(rows))
        phi, asked = sides
        if name == "d-trak":
            gram = phi.T @ phi
            asked = asked @ torch.linalg.inv(gram + 0.1 * gram.trace() / 5 * torch.eye(16))
        torch.testing.assert_close(found[name].scores.double(), asked @ phi.T, rtol=1e-4, atol=1e-6)


def test_one_example():
    model, examples, queries = custom(Captioned, (4, 2, 2)), latents("a", 1), latents("xy", 2)
    found = attribute(model, examples, queries, ["trak", "gradient-dot"], config=EXACT)
    phi = loss_features(model, examples, "examples", "")
    expected = found["gradient-dot"].scores.double() / (1.1 * phi.square().sum())
    torch.testing.assert_close(found["trak"].scores.double(), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_examples_that_are_all_equal_differ_by_their_draws_alone(recorded_run, few_digits, drawn, name):
    model = DiffusionModel.load(recorded_run)
    one = Examples.of(few_digits)
    equal = Examples(one.ids, one.values[:1].expand(10, -1, -1, -1), one.conditions)
    config = CONFIG.model_copy(update={"draws": 32, "damping": 10.0, "curvature_rows": 64})
    found = attribute(model, equal, drawn, name, config=config)[name]
    spread = (found.scores - found.scores.mean(1, keepdim=True)).abs()
    assert (spread < 6 * found.standard_error).float().mean() > 0.9


def test_a_method_of_ones_own(recorded_run, few_digits, drawn, tmp_path):
    mine = Method("mine", "Twice the dot product", "nowhere", lambda evidence, damping: 2 * evidence.dot, damped=False)
    found = attribute(recorded_run, few_digits, drawn, ["gradient-dot", mine], config=CONFIG, out=tmp_path)
    torch.testing.assert_close(found["mine"].scores, 2 * found["gradient-dot"].scores)
    assert same_values(Scores.read(tmp_path / "mine"), found["mine"])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method("trak", "Another", "", trak, readout="mean"), "Two methods are called 'trak'"),
        (
            Method("row", "", "", lambda evidence, _: evidence.dot[0]),
            r"'row' returned scores of shape \(10,\); expected",
        ),
    ],
)
def test_methods_that_do_not_fit_are_refused(recorded_run, few_digits, drawn, method, message):
    with pytest.raises(ConfigError, match=message):
        attribute(recorded_run, few_digits, drawn, ["trak", method], config=CONFIG)


@pytest.mark.parametrize("name", ["features", "pictures", "a/b", "../x", "Upper", ""])
def test_names_of_methods_that_no_folder_can_have(name):
    with pytest.raises(ConfigError, match="A method can't be called"):
        Method(name, "", "", trak)


def test_a_method_of_an_unknown_readout():
    with pytest.raises(ConfigError, match="There is no readout 'entropy'; there are loss, "):
        Method("odd", "", "", trak, readout="entropy")


def test_conditions_that_only_one_side_has_are_refused():
    model, examples, queries = custom(Captioned, (4, 2, 2)), latents("abc", 1), latents("xy", 2)
    with pytest.raises(ConfigError, match=r"have the conditions \['caption'\], the queries \[\]. Give both those"):
        attribute(model, examples, replace(queries, conditions={}), "trak", config=EXACT)


def test_intervals_of_the_draws_hold_the_scores_of_many_draws(recorded_run, few_digits, drawn):
    """90% intervals of 32 draws (Student's t, 7 degrees of freedom) hold what four times as many other draws say."""
    few, many = (
        attribute(
            recorded_run,
            few_digits,
            drawn,
            "gradient-dot",
            config=CONFIG.model_copy(update={"draws": draws, "seed": seed}),
        )["gradient-dot"]
        for draws, seed in ((32, 0), (128, 1))
    )
    error = (few.standard_error.square() + many.standard_error.square()).sqrt()
    assert ((few.scores - many.scores).abs() < 1.895 * error).float().mean() > 0.75
