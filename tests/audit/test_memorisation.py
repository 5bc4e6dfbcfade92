"""Closeness against an obvious loop, copies that are found, and what is said of them."""

import numpy as np
import pytest
import torch

from whence.attribution.target import Target
from whence.audit.make_memorisation import audit_memorisation
from whence.audit.memorisation import NEIGHBOURS, closeness
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.ensemble.sampling import sample
from whence.errors import ConfigError, DataError


def test_closeness_is_the_distance_over_the_mean_of_the_next_ones():
    source = np.random.default_rng(0)
    queries, examples = source.integers(0, 256, (3, 12)), source.integers(0, 256, (80, 12))
    found = closeness(queries.astype(np.uint8), examples.astype(np.uint8))
    for q, query in enumerate(queries):
        distances = np.sqrt(((query - examples) ** 2).mean(1))
        order = np.argsort(distances)
        assert found.places[q] == order[0]
        assert found.values[q] == pytest.approx(distances[order[0]] / distances[order[1 : 1 + NEIGHBOURS]].mean())


@pytest.fixture
def repeated():
    """Sixty digits, one of them four times."""
    digits = load("digits").select(range(57))
    pixels = np.concatenate([digits.pixels, digits.pixels[:1].repeat(3, 0)])
    ids = (*digits.ids, "copy 0", "copy 1", "copy 2")
    return Dataset(ids, pixels, tuple((id,) for id in ids), (None,) * 60)


def test_copies_are_found_and_others_are_not(repeated, run, tmp_path):
    target = Target.open(run).model
    held_out, others = (load("digits:test").select(rows) for rows in (range(100), range(100, 150)))
    noisy = repeated.images([0, 9]) + 0.05 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn = Examples(("0/0", "0/1", *others.ids), torch.cat([noisy.clamp(-1, 1), others.images(range(50))]))
    audit = audit_memorisation(target, repeated, drawn, tmp_path / "a", held_out=held_out)
    found = {hit.picture: (hit.image, hit.copies) for hit in audit.hits}
    assert found["0/0"] == (repeated.ids[0], 4)
    assert found["0/1"] == (repeated.ids[9], 1)
    assert len(found) <= 3
    assert audit.clusters == 57
    assert audit.compared == 100
    assert audit.rate.value == len(found) / 52
    assert audit.images == len({image for image, _ in found.values()})


def test_the_threshold_can_be_stated_or_come_from_training_images(repeated, run, tmp_path):
    target, drawn = Target.open(run).model, Examples(("0/0",), load("digits:test").images([0]))
    stated = audit_memorisation(target, repeated, drawn, tmp_path / "a", threshold=0.99)
    assert (stated.threshold, stated.compared, len(stated.hits)) == (0.99, 0, 1)
    own = audit_memorisation(target, repeated, drawn, tmp_path / "b")
    assert own.compared == 57
    assert "training images" in own.chosen_by
    with pytest.raises(ConfigError, match="between 0 and 1"):
        audit_memorisation(target, repeated, drawn, tmp_path / "c", threshold=2.0)
    with pytest.raises(ConfigError, match="has no latents"):
        audit_memorisation(target, repeated, drawn, tmp_path / "c", by="latents")
    with pytest.raises(DataError, match="held-out pictures are"):
        audit_memorisation(target, repeated, drawn, tmp_path / "c", held_out=load("styles:test"))


@pytest.mark.slow
def test_copies_of_an_ensemble_are_drawn_again_without_their_units(ensemble, tmp_path):
    samples = sample(ensemble, count=3, seed=5, engine=Engine(1))
    drawn = Examples(tuple(samples.names), samples.pictures)
    audit = audit_memorisation(ensemble, ensemble.data, drawn, tmp_path / "a", threshold=0.999, engine=Engine(1))
    assert len(audit.hits) > 0
    for hit in audit.hits:
        assert hit.units == ensemble.data.units[ensemble.data.index_of(hit.image)]
        assert np.isfinite([hit.before, hit.without]).all()
        assert np.isfinite(hit.placebo)
