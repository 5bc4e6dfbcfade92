import pytest
import torch

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.attribution.attribution_cost import KEPT, attribution_cost
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.cost import ProcessMemory, peak_memory
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.gradients.compression import Compression

CONFIG = AttributionConfig(draws=8, compression=Compression(kind="none"))
EXAMPLES, QUERIES, STEPS = 10, 2, 3


@pytest.mark.parametrize(
    ("methods", "rows", "kinds", "pairs"),
    [
        (["trak"], EXAMPLES + QUERIES, 1, QUERIES),
        (["trak", "relative-if"], EXAMPLES + QUERIES, 1, 2 * QUERIES),
        (["trak", "das"], EXAMPLES + QUERIES, 2, 2 * QUERIES),
        (["journey-trak-steps"], EXAMPLES + QUERIES * STEPS, 1, QUERIES * STEPS),
    ],
)
def test_the_disk_of_features_and_scores(recorded_run, few_digits, drawn, tmp_path, methods, rows, kinds, pairs):
    request = AttributionRequest.of(recorded_run, few_digits, drawn, methods, CONFIG)
    plan = attribution_cost(FeaturePlan.of(request), FeatureStore(tmp_path), engine=Engine(1))
    assert not list(tmp_path.iterdir())
    parameters = sum(one.numel() for one in DiffusionModel.load(recorded_run).network.parameters())
    assert plan.disk == kinds * rows * 8 * 4 * parameters + KEPT * pairs * EXAMPLES
    assert plan.seconds > 0
    assert f"{8 * rows:,} gradients" in plan.work
    assert f"by {parameters:,} parameters" in plan.work


def test_scores_of_features_that_are_there(recorded_run, few_digits, drawn, tmp_path):
    attribute(recorded_run, few_digits, drawn, "trak", config=CONFIG, out=tmp_path, engine=Engine(1))
    request = AttributionRequest.of(recorded_run, few_digits, drawn, "trak", CONFIG)
    plan = attribution_cost(FeaturePlan.of(request), FeatureStore(tmp_path / "features"), engine=Engine(1))
    assert plan.work == "scores alone: the features are there"
    assert plan.seconds > 0
    tensors = artefacts.read_tensors(tmp_path / "trak" / "scores.safetensors").values()
    assert plan.disk == sum(one.numel() * one.element_size() for one in tensors)


@pytest.mark.slow  # `test_engine.py` has the memory of a task apart
def test_the_memory_of_a_worker_is_measured_in_a_worker(recorded_run, few_digits, drawn, tmp_path):
    """What the planning process has used itself counts once, not once for each worker."""
    torch.ones(2**30, dtype=torch.uint8)
    request = AttributionRequest.of(recorded_run, few_digits, drawn, "trak", CONFIG)
    plan = attribution_cost(FeaturePlan.of(request), FeatureStore(tmp_path), engine=Engine(2))
    assert "in 2 processes" in plan.work
    assert peak_memory() <= plan.memory < 1.5 * peak_memory()
    assert plan.seconds > 0


@pytest.mark.parametrize("workers", [2, 3])
def test_what_a_worker_has_alone_is_multiplied(recorded_run, few_digits, drawn, tmp_path, monkeypatch, workers):
    """The training examples are in two batches, the queries in one: three tasks."""
    worker = ProcessMemory(alone=10**12, shared=10**11)
    monkeypatch.setattr(Engine, "run_apart", lambda self, task: ([1.0] * len(task.arguments["jobs"]), worker))
    monkeypatch.setattr("whence.attribution.feature_folder.batch_of", lambda *_: 8)
    request = AttributionRequest.of(recorded_run, few_digits, drawn, "trak", CONFIG)
    plan = attribution_cost(FeaturePlan.of(request), FeatureStore(tmp_path), engine=Engine(workers))
    main = plan.memory - workers * worker.alone - worker.shared
    assert 0 < main <= peak_memory()


def test_a_model_in_memory_is_planned_with_one_process(recorded_run, few_digits, drawn, tmp_path, monkeypatch):
    """Another process can't open it."""
    monkeypatch.delattr(Engine, "run_apart")
    request = AttributionRequest.of(DiffusionModel.load(recorded_run), few_digits, drawn, "trak", CONFIG)
    plan = attribution_cost(FeaturePlan.of(request), FeatureStore(tmp_path), engine=Engine(4))
    assert "in 1 process," in plan.work
    assert plan.memory >= peak_memory() > 0


@pytest.mark.parametrize("precision", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_what_an_image_costs_is_what_all_cost_over_their_number(recorded_run, few_digits, drawn, tmp_path, precision):
    """One training image, without the queries and the scores."""
    config = CONFIG.model_copy(update={"precision": precision})
    request = AttributionRequest.of(recorded_run, few_digits, drawn, ["trak", "tangent"], config)
    plan, store = FeaturePlan.of(request), FeatureStore(tmp_path / "features")
    cost = attribution_cost(plan, store, engine=Engine(1))
    one = cost.throughput
    assert (one.draws, one.processes, one.unit) == (config.draws, 1, "core")
    assert one.hours(3600) == pytest.approx(one.seconds) == pytest.approx(1 / one.images)
    assert 0 < one.seconds < cost.seconds
    store.extend(plan, engine=Engine(1))
    kept = sum(file.stat().st_size for file in tmp_path.rglob("*examples/*/*/*.safetensors"))
    assert one.disk * len(few_digits) == pytest.approx(kept, rel=0.2)
    assert attribution_cost(plan, store, engine=Engine(1)).throughput is None
