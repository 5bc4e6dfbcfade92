import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from whence.errors import ConfigError, NotFiniteError
from whence.kernel import algebra
from whence.kernel import kernel as kernel_module
from whence.kernel.kernel import Kernel

DAMPINGS = [1e-6, 1e-3, 0.1, 1.0, 100.0]


def normal(n, p, seed=0):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed))


def low_rank(n, p):
    return (normal(n, 3, 1) @ normal(3, p, 2) * 4).round() / 4


SHAPES = {
    "more examples than features": normal(30, 8),
    "more features than examples": normal(8, 30),
    "square": normal(9, 9),
    "one example": normal(1, 6),
    "one feature": normal(6, 1),
    "one of each": normal(1, 1),
    "repeated examples, few features": normal(5, 4).repeat(4, 1),
    "repeated examples, many features": normal(5, 40).repeat(4, 1),
    "rank 3, few features": low_rank(20, 7),
    "rank 3, many features": low_rank(7, 20),
    "one strong direction": normal(20, 50) + 100 * normal(1, 50, 3),
    "norms from 1 to 1e-6": normal(12, 30) * torch.logspace(0, -6, 12)[:, None],
    "an example without a gradient": torch.cat([normal(7, 20), torch.zeros(1, 20)]),
    "no gradients, few features": torch.zeros(6, 3),
    "no gradients, many features": torch.zeros(3, 6),
}


def reference(examples, queries, damping):
    """Everything from an explicit inverse, in a loop over examples."""
    phi, phi_q = examples.double(), queries.double()
    count, width = phi.shape
    strength = damping * (phi.square().sum() / min(count, width)).item() or damping
    inverse = torch.linalg.inv(phi.T @ phi + strength * torch.eye(width, dtype=torch.float64))
    moved = [inverse @ phi[n] for n in range(count)]
    return {
        "scores": torch.stack([phi_q @ one for one in moved], dim=1),
        "leverage": torch.stack([phi[n] @ one for n, one in enumerate(moved)]),
        "relative": torch.stack([one.norm() for one in moved]),
    }


def assert_same(found, expected, rel=1e-8):
    """Equal, as far as float64 tells them apart."""
    assert found.dtype == torch.float64
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= rel * expected.abs().max()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("first", [True, False], ids=["solved", "decomposed"])
def test_against_an_explicit_inverse(name, damping, first):
    examples = SHAPES[name]
    queries = torch.cat([normal(3, examples.shape[1], 7), examples[:2]])
    found, expected = Kernel(examples, queries), reference(examples, queries, damping)
    if not first:
        found.scores(0.777)
    for quantity, values in expected.items():
        # The explicit inverse loses digits where λ is small against the largest eigenvalue.
        assert_same(getattr(found, quantity)(damping), values, rel=1e-6 if "strong" in name else 1e-7)
    assert_same(found.norms, examples.double().norm(dim=1))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 4), st.sampled_from(DAMPINGS), st.integers(0, 99))
def test_any_shape_against_an_explicit_inverse(count, width, asked, damping, seed):
    examples, queries = normal(count, width, seed), normal(asked, width, seed + 1)
    found, expected = Kernel(examples, queries), reference(examples, queries, damping)
    if asked:
        assert_same(found.scores(damping), expected["scores"])
    assert found.scores(damping).shape == (asked, count)
    assert_same(found.leverage(damping), expected["leverage"])
    assert_same(found.relative(damping), expected["relative"])


@pytest.mark.parametrize("damping", DAMPINGS)
def test_the_smaller_side_does_not_matter(damping):
    """Features of zeros change no product, but make p > N."""
    examples, queries = normal(20, 6), normal(4, 6, 1)
    wide = Kernel(*(torch.nn.functional.pad(each, (0, 30)) for each in (examples, queries)))
    narrow = Kernel(examples, queries)
    same = damping * narrow.absolute(1.0) / wide.absolute(1.0)
    assert_same(wide.scores(same), narrow.scores(damping))
    assert_same(wide.leverage(same), narrow.leverage(damping))
    assert_same(wide.relative(same), narrow.relative(damping), rel=1e-7)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_at_large_damping_the_scores_are_the_dot_product_over_lambda(shape):
    examples, queries = normal(*shape), normal(5, shape[1], 1)
    found = Kernel(examples, queries)
    assert_same(found.scores(1e9) * found.absolute(1e9), queries.double() @ examples.double().T)


def test_orthogonal_examples_of_known_norms():
    """With Φ = diag(a): S = a/(a² + λ), h = a²/(a² + λ), the relative divisor a/(a² + λ)."""
    lengths = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = Kernel(torch.diag(lengths).float(), torch.eye(3))
    strength = 0.5 * 14 / 3
    assert found.absolute(0.5) == pytest.approx(strength)
    assert_same(found.scores(0.5), torch.diag(lengths / (lengths**2 + strength)), rel=1e-14)
    assert_same(found.leverage(0.5), lengths**2 / (lengths**2 + strength), rel=1e-14)
    assert_same(found.relative(0.5), lengths / (lengths**2 + strength), rel=1e-14)


def test_one_example():
    """With one example ‖φ‖² is the mean eigenvalue: h = 1/(1 + c)."""
    found = Kernel(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0]]))
    assert found.leverage(0.25).tolist() == pytest.approx([0.8])
    assert found.scores(0.25).tolist() == [pytest.approx([0.8])]
    assert found.relative(0.25).tolist() == pytest.approx([5 / 31.25])


@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
def test_the_order_of_examples_and_queries_does_not_matter(shape):
    examples, queries = normal(*shape), normal(6, shape[1], 1)
    order, asked = torch.randperm(shape[0]), torch.randperm(6)
    found, other = Kernel(examples, queries), Kernel(examples[order], queries[asked])
    assert_same(other.scores(0.01), found.scores(0.01)[asked][:, order])
    assert_same(other.leverage(0.01), found.leverage(0.01)[order])
    assert_same(other.relative(0.01), found.relative(0.01)[order])


@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
def test_the_block_does_not_matter(shape, monkeypatch):
    examples, queries = normal(*shape), normal(6, shape[1], 1)
    found = Kernel(examples, queries)
    whole = found.scores(0.01), found.leverage(0.01)
    monkeypatch.setattr(algebra, "BLOCK", 4)
    monkeypatch.setattr(kernel_module, "BLOCK", 4)
    found = Kernel(examples, queries)
    assert_same(found.scores(0.01), whole[0])
    assert_same(found.leverage(0.01), whole[1])


@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
def test_leverages_add_up_to_the_effective_number_of_parameters(shape):
    found = Kernel(normal(*shape), normal(1, shape[1]))
    values = found.eigenvalues
    assert found.leverage(0.1).sum().item() == pytest.approx((values / (values + found.absolute(0.1))).sum().item())
    assert ((found.leverage(1e-9) >= 0) & (found.leverage(1e-9) < 1)).all()


def test_the_scale_of_the_features_does_not_matter():
    """Damping is relative, so S and h have no unit; even at 1e-30 nothing is lost."""
    examples, queries = normal(10, 6), normal(3, 6, 1)
    found, small = Kernel(examples, queries), Kernel(examples * 1e-30, queries * 1e-30)
    assert_same(small.scores(0.1), found.scores(0.1), rel=1e-6)
    assert_same(small.leverage(0.1), found.leverage(0.1), rel=1e-6)


def test_an_example_without_a_gradient_has_no_score_and_disturbs_none():
    for examples in (normal(20, 6), normal(6, 20)):
        more = torch.cat([examples[:2], torch.zeros(1, examples.shape[1]), examples[2:]])
        queries = normal(3, examples.shape[1], 1)
        found, same = Kernel(more, queries), Kernel(examples, queries)
        damping = 0.1 * same.absolute(1.0) / found.absolute(1.0)
        rest = [n for n in range(len(more)) if n != 2]
        assert found.scores(damping)[:, 2].tolist() == [0.0] * 3
        assert found.leverage(damping)[2] == found.relative(damping)[2] == 0
        assert_same(found.scores(damping)[:, rest], same.scores(0.1))


def test_a_caller_that_changes_the_scores_changes_them_for_nobody_else():
    found = Kernel(normal(10, 6), normal(3, 6, 1))
    before = found.scores(0.1).clone()
    found.scores(0.1).zero_()
    assert torch.equal(found.scores(0.1), before)


def test_going_back_to_a_damping_gives_the_same_bits():
    found = Kernel(normal(10, 6), normal(3, 6, 1))
    first = found.scores(0.1)
    assert not torch.equal(found.scores(0.2), first)
    assert torch.equal(found.scores(0.1), first)


@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("quantity", ["absolute", "scores", "leverage", "relative"])
def test_a_damping_that_is_none_is_refused(damping, quantity):
    with pytest.raises(ConfigError, match="must be a finite number above 0"):
        getattr(Kernel(normal(4, 3), normal(1, 3)), quantity)(damping)


def test_a_damping_that_rounding_errors_would_drown_is_refused():
    found = Kernel(normal(50, 60) + 1e4 * normal(1, 60, 1), normal(1, 60))
    with pytest.raises(ConfigError, match=r"rounding errors take over below \de-12; use more"):
        found.scores(1e-13)
    assert found.scores(1e-11).isfinite().all()


@pytest.mark.parametrize(
    ("examples", "queries"),
    [((0, 3), (1, 3)), ((4, 0), (1, 0)), ((4, 3), (1, 2)), ((4,), (1, 4)), ((4, 3), (3,)), ((4, 3, 2), (1, 3))],
)
def test_shapes_that_do_not_fit_are_refused(examples, queries):
    with pytest.raises(ConfigError, match=re.escape(f"these are {list(examples)} and {list(queries)}.")):
        Kernel(torch.ones(examples), torch.ones(queries))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_features_that_are_not_finite_are_refused(value):
    examples, queries = normal(5, 4), normal(3, 4)
    examples[3, 1] = value
    with pytest.raises(NotFiniteError, match=r"example 3 \(from 0\) are not finite \(1 of 5\)"):
        Kernel(examples, queries)
    with pytest.raises(NotFiniteError, match=r"query 3 \(from 0\) are not finite \(1 of 5\)"):
        Kernel(queries, examples)
