import itertools
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from whence import artefacts
from whence.data import load
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.focus import Focus
from whence.engine import Engine
from whence.ensemble import Ensemble, MeanPrediction, NetworkMembers
from whence.ensemble.gram import GramLosses, draw_groups
from whence.ensemble.losses import Losses
from whence.ensemble.make_gram import gram_matrices, measure
from whence.ensemble.make_losses import losses
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError, NoSurvivorsError, NotFiniteError
from whence.seeds import derived_seed

UNITS = [f"u{k}" for k in range(10)]
NAMES = [f"foreign {k}" for k in range(5)]
DRAWS = 20


@pytest.fixture(scope="module")
def foreign() -> torch.Tensor:
    return load("digits:test").images(range(5))


@pytest.fixture(scope="module")
def measured(tiny_ensemble, foreign, tmp_path_factory) -> Losses:
    path = shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("losses") / "ens")
    return losses(Ensemble.open(path), foreign, NAMES, draws=DRAWS, engine=Engine(1))


def direct(
    ensemble: Ensemble,
    x: torch.Tensor,
    name: str,
    members: list[int],
    draws: int = DRAWS,
    mask: torch.Tensor | None = None,
) -> float:
    """The loss of the mean prediction of some members, draw by draw, each in a batch of its own."""
    model = ensemble.reference_model
    source, total = Draws(derived_seed(0, "losses"), model.process.timesteps), 0.0
    predict = MeanPrediction(ensemble.open_members(members), [members], 1)
    for k in range(draws):
        t, noise = source([name], [k], model.size)
        output = predict(model.process.noised(x[None], t, noise), t)
        squares = (output - model.process.target(x[None], t, noise).double()).square()
        total += (squares if mask is None else squares * mask).mean().item()
    return total / draws


def test_random_ablations_equal_a_direct_evaluation(tiny_ensemble, measured, foreign):
    """One unit, two and three units, of pictures that the ensemble never saw: to 1e-6 relative."""
    source, checked = np.random.default_rng(0), 0
    while checked < 6:
        units = [UNITS[u] for u in source.choice(10, source.integers(1, 4), replace=False)]
        q = int(source.integers(5))
        try:
            members = tiny_ensemble.codebook.survivors(units)
        except NoSurvivorsError:
            with pytest.raises(NoSurvivorsError):
                measured.without(units)
            continue
        expected = direct(tiny_ensemble, foreign[q], NAMES[q], members)
        assert measured.without(units)[q].item() == pytest.approx(expected, rel=1e-6)
        checked += 1


@pytest.mark.parametrize("side", [0, 1])
def test_losses_of_regions_equal_a_direct_evaluation_and_add_up(tiny_ensemble, ensemble, measured, foreign, side):
    mask = torch.full((5, 8, 8), 0.25)
    mask[:, :, 4:] = 1.0
    parts = [
        losses(ensemble, Examples(tuple(NAMES), foreign, focus=Focus(part)), draws=DRAWS) for part in (mask, 1 - mask)
    ]
    members = tiny_ensemble.codebook.members
    sets = torch.rand(7, members, generator=torch.Generator().manual_seed(side)) < 0.6
    torch.testing.assert_close(sum(part.of(sets) for part in parts), measured.of(sets), rtol=1e-9, atol=0)
    chosen = sets[side].nonzero().flatten().tolist()
    expected = direct(tiny_ensemble, foreign[side], NAMES[side], chosen, mask=mask[side])
    torch.testing.assert_close(parts[0].of(sets)[side, side].item(), expected, rtol=1e-5, atol=0)
    assert parts[0].scores().estimand.behaviour == "denoising loss of the query within the mask, mean over draws"


def test_the_full_ensemble_and_single_members(tiny_ensemble, measured, foreign):
    assert measured.full()[2].item() == pytest.approx(
        direct(tiny_ensemble, foreign[2], NAMES[2], list(range(6))), rel=1e-6
    )
    alone = measured.of(torch.eye(6, dtype=torch.bool))
    assert torch.allclose(alone, measured.sets.gram.diagonal(dim1=1, dim2=2))


def test_it_costs_one_forward_pass_per_member_and_draw(tiny_ensemble, foreign):
    rows = dict.fromkeys(range(6), 0)
    members = tiny_ensemble.open_members()
    for m, network in members.networks.items():
        network.register_forward_hook(lambda _n, given, _o, m=m: rows.__setitem__(m, rows[m] + len(given[0])))
    queries = Examples(tuple(NAMES), foreign)
    gram_matrices(tiny_ensemble.reference_model, members, queries, Draws(0), DRAWS, batch=10)
    assert rows == dict.fromkeys(range(6), 5 * DRAWS)


@pytest.mark.parametrize("left", range(1, 7))
def test_the_expected_loss_is_the_mean_over_all_sets_of_members(measured, left):
    sets = torch.zeros(0, 6, dtype=torch.bool)
    for members in itertools.combinations(range(6), left):
        row = torch.zeros(1, 6, dtype=torch.bool)
        row[0, list(members)] = True
        sets = torch.cat([sets, row])
    assert torch.allclose(measured.expected(left), measured.of(sets).mean(1), rtol=1e-12)


def test_scores_are_signed_against_as_many_members(measured):
    scores = measured.scores()
    assert scores.queries == tuple(NAMES)
    assert scores.examples == tuple(UNITS)
    assert scores.sign == "positive is proponent"
    for u, unit in enumerate(UNITS):
        expected = measured.without([unit]) - measured.expected(3)
        assert torch.allclose(scores.scores[:, u].double(), expected, atol=1e-6)
        assert torch.allclose(measured.influence([unit]), expected)
    assert scores.draws == DRAWS
    assert scores.standard_error.shape == (5, 10)


def test_standard_errors_are_the_jackknife_over_groups(tiny_ensemble, measured, foreign):
    """Against leaving each group of draws out by hand."""
    sources = Draws(derived_seed(0, "losses"))
    model, members = tiny_ensemble.reference_model, tiny_ensemble.open_members()
    each = [gram_matrices(model, members, Examples(tuple(NAMES[:1]), foreign[:1]), sources, DRAWS)]
    groups = draw_groups(DRAWS)
    assert groups.bincount().tolist() == [3, 3, 2, 3, 2, 3, 2, 2] or groups.bincount().sum() == DRAWS
    grams, counts = each[0][0], groups.bincount().double()
    survivors = [m for m in range(6) if not tiny_ensemble.codebook.bits[m, 0]]
    inside = np.ix_(survivors, survivors)

    def influence(kept: list[int]) -> float:
        gram = sum(counts[g] * grams[g] for g in kept) / sum(counts[g] for g in kept)
        every = [gram[np.ix_(s, s)].mean() for s in map(list, itertools.combinations(range(6), 3))]
        return float(gram[inside].mean() - sum(every) / len(every))

    left = [influence([g for g in range(8) if g != out]) for out in range(8)]
    expected = np.sqrt(7 / 8 * np.square(np.array(left) - np.mean(left)).sum())
    assert measured.scores().standard_error[0, 0].item() == pytest.approx(expected, rel=1e-4)


def test_the_error_shrinks_with_draws(tiny_ensemble, foreign, ensemble):
    few = losses(ensemble, foreign, NAMES, draws=16, engine=Engine(1)).scores().standard_error.mean()
    many = losses(ensemble, foreign, NAMES, draws=256, engine=Engine(1)).scores().standard_error.mean()
    assert many < few / 2


def test_too_few_draws_have_no_standard_error(ensemble, foreign):
    assert losses(ensemble, foreign, NAMES, draws=7, engine=Engine(1)).scores().standard_error is None


@pytest.mark.parametrize("draws", [1, 7, 8, 9, 20, 100])
def test_every_group_of_draws_is_spread_over_all_timesteps(draws):
    groups = draw_groups(draws)
    assert len(groups) == draws
    assert groups.unique().tolist() == list(range(min(8, draws)))
    t, _ = Draws(0)(["a"] * draws, np.arange(draws), (1,))
    if draws == 100:
        for g in range(8):
            mine = t[groups == g].sort().values
            assert mine[0] < 250
            assert mine[-1] > 750


def test_neither_order_nor_neighbours_change_a_loss(measured, ensemble, foreign):
    """Nor does the number of workers. Alone, a picture stands elsewhere in its batch, but with the same draws."""
    order = [3, 0, 4]
    found = losses(ensemble, foreign[order], [NAMES[q] for q in order], draws=DRAWS, engine=Engine(2))
    assert torch.allclose(found.sets.gram, measured.sets.gram[order], rtol=1e-12, atol=0)


def test_measured_in_blocks_and_interrupted_it_is_the_same(measured, ensemble, foreign, monkeypatch):
    monkeypatch.setattr("whence.ensemble.make_gram.BLOCK", 2)
    budget = [0]

    def failing(**arguments):
        budget[0] -= 1
        if budget[0] < 0:
            raise KeyboardInterrupt
        measure(**arguments)

    monkeypatch.setattr("whence.ensemble.make_gram.measure", failing)
    for finished in (1, 2):
        budget[0] = finished
        with pytest.raises(KeyboardInterrupt):
            losses(ensemble, foreign, NAMES, draws=DRAWS, engine=Engine(1))
    budget[0] = 3
    found = losses(ensemble, foreign, NAMES, draws=DRAWS, engine=Engine(1))
    assert torch.allclose(found.sets.gram, measured.sets.gram, rtol=1e-12, atol=0)
    monkeypatch.setattr(Engine, "run", None)
    assert losses(ensemble, foreign, NAMES, draws=DRAWS).manifest == found.manifest


def test_equal_members_have_no_influence(ensemble, foreign, monkeypatch):
    network = ensemble.open_members([2]).networks[2]
    copies = NetworkMembers(dict.fromkeys(range(6), network))
    monkeypatch.setattr(Ensemble, "open_members", lambda *_, **__: copies)
    found = losses(ensemble, foreign, NAMES, draws=8, engine=Engine(1))
    assert found.scores().scores.abs().max() < 1e-12
    assert found.influence_on(NAMES[0]).influential == []


def test_a_linear_model_in_closed_form(tiny_ensemble, foreign):
    """Members that answer a_m x: the loss of a set is that of the mean of its a_m."""

    class Scale(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x, t):
            return type("Output", (), {"sample": self.factor * x})

    factors = [0.1, 0.5, -0.3, 0.9, 0.0, 0.2]
    model, expected = tiny_ensemble.reference_model, 0.0
    members = NetworkMembers(dict(enumerate(map(Scale, factors))))
    grams = gram_matrices(model, members, Examples(tuple(NAMES[:1]), foreign[:1]), Draws(0), 8)[0].mean(0)
    for k in range(8):
        t, noise = Draws(0)(NAMES[:1], [k], model.size)
        residual = 0.2 * model.process.noised(foreign[:1], t, noise) - model.process.target(foreign[:1], t, noise)
        expected += residual.double().square().mean().item() / 8
    members = [0, 1, 4]  # their mean is 0.2
    assert grams[np.ix_(members, members)].mean().item() == pytest.approx(expected, rel=1e-6)


def test_a_planted_unit_is_read_off(measured, monkeypatch):
    """Residuals made by hand: members that saw u3 are better by one, all else is noise."""
    saw = torch.from_numpy(measured.codebook.bits[:, 3])
    noise = torch.from_numpy(np.random.default_rng(1).normal(0, 0.01, (6, 500)))
    residuals = noise + torch.where(saw, 0.0, 1.0)[:, None]
    gram = (residuals @ residuals.T / 500)[None].expand(5, 6, 6)
    planted = GramLosses(gram[:, None], torch.ones(1).double(), measured.codebook)
    monkeypatch.setitem(measured.__dict__, "sets", planted)
    assert max(UNITS, key=lambda unit: measured.influence([unit])[0].item()) == "u3"
    reading = measured.influence_on(NAMES[1])
    assert reading.units[reading.order[0]] == "u3"
    assert reading.p_values[3] == pytest.approx(1 / 11)
    assert measured.influence_on(NAMES[1], ["u3", "u3"]).units == ("u3",)


def test_pairs_stand_against_pairs_of_unassigned_words(measured):
    pair = next(p for p in itertools.combinations(UNITS, 2) if _left(measured, p) == 1)
    reading = measured.influence_on(NAMES[0], pair)
    assert reading.units == ("+".join(pair),)
    assert reading.effects.item() == pytest.approx(measured.influence(pair)[0].item())
    assert set(reading.placebos.tolist()) <= set(
        (measured.of(torch.eye(6, dtype=torch.bool)) - measured.expected(1)[:, None])[0].tolist()
    )


def test_a_group_is_not_its_own_placebo(measured):
    """Other words together may leave the very same members: that is no other ablation."""
    for pair in itertools.combinations(UNITS[:6], 2):
        if not (left := _left(measured, pair)):
            continue
        reading, own = measured.influence_on(NAMES[2], pair), measured.influence(pair)[2].item()
        assert not np.isclose(reading.placebos.numpy(), own, rtol=1e-12, atol=0).any()
        assert len(measured.placebos(2, left)[2]) - len(reading.placebos) in (0, 1)


def test_as_many_placebos_as_the_level_takes(measured, monkeypatch):
    """Ten words are left here; as many are taken as it needs to name one of ten at the level."""
    monkeypatch.setattr("whence.ensemble.losses.PLACEBOS", 1)
    assert [len(measured.influence_on(NAMES[0], level=level).placebos) for level in (5.0, 2.0, 0.05)] == [1, 4, 10]
    more, fewer = measured.influence_on(NAMES[0], level=0.05), measured.influence_on(NAMES[0], level=2.0)
    assert torch.equal(more.placebos[:4], fewer.placebos)


def test_a_reading_without_any_word_left(measured, monkeypatch):
    monkeypatch.setattr("whence.ensemble.gram.placebos", lambda *_: iter(()))
    monkeypatch.delitem(measured.__dict__, "_placebos", raising=False)
    for units in ((), ("u0",)):
        reading = measured.influence_on(NAMES[0], units)
        assert len(reading.placebos) == 0
        assert reading.p_values.tolist() == [1.0] * len(reading.units)
    monkeypatch.delitem(measured.__dict__, "_placebos")


def test_progress_is_counted_in_evaluations(ensemble, foreign, monkeypatch):
    monkeypatch.setattr("whence.ensemble.make_gram.BLOCK", 2)
    monkeypatch.setattr("whence.ensemble.loss_draws.BATCH", 16)
    seen = []
    losses(ensemble, foreign, NAMES, draws=8, engine=Engine(1, lambda *progress: seen.append(progress)))
    assert seen[-1] == (1, 1)
    done, totals = zip(*seen[:-1], strict=True)
    assert set(totals) == {5 * 8 * 6}
    assert list(done) == sorted(done)
    assert set(done) == {96, 192, 240}


@pytest.mark.parametrize("left", [0, -1, 7])
def test_as_many_members_as_there_are(measured, left):
    with pytest.raises(ConfigError, match=f"From 1 to 6 members can be left; given {left}"):
        measured.expected(left)
    with pytest.raises(NoSurvivorsError, match="at least one member"):
        measured.of(torch.zeros(2, 6, dtype=torch.bool))


def _left(measured: Losses, units: tuple[str, ...]) -> int:
    return int((~measured.codebook.bits[:, measured.codebook.columns(units)]).all(axis=1).sum())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"draws": 0}, ConfigError, "--draws must be at least 1"),
        ({"names": ["a"] * 5}, DataError, "distinct names"),
        ({"names": ["a"]}, DataError, "distinct names"),
        ({"pictures": torch.zeros(5, 3, 8, 8)}, DataError, r"size \(3, 8, 8\)"),
        ({"pictures": torch.zeros(0, 1, 8, 8), "names": []}, DataError, "at least one"),
        ({"pictures": torch.full((5, 1, 8, 8), float("nan"))}, NotFiniteError, "foreign 0"),
    ],
)
def test_requests_that_are_refused(ensemble, foreign, change, error, message):
    given = {"pictures": foreign, "names": NAMES, "draws": 8} | change
    with pytest.raises(error, match=message):
        losses(ensemble, given["pictures"], given["names"], draws=given["draws"], engine=Engine(1))
    assert not list((ensemble.path / "losses").glob("*/manifest.json"))


def test_unknown_pictures_and_damage(measured, flip_byte, ensemble, foreign):
    with pytest.raises(DataError, match="no picture 'x'"):
        measured.influence_on("x")
    found = losses(ensemble, foreign, NAMES, draws=8, engine=Engine(1))
    flip_byte(found.path / "grams.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        losses(ensemble, foreign, NAMES, draws=8, engine=Engine(1))


def test_a_changed_ensemble_is_refused(ensemble, foreign, tmp_path):
    artefacts.write_table(tmp_path / "part" / "queries.parquet", {"id": NAMES})
    with pytest.raises(MismatchError, match="changed while it was used"):
        measure(str(ensemble.path), "other", str(tmp_path / "part"), 0, 8, 0, str(tmp_path / "x"), lambda _d, _t: None)
