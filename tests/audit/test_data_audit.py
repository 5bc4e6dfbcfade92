"""The table of training images against obvious loops, its lists, and its groups."""

from dataclasses import replace

import numpy as np
import pytest

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.attribution.target import Target
from whence.audit.captions import caption_fit
from whence.audit.fits import EnsembleFit, ModelFit
from whence.audit.leave_out import write_leave_out
from whence.audit.make_data_audit import audit_data
from whence.audit.self_influence import self_influence
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.diffusion.record import Record
from whence.engine import Engine
from whence.errors import ConfigError, MismatchError
from whence.images import write_png


@pytest.mark.parametrize("method", ["tangent", "gradient-dot"])
def test_self_influence_is_the_diagonal_of_the_scores(run, digits, tmp_path, method):
    config = AttributionConfig(draws=8)
    found = self_influence(Target.open(run), digits, method, tmp_path, config=config, engine=Engine(1))
    if method == "tangent":  # queries and examples have the same draws, so the scores have the same diagonal
        scores = attribute(run, digits, digits, method, config=config, engine=Engine(1))[method].scores
        assert found.numpy() == pytest.approx(scores.diagonal().numpy(), rel=1e-4)
    assert (found > 0).all()


def test_the_audit_of_a_recorded_run(run, digits, tmp_path):
    audit = audit_data(run, digits, tmp_path / "audit", draws=8, engine=Engine(1))
    fit = ModelFit.of(Target.open(run), 8)
    assert audit.values("loss") == pytest.approx(fit.losses(Examples.of(digits)))
    rows = Record(run)["rows"].flatten().tolist()
    assert audit.table["visits"] == [rows.count(n) for n in range(len(digits))]
    pixels = digits.pixels.reshape(24, -1) / 255
    distances = np.sqrt(((pixels[:, None] - pixels) ** 2).mean(-1)) + 9 * np.eye(24)
    assert audit.values("distance") == pytest.approx(distances.min(1))
    assert audit.table["nearest"] == [digits.ids[n] for n in distances.argmin(1)]
    assert "caption_gain" not in audit.table
    worst = audit.worst("loss", 3)
    assert sorted(audit.values("loss"))[-3:][::-1] == audit.values("loss")[worst].tolist()
    assert audit_data(run, digits, tmp_path / "audit", draws=8).manifest == audit.manifest
    with pytest.raises(ConfigError, match="no number 'size'"):
        audit.values("size")
    with pytest.raises(MismatchError, match="trained on data"):
        audit_data(run, digits.select(range(9)), tmp_path / "other", draws=8)


def test_near_duplicates_are_counted_and_are_groups_where_there_are_no_units(tmp_path, run):
    digits = load("digits").select(range(6))
    pixels = digits.pixels.copy()
    pixels[4] = pixels[1]
    data = digits.with_fields(captions=(None,) * 6)
    data = Dataset(data.ids, pixels, data.units, data.captions)
    model = Target.open(run).model
    audit = audit_data(model, data, tmp_path / "audit", draws=8, engine=Engine(1))
    assert audit.table["copies"] == [1, 2, 1, 1, 2, 1]
    assert audit.table["nearest"][4] == data.ids[1]
    [group] = audit.groups
    assert (group.name, group.rows) == (f"near-duplicates of {data.ids[1]}", [1, 4])
    assert group.means["distance"] == 0


def test_self_influence_of_an_ensemble_is_the_exact_effect_of_its_unit(ensemble, tmp_path):
    audit = audit_data(ensemble, ensemble.data, tmp_path / "audit", draws=8, engine=Engine(1))
    examples = ensemble.encoders.encode_queries(ensemble.data)
    found = EnsembleFit(ensemble, 8).of_ablations(examples)
    units = [found.units.index(names[0]) for names in ensemble.data.units]
    exact = found.scores().scores[range(24), units].numpy()
    assert audit.values("self_influence") == pytest.approx(exact, rel=1e-4, abs=1e-9)
    assert [group.name for group in audit.groups] != []
    assert sum(len(group.rows) for group in audit.groups) == 24


def test_captions_are_compared_at_the_same_draws(tmp_path):
    data = load("styles").select(range(5))
    data = data.with_fields(captions=("a zero in style 1", *data.captions[1:]))
    target = Target.open("styles")
    fit, encoders = ModelFit.of(target, 4), target.encoders
    examples = encoders.encode(data)
    own = fit.losses(examples)
    found = caption_fit(fit, encoders, data, examples, own)
    empty = encoders.encode(replace(data, captions=("",) * 5))
    assert found.gain == pytest.approx(own - fit.losses(empty), abs=1e-6)
    best = encoders.encode(replace(data, captions=found.best))
    assert found.excess == pytest.approx(own - fit.losses(best), abs=1e-6)
    assert all(text != own for text, own in zip(found.best, data.captions, strict=True))


def test_lists_without_the_worst_are_read_by_the_reader_of_folders(tmp_path):
    digits = load("digits").select(range(5))
    (tmp_path / "images").mkdir()
    for n, pixels in enumerate(digits.pixels):
        write_png(tmp_path / "images" / f"{n}.png", pixels)
    data = load(tmp_path / "images")
    write_leave_out(data.with_fields(captions=tuple("abcde")), [3, 1], tmp_path / "out")
    assert (tmp_path / "out" / "leave-out.txt").read_text().split() == ["3.png", "1.png"]
    for name in ("1.png", "3.png"):
        (tmp_path / "images" / name).unlink()
    (tmp_path / "out" / "metadata.csv").rename(tmp_path / "images" / "metadata.csv")
    left = load(tmp_path / "images")
    assert (left.ids, left.captions) == (("0.png", "2.png", "4.png"), ("a", "c", "e"))
    with pytest.raises(ConfigError, match="5 of 5 images"):
        write_leave_out(data, range(5), tmp_path / "out")
