import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from trak.score_computers import BasicScoreComputer

from whence.attribution.das import das, das_squared
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.gradient import gradient_cosine, gradient_dot
from whence.attribution.normalised_influence import relative_influence, renormalised_influence
from whence.attribution.tangent import tangent, tangent_squared
from whence.attribution.trak import trak
from whence.errors import ConfigError, NotFiniteError

METHODS = [gradient_dot, gradient_cosine, trak, relative_influence, renormalised_influence, das, das_squared]
KERNEL_METHODS = METHODS[2:]
SHAPES = [(30, 8), (8, 30), (9, 9), (1, 5), (5, 1)]


def normal(n, p, seed=0):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed))


def evidence_of(count, width, asked=4, seed=0):
    examples = normal(count, width, seed) * torch.linspace(0.1, 2, count)[:, None]
    return FeaturePair(examples, normal(asked, width, seed + 1), losses=normal(1, count, seed + 2)[0].square())


def slow(method, evidence, damping):
    """Each score on its own, by the formula of its paper, from an explicit inverse."""
    phi, phi_q = evidence.examples.double(), evidence.queries.double()
    gram = phi.T @ phi
    strength = damping * gram.trace() / min(phi.shape)
    inverse = torch.linalg.inv(gram + strength * torch.eye(phi.shape[1], dtype=torch.float64))

    def one(q, n):
        dot, score, leverage = q @ n[0], q @ inverse @ n[0], n[0] @ inverse @ n[0]
        effect = score * n[1].sqrt() / (1 - leverage)
        return {
            gradient_dot: dot,
            gradient_cosine: dot / (q.norm() * n[0].norm()),
            trak: score,
            relative_influence: score / (inverse @ n[0]).norm(),
            renormalised_influence: score / n[0].norm(),
            das: effect,
            das_squared: effect**2,
        }[method]

    pairs = list(zip(phi, evidence.losses.double(), strict=True))
    return torch.stack([torch.stack([one(q, n) for n in pairs]) for q in phi_q])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0])
def test_against_the_formula_score_by_score(method, shape, damping):
    evidence = evidence_of(*shape)
    found, expected = method(evidence, damping), slow(method, evidence, damping)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10 * expected.abs().max().item())


@given(st.integers(1, 10), st.integers(1, 10), st.sampled_from([1e-3, 0.1, 10.0]), st.integers(0, 99))
def test_any_shape_against_the_formula(count, width, damping, seed):
    evidence = evidence_of(count, width, 2, seed)
    for method in METHODS:
        expected = slow(method, evidence, damping)
        torch.testing.assert_close(method(evidence, damping), expected, rtol=1e-7, atol=1e-9 * expected.abs().max())


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_das_is_exactly_leave_one_out_of_ridge_regression(shape):
    """f = φᵀθ fitted to y with λ: without n, f at q is lower by S_qn r_n / (1 - h_n)."""
    phi, y = normal(*shape).double(), normal(1, shape[0], 5)[0].double()
    queries = normal(4, shape[1], 1).double()
    strength = 0.1 * phi.square().sum().item() / min(shape)

    def fit(rows):
        gram = phi[rows].T @ phi[rows] + strength * torch.eye(shape[1], dtype=torch.float64)
        return torch.linalg.solve(gram, phi[rows].T @ y[rows])

    everything = list(range(shape[0]))
    theta = fit(everything)
    residuals = y - phi @ theta
    lower = torch.stack([queries @ (theta - fit([m for m in everything if m != n])) for n in everything], dim=1)
    evidence = FeaturePair(phi, queries, losses=residuals.square())
    torch.testing.assert_close(das(evidence, 0.1) * residuals.sign(), lower, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(das_squared(evidence, 0.1), lower.square(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_at_large_damping_trak_is_the_dot_product_over_lambda(shape):
    evidence = evidence_of(*shape)
    strength = evidence.kernel.absolute(1e9)
    torch.testing.assert_close(trak(evidence, 1e9) * strength, gradient_dot(evidence, 1e9), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("method", [relative_influence, renormalised_influence])
def test_at_large_damping_both_normalisations_are_the_cosine_up_to_a_factor_per_query(method):
    """Both divisors become ‖φ_n‖, with λ and ‖φ_q‖ left over."""
    evidence = evidence_of(20, 9)
    ratio = method(evidence, 1e9) / gradient_cosine(evidence, 1e9)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_examples_does_not_matter(method):
    for shape in ((30, 7), (7, 30)):
        evidence, order = evidence_of(*shape), torch.randperm(shape[0])
        other = FeaturePair(evidence.examples[order], evidence.queries, evidence.losses[order])
        torch.testing.assert_close(method(other, 0.01), method(evidence, 0.01)[:, order], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_repeated_examples_have_the_same_scores(method):
    for width in (4, 40):
        evidence = evidence_of(6, width)
        twice = FeaturePair(evidence.examples.repeat(2, 1), evidence.queries, evidence.losses.repeat(2))
        found = method(twice, 0.01)
        torch.testing.assert_close(found[:, :6], found[:, 6:], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [4, 40])
def test_an_example_without_a_gradient_has_the_score_0(method, width):
    evidence = evidence_of(6, width)
    evidence.examples[2] = 0
    assert method(evidence, 0.01)[:, 2].tolist() == [0.0] * 4
    assert method(evidence, 0.01).isfinite().all()
    assert (method(FeaturePair(torch.zeros(6, width), evidence.queries, evidence.losses), 0.01) == 0).all()
    assert (method(FeaturePair(evidence.examples, torch.zeros(4, width), evidence.losses), 0.01) == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_methods_do_not_disturb_each_other(method):
    """The kernel keeps its last scores; no method may change them."""
    evidence = evidence_of(20, 9)
    alone = method(evidence_of(20, 9), 0.1)
    for other in METHODS:
        other(evidence, 0.1).zero_()
    assert torch.equal(method(evidence, 0.1), alone)


def test_a_query_that_is_a_training_example_has_it_as_its_first_proponent():
    examples = normal(60, 200)
    found = trak(FeaturePair(examples, examples[[3, 41]].clone()), 0.1)
    assert found.argmax(1).tolist() == [3, 41]


@pytest.mark.parametrize("method", KERNEL_METHODS)
@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan"), float("inf")])
def test_a_damping_that_is_none_is_refused(method, damping):
    with pytest.raises(ConfigError, match="damping is .*; it must be a finite number above 0"):
        method(evidence_of(5, 3), damping)


@pytest.mark.parametrize("method", [das, das_squared])
def test_das_without_losses_or_at_leverage_1_is_refused(method):
    evidence = evidence_of(5, 9)
    with pytest.raises(ConfigError, match="DAS needs the mean loss of every example"):
        method(FeaturePair(evidence.examples, evidence.queries), 0.1)
    with pytest.raises(ConfigError, match=r"example \d \(from 0\) has the leverage 1"):
        method(evidence, 1e-11)


def test_features_that_are_not_finite_or_do_not_fit_are_refused():
    bad = normal(5, 3)
    bad[1, 2] = float("nan")
    with pytest.raises(NotFiniteError, match=r"example 1 \(from 0\) are not finite"):
        FeaturePair(bad, normal(5, 3))
    with pytest.raises(NotFiniteError, match=r"query 1 \(from 0\) are not finite"):
        FeaturePair(normal(5, 3), bad)
    with pytest.raises(ConfigError, match="with the same p"):
        FeaturePair(normal(5, 3), normal(5, 4))


@pytest.mark.parametrize("losses", [torch.ones(4), torch.ones(5, 1), -torch.ones(5), torch.ones(0)])
def test_losses_that_do_not_fit_are_refused(losses):
    with pytest.raises(ConfigError, match="one mean loss, 0 or more, for each of 5 examples"):
        FeaturePair(torch.ones(5, 3), torch.ones(1, 3), losses)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(value):
    with pytest.raises(NotFiniteError, match=r"loss of example 2 \(from 0\)"):
        FeaturePair(torch.ones(4, 3), torch.ones(1, 3), torch.tensor([1, 1, value, 1]))


@pytest.mark.parametrize("shape", [(200, 64), (64, 200)])
@pytest.mark.parametrize("damping", [0.01, 0.1, 1.0])
def test_trak_ranks_as_the_library_of_its_authors(shape, damping):
    """It scales by the mean absolute entry of the inverse and returns [N, Q]; its λ is absolute."""
    evidence = evidence_of(*shape, asked=10)
    theirs = BasicScoreComputer(
        dtype=torch.float32, device=torch.device("cpu"), lambda_reg=evidence.kernel.absolute(damping)
    )
    inverted = theirs.get_x_xtx_inv(evidence.examples, theirs.get_xtx(evidence.examples))
    expected = torch.zeros(shape[0], 10)
    theirs.get_scores(inverted, evidence.queries, expected)
    found = trak(evidence, damping)
    for q in range(10):
        assert spearmanr(found[q].numpy(), expected[:, q].numpy()).statistic >= 0.9999
    ratio = (found / expected.T.double()).flatten()
    assert (ratio / ratio.median() - 1).abs().median() < 1e-4


LAYERS = (3, 5, 2)


def layered(scale=(1.0, 1.0, 1.0)):
    columns = torch.repeat_interleave(torch.tensor(scale), torch.tensor(LAYERS))
    return FeaturePair(normal(12, 10) * columns, normal(4, 10, 1) * columns, widths=LAYERS)


def test_tangent_is_the_mean_over_layers():
    whole, damping = layered(), 0.7
    parts = zip(whole.examples.split(LAYERS, 1), whole.queries.split(LAYERS, 1), strict=True)
    expected = torch.stack([trak(FeaturePair(*part), damping) for part in parts]).mean(0)
    torch.testing.assert_close(tangent(whole, damping), expected)


def test_tangent_of_one_layer_is_the_kernel_itself():
    evidence = evidence_of(12, 10)
    torch.testing.assert_close(tangent(evidence, 0.7), trak(evidence, 0.7))


def test_squared_shares_have_the_order_of_shares_and_their_sign():
    evidence = evidence_of(30, 8)
    shares, squared = tangent(evidence, 0.1), tangent_squared(evidence, 0.1)
    assert torch.equal(squared.argsort(1), shares.argsort(1))
    torch.testing.assert_close(squared, shares.sign() * shares.square())


def test_squared_shares_over_one_minus_the_leverage_are_the_rise_of_the_posterior_variance():
    """Exactly, for any one example that is left out, with the factor λ."""
    evidence, damping = evidence_of(12, 5), 0.3
    phi, phi_q = evidence.examples.double(), evidence.queries.double()
    strength = evidence.kernel.absolute(damping)

    def variance(rows):
        gram = phi[rows] @ phi[rows].T + strength * torch.eye(len(rows), dtype=torch.float64)
        cross = phi_q @ phi[rows].T
        return phi_q.square().sum(1) - (cross @ torch.linalg.inv(gram) * cross).sum(1)

    everything = list(range(12))
    rises = [variance([n for n in everything if n != left]) - variance(everything) for left in everything]
    leverage = evidence.kernel.leverage(damping)
    expected = strength * tangent_squared(evidence, damping).abs() / (1 - leverage)
    torch.testing.assert_close(expected, torch.stack(rises, 1))


def test_no_layer_drowns_another_by_its_scale():
    torch.testing.assert_close(tangent(layered((1e3, 1.0, 1e-3)), 0.7), tangent(layered(), 0.7))


def test_a_layer_without_gradients_says_nothing():
    silent = tangent(layered((1.0, 0.0, 1.0)), 0.7)
    parts = [FeaturePair(layered().examples[:, at], layered().queries[:, at]) for at in (slice(0, 3), slice(8, 10))]
    torch.testing.assert_close(silent, sum(trak(part, 0.7) for part in parts) / 3)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="Layers of 9 features"):
        FeaturePair(normal(12, 10), normal(4, 10), widths=(4, 5))
