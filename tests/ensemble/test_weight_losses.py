"""Losses by the mean of weights, against the exported adapter on its base, loaded as anybody would load it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from whence.attribution.queries import read_queries
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.focus import Focus
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.ensemble import Ensemble
from whence.ensemble.codebook import Codebook
from whence.ensemble.drawing_cost import losses_cost
from whence.ensemble.loss_draws import losses_batch
from whence.ensemble.losses import Losses
from whence.ensemble.make_losses import losses, measured_sets
from whence.ensemble.make_weight_losses import measure
from whence.ensemble.opt_out import opt_out
from whence.ensemble.weight_losses import WeightSets
from whence.errors import ConfigError, DataError, MismatchError
from whence.evaluation.ground_truth import GroundTruth
from whence.report.ensemble.landscape_card import loss_readings
from whence.seeds import derived_seed

UNIT, WEIGHTS = "artist 2", "pytorch_lora_weights.safetensors"
DRAWS = 8
#: All members, four artists, and the 16 words that are left of 20.
SETS = 1 + 4 + 16


@pytest.fixture
def ensemble(tiny_adapters, tmp_path) -> Ensemble:
    """A copy that a test may change."""
    return Ensemble.open(shutil.copytree(tiny_adapters.path, tmp_path / "ens"))


@pytest.fixture(scope="module")
def queries(tiny_adapters) -> Examples:
    return read_queries(tiny_adapters, "1/0-1")


@pytest.fixture(scope="module")
def measured(tiny_adapters, queries, tmp_path_factory) -> Losses:
    path = shutil.copytree(tiny_adapters.path, tmp_path_factory.mktemp("measured") / "ens")
    return losses(Ensemble.open(path), queries, draws=DRAWS, combine="weights", engine=Engine(1))


def by_file(ensemble: Ensemble, queries: Examples, q: int, without: list[str], folder: Path, draws: int) -> float:
    """The loss of the base with the exported file on it, draw by draw."""
    folder.mkdir()
    opt_out(ensemble, without).write(folder / WEIGHTS)
    model = DiffusionModel.load(ensemble.base.folder, None, (Adapter(folder),))
    source, total, x = Draws(derived_seed(0, "losses")), 0.0, queries.x([q])
    for k in range(draws):
        t, noise = source([queries.ids[q]], [k], model.size)
        with torch.no_grad():
            output = model.output(model.process.noised(x, t, noise), t, **queries.conditions_of([q])).double()
        total += (output - model.process.target(x, t, noise)).square().mean().item()
    return total / draws


@pytest.mark.parametrize("without", [[], ["artist 1"]])
def test_the_loss_is_that_of_the_exported_file(tiny_adapters, measured, queries, tmp_path, without):
    found = measured.without(without) if without else measured.full()
    for q in range(2):
        expected = by_file(tiny_adapters, queries, q, without, tmp_path / f"{q}", DRAWS)
        assert found[q].item() == pytest.approx(expected, rel=1e-5)


def test_the_mean_of_weights_is_another_network_than_the_mean_of_predictions(ensemble, measured, queries):
    by_predictions = losses(ensemble, queries, draws=DRAWS, engine=Engine(1))
    assert by_predictions.path.name != measured.path.name
    assert not torch.allclose(by_predictions.full(), measured.full(), rtol=1e-6)
    assert torch.allclose(by_predictions.full(), measured.full(), rtol=0.1)
    assert (by_predictions.combine, measured.combine) == ("predictions", "weights")


@pytest.mark.slow
def test_losses_of_regions_add_up(ensemble, queries, measured):
    mask = torch.rand(2, *queries.size[1:], generator=torch.Generator().manual_seed(0))
    parts = [
        losses(ensemble, replace(queries, focus=Focus(part)), draws=DRAWS, combine="weights", engine=Engine(1))
        for part in (mask, 1 - mask)
    ]
    total = sum(part.full() for part in parts)
    torch.testing.assert_close(total, measured.full(), rtol=1e-6, atol=0)
    assert not torch.allclose(parts[0].full(), parts[1].full(), rtol=0.01)


def test_one_pass_for_each_set_of_members_and_draw(ensemble, queries, monkeypatch):
    rows: list[int] = []
    counted = ensemble.open_adapters()
    evaluate = type(counted).mean_weights
    monkeypatch.setattr(type(counted), "mean_weights", lambda *given: rows.append(len(given[2])) or evaluate(*given))
    losses(ensemble, queries, draws=3, combine="weights", engine=Engine(1))
    assert sum(rows) == 2 * 3 * SETS
    assert max(rows) <= losses_batch(ensemble)
    sets = measured_sets(ensemble, "weights")
    assert len(sets.rows) == len(sets.members) == SETS
    assert (
        f"{SETS} sets of members (16 placebos), {2 * 3 * SETS} passes"
        in losses_cost(ensemble, 2, 3, sets, engine=Engine(1)).work
    )


def test_scores_are_signed_against_the_placebos(measured):
    scores, placebos = measured.scores(), measured.placebos(1, 3)
    assert placebos.shape == (2, 16)
    assert torch.allclose(measured.expected(3), placebos.mean(1))
    for u, unit in enumerate(measured.codebook.units):
        own = measured.without([unit]) - placebos.mean(1)
        assert torch.allclose(scores.scores[:, u].double(), own, atol=1e-7)
        assert torch.allclose(measured.influence([unit]), own)
    assert scores.standard_error.shape == (2, 4)
    assert "mean of ΔW" in scores.estimand.process
    reading = measured.influence_on("1/1")
    assert reading.units == measured.codebook.units
    assert torch.allclose(reading.placebos, placebos[1] - placebos[1].mean())
    assert reading.threshold is None  # 16 placebos are too few for four units
    assert measured.influence_on("1/1", [UNIT]).effects.item() == pytest.approx(measured.influence([UNIT])[1].item())


def test_units_together_are_measured_by_themselves(ensemble, queries, measured, tmp_path):
    pair = next(
        list(pair) for pair in [("artist 0", "artist 1"), ("artist 0", UNIT)] if ensemble.codebook.survivors(pair)
    )
    found = losses(ensemble, queries, draws=2, combine="weights", together=pair[::-1], engine=Engine(1))
    assert found.units == ("+".join(pair),)
    assert found.without(pair)[0].item() == pytest.approx(
        by_file(ensemble, queries, 0, pair, tmp_path / "pair", 2), rel=1e-5
    )
    assert found.scores().examples == found.influence_on("1/0").units == found.units
    for unknown in (
        lambda: found.without([UNIT]),
        lambda: measured.without(pair),
        lambda: measured.influence_on("1/0", pair),
    ):
        with pytest.raises(DataError, match="only the losses that were asked for are known"):
            unknown()
    with pytest.raises(DataError, match=r"for 3 members that are left.*given 2"):
        measured.expected(2)


@pytest.mark.parametrize("batch", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_the_size_of_batches_changes_rounding_alone(ensemble, queries, measured, monkeypatch, batch):
    monkeypatch.setattr("whence.ensemble.make_losses.losses_batch", lambda _: batch)
    monkeypatch.setattr("whence.ensemble.make_weight_losses.losses_batch", lambda _: batch)
    found = losses(ensemble, queries.head(1), draws=DRAWS, combine="weights", engine=Engine(1))
    assert torch.allclose(found.sets.losses, measured.sets.losses[:1], rtol=1e-5, atol=0)


def test_an_interruption_does_not_change_a_byte(ensemble, queries, monkeypatch, tmp_path):
    untouched = Ensemble.open(shutil.copytree(ensemble.path, tmp_path / "untouched"))
    left = [1]

    def failing(**arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        measure(**arguments)

    with monkeypatch.context() as broken:
        broken.setattr("whence.ensemble.make_weight_losses.measure", failing)
        with pytest.raises(KeyboardInterrupt):
            losses(ensemble, queries.head(1), draws=2, combine="weights", engine=Engine(1))
    assert len(list(ensemble.path.glob("losses/*.part/resume/0*.safetensors"))) == 1
    found = losses(ensemble, queries.head(1), draws=2, combine="weights", engine=Engine(1))
    alone = losses(untouched, queries.head(1), draws=2, combine="weights", engine=Engine(1))
    assert found.manifest.fingerprint == alone.manifest.fingerprint
    assert found.manifest.made["combine"] == "weights"


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_a_byte(ensemble, queries, measured):
    found = losses(ensemble, queries, draws=DRAWS, combine="weights", engine=Engine(2))
    assert found.manifest.fingerprint == measured.manifest.fingerprint


def test_the_two_ways_are_not_mixed(ensemble, queries):
    by_weights = losses(ensemble, queries, draws=2, combine="weights", engine=Engine(1))
    by_predictions = losses(ensemble, queries, draws=3, engine=Engine(1))
    truth = GroundTruth.of(ensemble, by_weights)
    assert truth.compare(by_weights.scores()).ranks.correlations.tolist() == pytest.approx([1, 1])
    with pytest.raises(MismatchError, match=r"mean prediction.*mean of ΔW.*same --combine"):
        truth.compare(by_predictions.scores())
    assert {name: draws for name, (draws, _) in loss_readings(ensemble).items()} == {"1/0": 2, "1/1": 2}


def test_networks_have_no_mean_of_weights(tiny_ensemble):
    pictures = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ConfigError, match="whole networks, whose weights have no mean"):
        losses(tiny_ensemble, pictures, ["a"], combine="weights")


def test_a_codebook_without_a_word_for_placebos_is_refused():
    book = Codebook.random(("a", "b", "c", "d", "e", "f"), members=4, seed=0)
    with pytest.raises(ConfigError, match="code words that no unit has.*4 members has none"):
        WeightSets.of(book)
    fewer = replace(book, bits=book.bits[:, :3], units=book.units[:3])
    assert WeightSets.of(fewer).placebos.sum(1).tolist() == [2, 2, 2]
