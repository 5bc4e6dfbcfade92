"""The ends of scores, computed block by block, against the whole matrix."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from whence.attribution import term_blocks
from whence.attribution.attribute import attribute
from whence.attribution.attribute_top import attribute_top
from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.compute_scores import compute_scores
from whence.attribution.compute_top import compute_top
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.methods import METHODS
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.top_cost import kernel_numbers, top_bytes
from whence.data import load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError
from whence.gradients.compression import Compression
from whence.kernel.kernel import Kernel
from whence.kernel.moments import Moments
from whence.report.scores import write_scores_report
from whence.scores.ends import ScoreEnds
from whence.scores.scores import Scores
from whence.scores.stored import load_scores
from whence.scores.table import to_table
from whence.scores.unit_totals import Membership

CONFIG = AttributionConfig(draws=8, curvature_rows=64, compression=Compression(width=40))
NAMES = ["query", "rank", "example", "units", "opponent"]
#: A method of every family; the recorded run has three checkpoints.
OF_FAMILIES = [
    "trak",
    "d-trak",
    "das",
    "das-squared",
    "tangent",
    "tangent-squared",
    "relative-if",
    "renormalised-if",
    "gradient-dot",
    "gradient-cosine",
    "gas",
    "tracin-cp",
    "retrac",
    "tangent-checkpoints",
    "d-trak-checkpoints",
    "journey-trak",
    "journey-trak-steps",
    "ek-fac",
]


@pytest.fixture(scope="module")
def grouped(few_digits):
    """Ten digits of three contributors, one of them by two."""
    units = tuple((("anna",), ("ben",), ("anna", "cleo"))[n % 3] for n in range(10))
    return few_digits.with_fields(units=units)


@pytest.fixture(scope="module")
def made(recorded_run, grouped, drawn, tmp_path_factory):
    """The plan of all methods on the recorded run, its store, and the whole scores."""
    request = AttributionRequest.of(recorded_run, grouped, drawn, OF_FAMILIES, CONFIG)
    plan, store = FeaturePlan.of(request), FeatureStore(tmp_path_factory.mktemp("store"))
    store.extend(plan, engine=Engine(1))
    return plan, store, compute_scores(plan, store)


def require_same(ends, whole, top, rel=1e-6):
    """The ends are those of the whole scores; errors of sums of the whole are of deviations in half precision."""
    expected = to_table(whole, top)
    assert ends.table.select(NAMES).to_pylist() == expected.select(NAMES).to_pylist()
    for name in ("score", "standard_error"):
        found, known = (np.array(table.column(name)) for table in (ends.table, expected))
        scale = np.abs(np.array(to_table(whole).column(name))).max()
        np.testing.assert_allclose(found, known, rtol=rel, atol=rel * scale)
    units = whole.by_unit()
    assert (ends.units.examples, ends.units.estimand) == (units.examples, units.estimand)
    torch.testing.assert_close(ends.units.scores, units.scores, rtol=1e-5, atol=rel * units.scores.abs().max().item())
    torch.testing.assert_close(ends.units.standard_error, units.standard_error, rtol=2e-3, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "top"),
    [(3, 1), (3, 99), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1024, 3), (1024, 1), (3, 3)))],
    ids=lambda number: f"{number}",
)
def test_all_families_against_the_whole_matrix(made, top, rows, monkeypatch):
    monkeypatch.setattr("whence.attribution.compute_top.row_blocks", partial(term_blocks.row_blocks, most=rows))
    plan, store, whole = made
    found = compute_top(plan, store, top)
    assert found.keys() == whole.keys()
    for name, ends in found.items():
        require_same(ends, whole[name], top)
        query = ends.queries[0]
        assert ends.top(query, 1) == [(name, pytest.approx(value)) for name, value in whole[name].top(query, 1)]
        if not METHODS.get(name, METHODS["trak"]).signed:
            assert ends.opponents(query, 1) == []


def test_kernels_of_one_group_at_a_time_are_those_of_all(made, monkeypatch):
    plan, store, whole = made
    few = replace(
        plan, terms={method: plan.terms[method] for method in plan.terms if method.name in ("trak", "tangent")}
    )
    monkeypatch.setattr(term_blocks, "KERNELS", 1)
    monkeypatch.setattr(term_blocks, "require_room", lambda widths: None)
    for name, ends in compute_top(few, store, 2).items():
        require_same(ends, whole[name], 2)


def test_weights_and_the_ridge_of_training(recorded_run, grouped, drawn, tmp_path):
    weighted = grouped.with_fields(weights=(2.0, 0.5, 0.5, 1.0, 1.0, 2.0, 0.5, 0.5, 1.0, 1.0))
    model = DiffusionModel.load(recorded_run)
    names = ["trak", "das", "relative-if", "tangent", "gradient-dot"]
    whole = attribute(model, weighted, drawn, names, config=CONFIG, store=tmp_path, engine=Engine(1))
    found = attribute_top(model, weighted, drawn, names, top=4, config=CONFIG, store=tmp_path, engine=Engine(1))
    for name in names:
        require_same(found[name], whole[name], 4)


def test_the_ridge_of_training(recorded_run, grouped, drawn, tmp_path):
    auto = CONFIG.model_copy(update={"damping": "auto"})
    given = (recorded_run, grouped, drawn, ["tangent", "tangent-squared"])
    whole = attribute(*given, config=auto, store=tmp_path, engine=Engine(1))
    for name, ends in attribute_top(*given, top=4, config=auto, store=tmp_path, engine=Engine(1)).items():
        require_same(ends, whole[name], 4)


def test_the_order_of_the_examples_does_not_matter(recorded_run, few_digits, drawn, tmp_path):
    model, order = DiffusionModel.load(recorded_run), [3, 1, 0, 9, 2, 4, 8, 5, 7, 6]
    other = few_digits.select(order)
    first, second = (
        attribute_top(model, data, drawn, "trak", top=3, config=CONFIG, store=tmp_path, engine=Engine(1))["trak"]
        for data in (few_digits, other)
    )
    assert first.table == second.table


def test_equal_scores_come_in_the_order_of_the_data(few_digits, drawn):
    model, method = (
        DiffusionModel.new(small(), (1, 8, 8), seed=0),
        replace(METHODS["trak"], name="equal", function=equal),
    )
    ends = attribute_top(model, few_digits, drawn, method, top=3, config=CONFIG, engine=Engine(1))["equal"]
    assert [name for name, _ in ends.top(drawn.ids[0], 3)] == list(few_digits.ids[:3])
    assert [name for name, _ in ends.opponents(drawn.ids[0], 3)] == list(few_digits.ids[:-4:-1])


def small():
    from whence.config import ModelConfig

    return ModelConfig(channels=(8,), groups=4, attention=0)


def equal(pair: FeaturePair, _damping: float) -> torch.Tensor:
    return torch.full((len(pair.queries), len(pair.examples)), -1.0, dtype=torch.float64)


@pytest.mark.parametrize("dampings", [[0.7], [0.2, 0.7]], ids=["solved", "decomposed"])
@pytest.mark.parametrize("shape", [(12, 5), (12, 40)], ids=["few features", "many features"])
def test_a_kernel_of_moments_is_that_of_all_examples(shape, dampings):
    generator = torch.Generator().manual_seed(0)
    examples, queries = (torch.randn(n, shape[1], generator=generator) for n in (shape[0], 3))
    whole, moments = Kernel(examples, queries), Moments.zeros(shape[1])
    blocks = [examples[:5], examples[5:]]
    for block in blocks:
        moments.add(block)
    kernels = [Kernel(block, queries, moments=moments) for block in blocks]
    for damping in dampings:
        for values in ("scores", "leverage", "relative"):
            parts = torch.cat([getattr(kernel, values)(damping) for kernel in kernels], -1)
            torch.testing.assert_close(parts, getattr(whole, values)(damping), rtol=1e-7, atol=1e-9)
    assert kernels[0].absolute(0.3) == pytest.approx(whole.absolute(0.3))


def test_the_folder_is_found_again_read_exported_and_reported(recorded_run, grouped, drawn, tmp_path):
    names, out = ["trak", "das-squared", "pixel"], tmp_path / "scores"
    model = DiffusionModel.load(recorded_run)
    found = attribute_top(model, grouped, drawn, names, top=3, config=CONFIG, out=out, engine=Engine(1))
    kept = ScoreEnds.read(out / "trak-top-3")
    assert kept.table == found["trak"].table
    assert (kept.unit_sizes, kept.estimand) == (tuple(Membership.of(grouped.units).sizes), found["trak"].estimand)
    assert torch.equal(kept.units.scores, Scores.read(out / "trak-top-3" / "units").scores)
    before = (out / "trak-top-3" / "manifest.json").stat().st_mtime_ns
    attribute_top(model, grouped, drawn, names, top=3, config=CONFIG, out=out, engine=Engine(1))
    assert (out / "trak-top-3" / "manifest.json").stat().st_mtime_ns == before
    page = write_scores_report(out).read_text()
    assert "the largest 3 and the smallest 3 of every query were kept" in page
    assert found["trak"].top(drawn.ids[0], 1)[0][0] in page
    assert ">cleo" in page
    with pytest.raises(ArtefactError, match="without --top"):
        load_scores(out)
    with pytest.raises(ConfigError, match="The first 3 of each picture were kept; given 4"):
        kept.top(drawn.ids[0], 4)


@pytest.mark.slow
def test_interrupted_while_features_are_read_and_started_again(recorded_run, grouped, drawn, tmp_path):
    def interrupt(done, total):
        if done == total // 2:
            raise KeyboardInterrupt

    given = (recorded_run, grouped, drawn, ["tangent", "tracin-cp"])
    chosen = {"top": 3, "config": CONFIG, "engine": Engine(1)}
    never = attribute_top(*given, **chosen, store=tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        attribute_top(*given, **chosen, out=tmp_path / "out", store=tmp_path / "store", scored=interrupt)
    again = attribute_top(*given, **chosen, out=tmp_path / "out", store=tmp_path / "store")
    for name, ends in again.items():
        assert ends.table == never[name].table
        assert torch.equal(ends.units.standard_error, never[name].units.standard_error)


def test_whole_scores_go_beside_and_need_no_features_again(recorded_run, few_digits, drawn, tmp_path):
    given = (recorded_run, few_digits, drawn, "trak")
    ends = attribute_top(*given, top=2, config=CONFIG, out=tmp_path / "out", engine=Engine(1))["trak"]
    rows = []
    engine = Engine(1, report=lambda done, total: rows.append(total))
    whole = attribute(*given, config=CONFIG, out=tmp_path / "out", engine=engine)["trak"]
    assert rows == []
    assert ends.units is None
    assert ends.top(drawn.ids[1], 2) == [(name, pytest.approx(value)) for name, value in whole.top(drawn.ids[1], 2)]


@pytest.mark.parametrize("name", ["pixel", "pixel-cosine", "pixel-flips"])
def test_likeness_of_pixels(recorded_run, grouped, drawn, name, monkeypatch):
    monkeypatch.setattr("whence.similarity.top.BLOCK", 4)
    whole = attribute(recorded_run, grouped, drawn, name)[name]
    ends = attribute_top(recorded_run, grouped, drawn, name, top=3)[name]
    assert ends.table == to_table(whole, 3)
    assert torch.equal(ends.units.scores, whole.by_unit().scores)


@pytest.mark.parametrize(
    ("name", "top", "message"),
    [
        ("trak", 0, "--top is 0"),
        ("pixel-kernel", 3, "depend on all others at once"),
        ("metagradient", 3, "differentiates a whole run"),
    ],
)
def test_what_is_refused(recorded_run, few_digits, drawn, name, top, message):
    with pytest.raises(ConfigError, match=message):
        attribute_top(recorded_run, few_digits, drawn, name, top=top, config=CONFIG, engine=Engine(1))


def test_a_kernel_that_does_not_fit_into_memory_is_refused():
    term_blocks.require_room([4096] * 8)
    with pytest.raises(ConfigError, match="smaller --width"):
        term_blocks.require_room([100_000])


def test_the_cost_does_not_depend_on_the_number_of_examples(made):
    plan, _, _ = made
    digits = load("digits")
    more = replace(plan, request=replace(plan.request, examples=Examples.of(digits), units=digits.ungrouped.units))
    fewer = replace(plan, request=replace(plan.request, units=tuple((str(n),) for n in range(10))))
    assert top_bytes(more.compressed, [(20, 20)], 5) == top_bytes(fewer.compressed, [(20, 20)], 5)
    assert kernel_numbers(METHODS["das"], (3, 4)) == 49


def test_the_plan_has_the_memory_and_the_disk_of_the_ends(recorded_run, few_digits, drawn, tmp_path):
    request = AttributionRequest.of(DiffusionModel.load(recorded_run), few_digits, drawn, "trak", CONFIG)
    plan = FeaturePlan.of(request)
    whole, ends = (attribution_cost(plan, FeatureStore(tmp_path), top=top, engine=Engine(1)) for top in (None, 1))
    assert ends.disk > 0
    assert ends.work == whole.work
