import pytest

from whence.attribution.attribute import attribute
from whence.attribution.feature_folder import FeatureFolder
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.gradients import gradient_spec

CONFIG = AttributionConfig(draws=8)


@pytest.fixture
def gpu(monkeypatch):
    """Measures a multiple of the rows, as on a GPU."""
    measure = gradient_spec._measure
    monkeypatch.setattr(gradient_spec, "_measure", lambda *given: {**measure(*given), "multiple": 4})


def test_a_measured_multiple_of_the_rows_is_kept_with_the_features(
    recorded_run, few_digits, drawn, tmp_path, gpu, monkeypatch
):
    """Where it is kept it holds: the features go on with the same batches on another machine."""
    plan = FeaturePlan.of(AttributionRequest.of(recorded_run, few_digits, drawn, "trak", CONFIG))
    measured = FeatureFolder(tmp_path).jobs(plan, keep=True)
    assert {job.batch for job in measured.values()} == {4 * 256}
    monkeypatch.undo()
    again = FeatureFolder(tmp_path).jobs(plan)
    assert {job.batch for job in again.values()} == {4 * 256}


def test_the_multiple_of_the_rows_does_not_change_scores(recorded_run, few_digits, drawn, tmp_path, request):
    plain = attribute(recorded_run, few_digits, drawn, "trak", config=CONFIG, out=tmp_path / "plain")["trak"]
    request.getfixturevalue("gpu")
    large = attribute(recorded_run, few_digits, drawn, "trak", config=CONFIG, out=tmp_path / "large")["trak"]
    assert large.scores == pytest.approx(plain.scores, rel=1e-4, abs=1e-4 * float(plain.scores.abs().max()))
