import sys

import numpy as np
import pytest
import torch

from whence.errors import DataError
from whence.similarity.attributors import pixel


@pytest.fixture
def hold_at_a_time(monkeypatch):
    """Set how many 8x8 training images are held as floats at a time."""
    module = sys.modules["whence.similarity.attributors"]
    return lambda count: monkeypatch.setattr(module, "CHUNK", count * 64)


@pytest.mark.parametrize("chunk", [1, 7, 40, 4096])
def test_against_numpy(tiny_data, hold_at_a_time, chunk):
    hold_at_a_time(chunk)
    source = np.random.default_rng(0)
    queries = source.uniform(-1, 1, (3, 1, 8, 8)).astype(np.float32)
    scores = pixel(torch.from_numpy(queries), ["a", "b", "c"], tiny_data)
    images = tiny_data.pixels.astype(np.float64) / 255
    for q in range(3):
        unit_range = (queries[q].astype(np.float64) + 1) / 2
        expected = [-np.sqrt(((unit_range - image) ** 2).sum()) for image in images]
        assert scores.scores[q].tolist() == pytest.approx(expected, rel=1e-6)
    assert scores.scores.dtype == torch.float32


def test_the_chunk_does_not_matter(tiny_data, hold_at_a_time):
    queries, found = tiny_data.images([3, 9]) * 0.9, []
    for chunk in (3, 4096):
        hold_at_a_time(chunk)
        found.append(pixel(queries, ["a", "b"], tiny_data).scores)
    assert torch.equal(*found)


def test_a_training_image_is_closest_to_itself_at_distance_zero(tiny_data):
    scores = pixel(tiny_data.images(range(40)), tiny_data.ids, tiny_data)
    for name in tiny_data.ids:
        assert scores.top(name, 1) == [(name, 0.0)]
    assert (scores.scores <= 0).all()


def test_what_the_scores_say_of_themselves(tiny_data):
    scores = pixel(tiny_data.images([0]), ["q"], tiny_data)
    assert (scores.method, scores.sign, scores.combine, scores.draws) == ("pixel", "unsigned", "max", None)
    assert scores.examples == tiny_data.ids
    assert scores.standard_error is None


def test_a_units_score_is_that_of_its_closest_image(tiny_data):
    scores = pixel(tiny_data.images([0]), ["q"], tiny_data)
    for unit, value in scores.by_unit().top("q", 10):
        assert value == scores.scores[0][tiny_data.examples_of(unit)].max().item()


def test_another_size_is_refused(tiny_data):
    with pytest.raises(DataError, match=r"queries are \(3, 8, 8\), the training images \(1, 8, 8\)"):
        pixel(torch.zeros(1, 3, 8, 8), ["q"], tiny_data)


def test_with_flips_a_mirror_image_is_at_distance_zero(tiny_data):
    rows = [5, 6, 7]
    mirrored = tiny_data.images(rows).flip(-1)
    names = [tiny_data.ids[n] for n in rows]
    scores = pixel(mirrored, names, tiny_data, flips=True)
    for name in names:
        assert scores.top(name, 1) == [(name, 0.0)]
    assert all(pixel(mirrored, names, tiny_data).top(name, 1)[0][1] < 0 for name in names)
    assert scores.method == "pixel with flips"


def test_flips_against_numpy(tiny_data):
    queries = np.random.default_rng(0).uniform(-1, 1, (3, 1, 8, 8)).astype(np.float32)
    scores = pixel(torch.from_numpy(queries), ["a", "b", "c"], tiny_data, flips=True).scores
    for q in range(3):
        unit_range = (queries[q].astype(np.float64) + 1) / 2
        for n, image in enumerate(tiny_data.pixels.astype(np.float64) / 255):
            distances = [np.sqrt(((unit_range - one) ** 2).sum()) for one in (image, image[..., ::-1])]
            assert scores[q, n].item() == pytest.approx(-min(distances), rel=1e-6)


def by_hand(a, b, measure):
    """Over pixels in [-1, 1], one product at a time."""
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product if measure == "dot" else product / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


@pytest.mark.parametrize("measure", ["dot", "cosine"])
@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize("chunk", [7, 4096])
def test_dot_and_cosine_against_plain_sums(tiny_data, hold_at_a_time, measure, flips, chunk):
    hold_at_a_time(chunk)
    queries = np.random.default_rng(0).uniform(-1, 1, (2, 1, 8, 8)).astype(np.float32)
    scores = pixel(torch.from_numpy(queries), ["a", "b"], tiny_data, measure=measure, flips=flips)
    images = tiny_data.pixels.astype(np.float64) / 127.5 - 1
    for q, n in np.ndindex(2, 40):
        seen = [images[n], images[n][..., ::-1]] if flips else [images[n]]
        expected = max(by_hand(queries[q].ravel().astype(float), one.ravel(), measure) for one in seen)
        assert scores.scores[q, n].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert scores.method == f"pixel-{measure}" + (" with flips" if flips else "")
    assert (scores.sign, scores.combine) == ("unsigned", "max")


def test_by_cosine_the_brightness_around_mid_grey_does_not_matter(tiny_data):
    scores = [pixel(tiny_data.images([5]) * scale, ["q"], tiny_data, measure="cosine").scores for scale in (0.1, 1)]
    torch.testing.assert_close(*scores)
    assert scores[1][0, 5].item() == pytest.approx(1)
    assert scores[1].abs().max() <= 1 + 1e-6


def test_the_cosine_with_an_all_grey_query_is_0(tiny_data):
    assert (pixel(torch.zeros(1, 1, 8, 8), ["q"], tiny_data, measure="cosine").scores == 0).all()


def test_pixel_kernel_is_ridge_regression():
    from sklearn.linear_model import Ridge

    from whence.data import load
    from whence.similarity.attributors import DAMPING, pixel_kernel

    digits, asked = load("digits").select(range(30)), load("digits:test").images(range(3))
    v = digits.images(range(30)).flatten(1).double()
    strength = DAMPING * v.square().sum().item() / 30
    found = pixel_kernel(asked, ["a", "b", "c"], digits)
    for n in range(30):
        target = (np.arange(30) == n).astype(float)
        model = Ridge(alpha=strength, fit_intercept=False).fit(v.numpy(), target)
        np.testing.assert_allclose(model.predict(asked.flatten(1).numpy()), found.scores[:, n].numpy(), atol=1e-5)
