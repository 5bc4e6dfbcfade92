import shutil
from functools import cache

import pytest
import torch

from whence import images
from whence.config import SamplerConfig
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.sampling import draw
from whence.engine import Engine
from whence.ensemble import (
    Ablation,
    Ensemble,
    MeanPrediction,
    NetworkMembers,
    Samples,
    ablate,
    ablate_each,
    ablations,
    sample,
)
from whence.ensemble.model import member_path
from whence.errors import ArtefactError, ConfigError, DataError, NoSurvivorsError

UNITS = [f"u{k}" for k in range(10)]


def pairs_with_survivors(ensemble: Ensemble, keep_only: bool = False) -> list[list[str]]:
    bits = ensemble.codebook.bits
    return [
        [UNITS[a], UNITS[b]]
        for a in range(10)
        for b in range(a + 1, 10)
        if ((bits[:, a] == keep_only) & (bits[:, b] == keep_only)).any()
    ]


load = cache(DiffusionModel.load)


def by_hand(ensemble: Ensemble, members: list[int], sampler: SamplerConfig, seed: int, index: int):
    """One picture from an ensemble that is made of these members alone, read from disk."""
    models = [load(member_path(ensemble.path, m)) for m in members]
    networks = {k: model.network for k, model in enumerate(models)}
    predict = MeanPrediction(NetworkMembers(networks), [tuple(networks)], sampler.batch_size)
    return draw(predict, models[0], sampler, [(seed, index)])[0]


@pytest.fixture(scope="module")
def every(tiny_ensemble, tmp_path_factory):
    """An ensemble and the ablations of every unit from the picture 0/2; only to be read."""
    ensemble = Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("every") / "ens"))
    return ensemble, ablate_each(ensemble, [("0/2", [unit]) for unit in UNITS], engine=Engine(1))


def test_no_survivor_ever_saw_the_unit_and_all_others_did(tiny_ensemble, tiny_data):
    """From the records of what every step of every member saw, for every unit."""
    seen = [Record(member_path(tiny_ensemble.path, m)).seen() for m in range(6)]
    for unit in UNITS:
        images_of_unit = {tiny_data.ids[n] for n in tiny_data.examples_of(unit)}
        survivors = tiny_ensemble.codebook.survivors([unit])
        assert len(survivors) == 3
        for member in range(6):
            if member in survivors:
                assert not images_of_unit & seen[member]
                assert not images_of_unit & set(Record(member_path(tiny_ensemble.path, member)).ids)
            else:
                assert images_of_unit <= seen[member]


def test_a_counterfactual_is_drawn_by_an_ensemble_of_the_survivors_alone(every):
    """Bit for bit, for every unit, though all of them were drawn together."""
    ensemble, made = every
    samples = Samples.open(ensemble.path / "samples" / "0")
    for unit, one in zip(UNITS, made, strict=True):
        survivors = ensemble.codebook.survivors([unit])
        assert (one.sample, one.units, one.survivors) == ("0/2", [unit], survivors)
        expected = by_hand(ensemble, survivors, samples.drawing.sampler, 0, 2)
        assert torch.equal(one.pictures["counterfactual"], expected)
        assert torch.equal(one.pictures["factual"], samples.pictures[2])
        assert not torch.equal(one.pictures["counterfactual"], one.pictures["factual"])


def test_a_placebo_is_drawn_by_as_many_members_and_removes_no_unit(every):
    ensemble, made = every
    for one in made:
        placebo = one.manifest.made["placebo"]
        assert len(placebo) == len(one.survivors)
        assert placebo not in [ensemble.codebook.survivors([unit]) for unit in UNITS]
        expected = by_hand(ensemble, placebo, SamplerConfig(steps=4, batch_size=4), 0, 2)
        assert torch.equal(one.pictures["placebo"], expected)


def test_without_equals_the_counterfactual(ensemble):
    """Sampling with --without and ablating are two ways to one picture."""
    (one,) = ablate(ensemble, "0/3", ["u4"], engine=Engine(1))
    assert torch.equal(
        sample(ensemble, count=4, without=["u4"], engine=Engine(1)).pictures[3], one.pictures["counterfactual"]
    )


def test_keep_only_draws_with_the_members_that_saw_the_unit(ensemble):
    (one,) = ablate(ensemble, "0/0", ["u5"], keep_only=True, engine=Engine(1))
    members = [m for m in range(6) if ensemble.codebook.bits[m, 5]]
    assert one.keep_only
    assert one.survivors == members
    expected = by_hand(ensemble, members, SamplerConfig(steps=4, batch_size=4), 0, 0)
    assert torch.equal(one.pictures["counterfactual"], expected)
    (other,) = ablate(ensemble, "0/0", ["u5"], engine=Engine(1))
    assert sorted(one.survivors + other.survivors) == list(range(6))
    assert one.path != other.path


@pytest.mark.parametrize("keep_only", [False, True])
def test_two_units_together(ensemble, keep_only):
    pairs = pairs_with_survivors(ensemble, keep_only)
    for units in pairs[:2]:
        (one,) = ablate(ensemble, "0/0", units, keep_only=keep_only, engine=Engine(1))
        columns = [UNITS.index(unit) for unit in units]
        survivors = [m for m in range(6) if (ensemble.codebook.bits[m, columns] == keep_only).all()]
        assert one.survivors == survivors
        expected = by_hand(ensemble, survivors, SamplerConfig(steps=4, batch_size=4), 0, 0)
        assert torch.equal(one.pictures["counterfactual"], expected)
    none = [[a, b] for a in UNITS for b in UNITS if a < b and [a, b] not in pairs]
    assert none
    with pytest.raises(NoSurvivorsError, match=f"the units '{none[0][0]}', '{none[0][1]}'"):
        ablate(ensemble, "0/0", none[0], keep_only=keep_only, engine=Engine(1))


def test_a_placebo_of_two_units_is_not_their_own_ablation(ensemble):
    pairs = pairs_with_survivors(ensemble)[::5]
    assert len(pairs) > 3
    for one in ablate_each(ensemble, [("0/0", units) for units in pairs], engine=Engine(1)):
        assert one.manifest.made["placebo"] != one.survivors


def test_units_in_another_order_are_the_same_ablation(ensemble):
    units = pairs_with_survivors(ensemble)[0]
    (one,) = ablate(ensemble, "0/0", units, engine=Engine(1))
    (other,) = ablate(ensemble, "0/0", units[::-1], engine=Engine(1))
    assert one.path == other.path


def test_many_together_equal_one_by_one(ensemble, tiny_ensemble, tmp_path):
    requests = [("0/0", ["u0"]), ("0/1", ["u1"]), ("0/1", ["u2"]), ("0/1", pairs_with_survivors(ensemble)[0])]
    together = ablate_each(ensemble, requests, engine=Engine(1))
    alone = Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path / "alone"))
    for one, (name, units) in zip(together, requests, strict=True):
        (other,) = ablate(alone, name, units, engine=Engine(1))
        assert other.path.relative_to(alone.path) == one.path.relative_to(ensemble.path)
        for key in ("factual", "counterfactual", "placebo"):
            assert torch.equal(one.pictures[key], other.pictures[key])
        assert (one.path / "picture.png").read_bytes() == (other.path / "picture.png").read_bytes()


def test_twice_is_nothing_to_do(ensemble):
    (one,) = ablate(ensemble, "0/1", ["u2"], engine=Engine(1))
    times = {file: file.stat().st_mtime_ns for file in one.path.rglob("*")}
    seen = []
    (again,) = ablate(ensemble, "0/1", ["u2"], engine=Engine(1, lambda *progress: seen.append(progress)))
    assert seen == [(1, 1)]
    assert again.manifest == one.manifest
    assert {file: file.stat().st_mtime_ns for file in one.path.rglob("*")} == times


def test_the_same_request_twice_in_one_call(ensemble):
    first, second = ablate_each(ensemble, [("0/1", ["u2"]), ("0/1", ["u2", "u2"])], engine=Engine(1))
    assert first.path == second.path


def test_several_samples_at_once(ensemble):
    made = ablate(ensemble, ["0/3", "0/0"], ["u1"], engine=Engine(1))
    assert [one.sample for one in made] == ["0/3", "0/0"]


def test_drawing_more_samples_leaves_ablations_valid(ensemble):
    (one,) = ablate(ensemble, "0/1", ["u2"], engine=Engine(1))
    sample(ensemble, count=6, engine=Engine(1))
    (again,) = ablate(ensemble, "0/1", ["u2"], engine=Engine(1))
    assert again.manifest == one.manifest


def test_distances_against_the_pictures(ensemble):
    (one,) = ablate(ensemble, "0/1", ["u2"], engine=Engine(1))
    gap = (one.pictures["factual"].double() - one.pictures["counterfactual"].double()) / 2
    assert one.distance == pytest.approx(gap.square().sum().sqrt().item(), rel=1e-12)
    assert one.placebo_distance == pytest.approx(
        images.distance(one.pictures["factual"], one.pictures["placebo"]).item()
    )
    assert one.distance > 0


def test_ablations_lists_all_of_this_ensemble(ensemble):
    assert ablations(ensemble) == []
    sample(ensemble, count=11, seed=2, sampler=SamplerConfig(steps=1, batch_size=4), engine=Engine(1))
    requests = [("2/10", ["u1"]), ("0/1", ["u3"]), ("2/9", ["u1"]), ("0/1", ["u2"])]
    ablate_each(ensemble, requests, engine=Engine(1))
    listed = [(one.sample, one.units) for one in ablations(ensemble)]
    assert listed == [("0/1", ["u2"]), ("0/1", ["u3"]), ("2/9", ["u1"]), ("2/10", ["u1"])]


@pytest.mark.parametrize(
    ("name", "units", "error", "message"),
    [
        ("0/4", ["u1"], ArtefactError, r"0/4 has not been drawn yet .*First: whence ensemble sample .*--count 5"),
        ("nine", ["u1"], ConfigError, "SEED/INDEX"),
        ("0/0", ["nobody"], DataError, "no unit 'nobody'"),
        ("0/0", [], DataError, "No unit is given"),
        ("0/0", UNITS, NoSurvivorsError, "None of the 6 members never saw any of"),
    ],
)
def test_bad_requests_leave_nothing_behind(ensemble, name, units, error, message):
    with pytest.raises(error, match=message):
        ablate_each(ensemble, [("0/0", ["u1"]), (name, units)], engine=Engine(1))
    assert not (ensemble.path / "ablations").exists()


def test_a_damaged_ablation_is_refused(ensemble, flip_byte):
    (one,) = ablate(ensemble, "0/1", ["u2"], engine=Engine(1))
    flip_byte(one.path / "pictures.safetensors")
    with pytest.raises(ArtefactError, match="pictures.safetensors is damaged"):
        Ablation.open(one.path)


class StoppedError(Exception):
    pass


def stop(done: int, total: int) -> None:
    if done > 0.9 * total:
        raise StoppedError


def interrupted(ensemble: Ensemble, name: str) -> None:
    """Ten ablations are 20 pictures: a part of 16 is finished, the second is not."""
    with pytest.raises(StoppedError):
        ablate_each(ensemble, [(name, [unit]) for unit in UNITS], engine=Engine(1, stop))


def test_interrupted_ablations_continue(ensemble, every):
    requests, (_, expected) = [("0/2", [unit]) for unit in UNITS], every
    interrupted(ensemble, "0/2")
    finished = list((ensemble.path / "ablations").rglob("*.safetensors"))
    assert len(finished) == 1
    seen = []
    made = ablate_each(ensemble, requests, engine=Engine(1, lambda *progress: seen.append(progress)))
    for one, other in zip(made, expected, strict=True):
        assert torch.equal(one.pictures["counterfactual"], other.pictures["counterfactual"])
        assert torch.equal(one.pictures["placebo"], other.pictures["placebo"])
    assert not finished[0].exists()
    assert seen[0][0] > seen[0][1] / 2, "the finished part was used"


@pytest.mark.slow
def test_parts_of_another_sampler_are_not_used(ensemble):
    """Interrupted, then the samples drawn again in another way: nothing of the old pictures may come back."""
    sampler = SamplerConfig(steps=2, batch_size=4)
    sample(ensemble, count=1, seed=6, sampler=sampler, engine=Engine(1))
    interrupted(ensemble, "6/0")
    shutil.rmtree(ensemble.path / "samples" / "6")
    sampler = sampler.model_copy(update={"steps": 3})
    sample(ensemble, count=1, seed=6, sampler=sampler, engine=Engine(1))
    made = ablate_each(ensemble, [("6/0", [unit]) for unit in UNITS], engine=Engine(1))
    for one in made:
        assert torch.equal(one.pictures["counterfactual"], by_hand(ensemble, one.survivors, sampler, 6, 0))


def test_unfinished_ablations_are_not_listed_and_do_not_hurt_the_ensemble(ensemble):
    interrupted(ensemble, "0/1")
    assert ablations(ensemble) == []
    assert Ensemble.open(ensemble.path).manifest == ensemble.manifest


@pytest.mark.slow
def test_two_workers_draw_the_same_bytes(ensemble, tiny_ensemble, tmp_path):
    requests = [("0/1", [unit]) for unit in UNITS]
    one = ablate_each(ensemble, requests, engine=Engine(1))
    other = Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path / "two"))
    for a, b in zip(one, ablate_each(other, requests, engine=Engine(2)), strict=True):
        assert (a.path / "pictures.safetensors").read_bytes() == (b.path / "pictures.safetensors").read_bytes()
