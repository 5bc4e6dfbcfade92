"""Scores by curvature: what must not change them, and gradients that are not kept against gradients that are."""

from dataclasses import replace

import pytest
import torch

from whence import artefacts
from whence.attribution import make_influence as module
from whence.attribution.attribute import attribute
from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.influence import EK_FAC, influence
from whence.attribution.make_influence import make_influence
from whence.attribution.method import Method
from whence.attribution.methods import METHODS
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.gradients.curvature import Curvature
from whence.gradients.features import Feature
from whence.gradients.make_features import make_features
from whence.gradients.stored_features import StoredFeatures
from whence.scores.jackknife import GROUPS

CONFIG = AttributionConfig(draws=8, curvature_rows=64)
BOTH = ["ek-fac", "k-fac"]
SERIAL = Engine(1)


def same(left, right) -> bool:
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in ("scores", "standard_error"))


@pytest.fixture(scope="module")
def plan(recorded_run, few_digits, drawn) -> FeaturePlan:
    return FeaturePlan.of(AttributionRequest.of(recorded_run, few_digits, drawn, BOTH, CONFIG))


@pytest.fixture(scope="module")
def store(plan, tmp_path_factory) -> FeatureStore:
    """With the scores of the plan; only to be read."""
    store = FeatureStore(tmp_path_factory.mktemp("influence"))
    store.extend(plan, engine=SERIAL)
    return store


@pytest.fixture(scope="module")
def expected(plan, store):
    return compute_scores(plan, store)


def influence_job(plan, store):
    curved = plan.curved
    return store.influence.job(curved, curved.terms[METHODS["ek-fac"]][0])


def test_gradients_that_are_not_kept_give_what_kept_ones_give(plan, store, tmp_path):
    """Without each group of draws as well; the curvature is that of the sum over the training examples."""
    job = influence_job(plan, store)
    kept = replace(job.examples, path=tmp_path / "examples")
    make_features([kept], engine=SERIAL)
    examples, queries = (StoredFeatures.open(path, Feature("loss")) for path in (kept.path, job.queries.path))
    curvature = Curvature.read(job.curvature.path)
    for name in BOTH:
        method = METHODS[name]
        stored = store.scores(plan, plan.terms[method][0], method)
        for group in (None, *range(GROUPS)):
            means = [curvature.rotated(one.mean(group)) for one in (examples, queries)]
            values = len(examples.ids) * curvature.eigenvalues[name]
            pair = FeaturePair(*means, examples.loss(group), examples.widths, values)
            torch.testing.assert_close(
                stored.at(EK_FAC.damping, group), influence(pair, EK_FAC.damping), rtol=1e-4, atol=1e-7
            )


def test_no_gradient_of_a_training_example_is_on_disk(plan, store):
    assert not [path for path in store.folder.rglob("*") if path.is_dir() and path.name.startswith("examples")]
    assert len(list(store.folder.rglob("queries-*"))) == 1


def test_scores_do_not_depend_on_the_order(recorded_run, few_digits, drawn, expected):
    turned = Examples(drawn.ids[::-1], drawn.values.flip(0), origin=drawn.origin)
    data = Examples.of(few_digits.select(range(9, -1, -1)))
    found = attribute(recorded_run, data, turned, BOTH, config=CONFIG, engine=SERIAL)
    for name in BOTH:
        assert found[name].examples == few_digits.ids[::-1]
        for field in ("scores", "standard_error"):
            assert torch.equal(getattr(found[name], field), getattr(expected[name], field).flip(0, 1))


def test_the_size_of_blocks_changes_rounding_alone(recorded_run, few_digits, drawn, expected, monkeypatch):
    monkeypatch.setattr(module, "VALUES", 1)
    found = attribute(recorded_run, few_digits, drawn, BOTH, config=CONFIG, engine=SERIAL)
    for name in BOTH:
        scale = float(expected[name].scores.abs().max())
        torch.testing.assert_close(found[name].scores, expected[name].scores, rtol=1e-3, atol=1e-3 * scale)


def test_two_processes_give_what_one_gives(plan, expected, tmp_path, monkeypatch):
    store = FeatureStore(tmp_path)
    store.extend(plan, engine=Engine(2))
    assert all(same(scores, expected[name]) for name, scores in compute_scores(plan, store).items())


def test_interrupted_it_continues_with_the_same_bits(plan, store, expected, monkeypatch, tmp_path, interrupted):
    monkeypatch.setattr(module, "SHARD", 4)
    job = influence_job(plan, store)
    whole, job = (replace(job, folder=tmp_path / name) for name in ("whole", "interrupted"))

    with interrupted(module, "make_shard", 2):
        make_influence(job, engine=SERIAL)
    assert not job.is_made
    for one in (whole, job):
        make_influence(one, engine=SERIAL)
    files = [sorted(one.path.glob("*.safetensors")) for one in (whole, job)]
    assert [len(of_one) for of_one in files] == [3, 3]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_the_same_again_changes_nothing(recorded_run, few_digits, drawn, tmp_path, contents):
    arguments = recorded_run, few_digits, drawn, "ek-fac"
    attribute(*arguments, config=CONFIG, out=tmp_path, engine=SERIAL)
    before = contents(tmp_path)
    attribute(*arguments, config=CONFIG, out=tmp_path, engine=SERIAL)
    assert contents(tmp_path) == before
    assert not (tmp_path / "norms.parquet").exists()


def test_more_draws_keep_the_curvature_and_another_curvature_is_refused(plan, tmp_path, contents):
    store, curvature = FeatureStore(tmp_path), []
    for draws in (8, 16):
        config = CONFIG.model_copy(update={"draws": draws})
        store.extend(replace(plan, request=replace(plan.request, config=config)), engine=SERIAL)
        curvature += [contents(path) for path in tmp_path.glob("whole/*/curvature")]
    assert curvature[0] == curvature[1]
    config = CONFIG.model_copy(update={"curvature_rows": 65})
    with pytest.raises(MismatchError, match="rows: there 64, now 65"):
        store.extend(replace(plan, request=replace(plan.request, config=config)), engine=SERIAL)


def test_several_dampings_share_one_pass(recorded_run, few_digits, drawn, expected, tmp_path):
    request = AttributionRequest.of(recorded_run, few_digits, drawn, BOTH, CONFIG)
    plan, store = FeaturePlan.of(request, (0.001, 0.1, 1.0)), FeatureStore(tmp_path)
    store.extend(plan, engine=SERIAL)
    found = compute_scores(plan, store, errors=False, dampings=(0.001, 0.1, 1.0))
    for name in BOTH:
        assert torch.equal(found[name][0.001].scores.float(), expected[name].scores)
        assert found[name][0.001].scores.std() > found[name][1.0].scores.std()
    for arguments in ({"dampings": (3.0,), "errors": False}, {"dampings": (0.1,)}):
        with pytest.raises(ArtefactError, match=r"There are no scores at damping .* only at 0.001, 0.1, 1"):
            compute_scores(plan, store, **arguments)


def test_at_large_damping_influence_is_the_dot_product():
    """Over λ, layer by layer."""
    examples, queries = torch.randn(5, 6), torch.randn(2, 6)
    eigenvalues = torch.tensor([3.0, 1.0, 0.0, 2.0, 2.0, 8.0])
    pair = FeaturePair(examples, queries, widths=(2, 4), eigenvalues=eigenvalues)
    layers = [queries[:, part] @ examples[:, part].T / mean for part, mean in ((slice(0, 2), 2), (slice(2, 6), 3))]
    torch.testing.assert_close((influence(pair, 1e8) * 1e8).float(), sum(layers), rtol=1e-4, atol=1e-5)


def test_over_checkpoints_it_is_the_mean(recorded_run, few_digits, drawn, tmp_path):
    name = "ek-fac-checkpoints"
    found = attribute(recorded_run, few_digits, drawn, name, config=CONFIG, out=tmp_path, engine=SERIAL)[name]
    assert len(list(tmp_path.glob("features/whole/*/curvature"))) == 3
    files = list(tmp_path.glob("features/whole/*/influence-*/00000.safetensors"))
    mean = torch.stack([artefacts.read_tensors(file)[name][0, 0].double() for file in files]).mean(0)
    order = [sorted(found.examples).index(one) for one in found.examples]
    torch.testing.assert_close(found.scores, mean[:, order].float())


def test_the_cost_counts_the_curvature(plan, store, tmp_path, drawn):
    cost = attribution_cost(plan, FeatureStore(tmp_path), engine=SERIAL)
    rows = 8 * (10 + len(drawn.ids)) + 10 * -(-2 * 64 // 10)
    assert f"{rows} gradients" in cost.work
    assert cost.seconds > 0
    assert attribution_cost(plan, store, engine=SERIAL).work == "scores alone: the features are there"


def test_what_has_no_curvature_is_refused():
    with pytest.raises(ConfigError, match=r"Influence needs features in an eigenbasis"):
        influence(FeaturePair(torch.eye(2), torch.eye(2)), 0.1)
    with pytest.raises(ConfigError, match=r"The method 'mine' has a curvature"):
        Method("mine", "M", "none", influence, curvature="ek-fac", steps="mean")
    with pytest.raises(ConfigError, match=r"Leave out steps, and take over"):
        replace(EK_FAC, over="record")
