import math

import pytest
import torch
from scipy.stats import t as student

from whence.errors import ConfigError, DataError
from whence.scores.jackknife import chances, half_width, rising


def drawn(queries: int, examples: int, seed: int, signal: float = 0.0, groups: int = 8):
    """Means over groups and their jackknife errors, which of a mean are those of the sample; the first has a signal."""
    source = torch.Generator().manual_seed(seed)
    parts = torch.randn(groups, queries, examples, generator=source, dtype=torch.float64)
    parts[:, :, 0] += signal
    return parts.mean(0), parts.std(0) / groups**0.5


def by_definition(row: list[float], errors: list[float], groups: int, level: float) -> set[int]:
    """Holm's procedure, one step after the other."""
    found = {n: 2 * student.sf(abs(s) / e, groups - 1) for n, (s, e) in enumerate(zip(row, errors, strict=True))}
    named: set[int] = set()
    for n in sorted(found, key=lambda n: found[n]):
        if found[n] > level / (len(row) - len(named)):
            break
        named.add(n)
    return named


@pytest.mark.parametrize(("groups", "level"), [(8, 0.05), (8, 0.5), (4, 0.2), (2, 0.05)])
def test_rising_against_its_definition(groups, level):
    scores, errors = drawn(20, 6, seed=groups, signal=3.0, groups=groups)
    found = rising(scores, errors, groups, level)
    for q in range(20):
        expected = by_definition(scores[q].tolist(), errors[q].tolist(), groups, level)
        assert set(found[q].nonzero()[:, 0].tolist()) == expected
    assert found.any() or groups == 2


def test_of_pure_noise_something_rises_in_one_query_of_twenty():
    scores, errors = drawn(4000, 30, seed=1)
    share = rising(scores, errors).any(1).double().mean().item()
    assert abs(share - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    scores, errors = drawn(200, 100, seed=2)
    assert (scores.abs() <= half_width(errors)).double().mean().item() == pytest.approx(0.9, abs=0.01)


def test_the_scale_and_the_sign_do_not_matter():
    scores, errors = drawn(30, 20, seed=3, signal=6.0)
    found = rising(scores, errors)
    assert found[:, 0].any()
    assert torch.equal(found, rising(-scores * 1e-9, errors * 1e-9))


@pytest.mark.parametrize(
    ("score", "error", "rises"), [(0.0, 0.0, False), (1e-30, 0.0, True), (-1.0, 0.0, True), (0.0, 1.0, False)]
)
def test_without_error(score, error, rises):
    assert rising(torch.tensor([[score, 0.1]]), torch.tensor([[error, 1.0]]))[0, 0].item() is rises
    assert torch.isfinite(chances(torch.tensor([score]), torch.tensor([error]))).all()


def test_no_queries():
    assert rising(torch.zeros(0, 5), torch.zeros(0, 5)).shape == (0, 5)


@pytest.mark.parametrize(
    ("scores", "errors", "groups", "error", "message"),
    [
        ((2, 3), (2, 4), 8, DataError, r"\(2, 3\) need errors of the same shape"),
        ((3,), (3,), 8, DataError, "same shape"),
        ((2, 3), (2, 3), 1, ConfigError, "at least 2 groups"),
    ],
)
def test_what_does_not_fit_is_refused(scores, errors, groups, error, message):
    with pytest.raises(error, match=message):
        rising(torch.ones(scores), torch.ones(errors), groups)
