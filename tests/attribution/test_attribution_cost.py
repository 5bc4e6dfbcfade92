import pytest

from whence import artefacts
from whence.attribution.attribute import KEPT, attribute, attribution_cost
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.request import AttributionConfig, AttributionRequest
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
