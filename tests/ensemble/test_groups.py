"""Units of several images, and images of several units: artists who are left out with all their pictures."""

import itertools

import numpy as np
import pytest
import torch

from whence.data import Dataset, load
from whence.diffusion.record import Record
from whence.engine import Engine
from whence.ensemble import Ensemble, sample, train_ensemble
from whence.ensemble.ablation import nearest_units
from whence.ensemble.make_landscape import landscape
from whence.ensemble.make_losses import losses
from whence.ensemble.model import member_path

ARTISTS = tuple(f"a{n}" for n in range(6))


@pytest.fixture(scope="module")
def together() -> Dataset:
    """30 digits by six artists: each alone for three images, and each neighbouring pair for two."""
    units = [(artist,) for artist in ARTISTS for _ in range(3)]
    units += [(a, b) for a, b in zip(ARTISTS, ARTISTS[1:] + ARTISTS[:1], strict=True) for _ in range(2)]
    digits = load("digits").select(range(30))
    return digits.with_fields(units=tuple(units))


@pytest.fixture(scope="module")
def artists(together, tiny_config, tmp_path_factory) -> Ensemble:
    config = tiny_config.updated("training", steps=4, save_every=4, checkpoints=1)
    path = tmp_path_factory.mktemp("artists") / "ens"
    ensemble = train_ensemble(together, path, members=6, config=config, engine=Engine(1))
    sample(ensemble, count=2, engine=Engine(1))
    return ensemble


@pytest.mark.slow
def test_a_landscape_leaves_out_all_images_of_an_artist_and_those_with_others(artists, together):
    (one,) = landscape(artists, "0/1", placebos=5, engine=Engine(1))
    assert one.units == ARTISTS
    for artist in ARTISTS[::2]:
        survivors = artists.codebook.survivors([artist])
        for member in survivors:
            seen = [together.ids.index(name) for name in Record(member_path(artists.path, member)).ids]
            assert not set(seen) & set(together.examples_of(artist).tolist())
        free = sample(artists, count=2, without=[artist], engine=Engine(1)).pictures[1]
        assert torch.allclose(one.counterfactual(artist), free, atol=1e-4)


def test_losses_of_artists_against_their_survivors(artists, together):
    found = losses(artists, together.images([0, 19]), ["mine", "ours"], draws=8, engine=Engine(1))
    scores = found.scores()
    assert scores.examples == ARTISTS
    assert scores.scores.shape == (2, 6)
    gram = found.sets.gram.numpy()
    for group in [*itertools.combinations(ARTISTS, 1), ("a0", "a1")]:
        members = artists.codebook.survivors(group)
        assert found.without(group)[1].item() == pytest.approx(gram[1][np.ix_(members, members)].mean())
    assert found.influence_on("ours", ["a1", "a0"]).units == ("a0+a1",)


def test_the_nearest_artists_are_those_of_the_nearest_images(artists, together):
    pictures = sample(artists, count=2, engine=Engine(1)).pictures
    for index in range(2):
        found = [unit for _, (unit,) in nearest_units(artists, [f"0/{index}"], 2)]
        order = (together.images(range(30)) - pictures[index]).flatten(1).norm(dim=1).argsort()
        expected = list(dict.fromkeys(unit for n in order.tolist() for unit in together.units[n]))
        assert set(found[:1]) <= set(together.units[int(order[0])])
        assert set(found) <= set(expected[:3])
        reading = landscape(artists, f"0/{index}", placebos=5, engine=Engine(1))[0].influence().restrict(found)
        assert reading.units == tuple(found)
