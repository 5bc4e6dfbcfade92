"""Exact losses in the report: of the very pictures that were drawn, and of nothing else."""

import dataclasses

import torch

from whence.engine import Engine
from whence.ensemble.losses import Losses
from whence.ensemble.make_landscape import landscape
from whence.ensemble.make_losses import losses
from whence.ensemble.sampling import Samples
from whence.report.ensemble import render
from whence.report.ensemble.landscape_card import landscape_cards, loss_readings
from whence.report.ensemble.unit import TrainingImages


def drawn(ensemble):
    return Samples.open(ensemble.path / "samples" / "0")


def test_the_losses_of_a_drawn_picture_are_told_beside_its_landscape(ensemble):
    landscape(ensemble, "0/0-1", placebos=4, engine=Engine(1))
    assert "By exact losses" not in render(ensemble)
    samples = drawn(ensemble)
    few = losses(ensemble, samples.pictures[:1], ["0/0"], draws=8, engine=Engine(1))
    few.scores().write(few.path.with_name(f"{few.path.name}-scores"), {"losses": few.manifest.fingerprint})
    many = losses(ensemble, samples.pictures[:1], ["0/0"], draws=16, engine=Engine(1))
    found = loss_readings(ensemble)
    assert {name: draws for name, (draws, _) in found.items()} == {"0/0": 16}
    assert torch.equal(found["0/0"][1].effects, many.influence_on("0/0").effects)
    assert render(ensemble).count("By exact losses over 16 draws. Nobody can be named") == 1


def test_an_image_of_the_same_name_is_not_the_picture(ensemble):
    samples = drawn(ensemble)
    names = ["0/1", "0/9", "mine"]
    losses(ensemble, samples.pictures[[0, 1, 2]], names, draws=8, engine=Engine(1))
    assert loss_readings(ensemble) == {}


def test_units_that_losses_name_are_shown_in_pictures(ensemble, monkeypatch):
    (one,) = landscape(ensemble, "0/0", placebos=4, engine=Engine(1))
    reading = one.influence()
    sure = dataclasses.replace(
        reading,
        effects=torch.arange(10, dtype=torch.float64),
        placebos=torch.zeros(999, dtype=torch.float64),
        level=0.1,
    )
    training = TrainingImages(ensemble.data, ensemble.codebook)
    (card,) = landscape_cards([one], training, {"0/0": (100, sure)})
    assert [row.title for row in card.loss_rows] == [f"Unit {unit}" for unit in sure.influential[:5]]
    assert "increase" not in card.verdict[0]
    assert "Above 999 placebos" in card.losses


def test_losses_of_another_ensemble_are_left_out(ensemble, monkeypatch):
    losses(ensemble, drawn(ensemble).pictures[:1], ["0/0"], draws=8, engine=Engine(1))
    assert list(loss_readings(ensemble)) == ["0/0"]
    opened = Losses.open

    def foreign(path, codebook):
        found = opened(path, codebook)
        manifest = dataclasses.replace(found.manifest, inputs={**found.manifest.inputs, "ensemble": "0" * 64})
        return dataclasses.replace(found, manifest=manifest)

    monkeypatch.setattr(Losses, "open", foreign)
    assert loss_readings(ensemble) == {}
