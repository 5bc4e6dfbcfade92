import itertools
import shutil
from pathlib import Path

import pytest
import torch

from whence import artefacts, images
from whence.engine import Engine
from whence.ensemble import Ensemble, ablate, members, sample
from whence.ensemble.codebook import placebos
from whence.ensemble.landscape import Landscape, landscapes, shard
from whence.ensemble.make_landscape import drawing_tasks, landscape, plan_landscapes
from whence.ensemble.model import MeanPrediction, NetworkMembers
from whence.ensemble.trajectories import draw_files
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError

UNITS = [f"u{k}" for k in range(10)]
#: The tiny codebook has 20 words, of which 10 belong to units.
LEFT = 10


@pytest.fixture(scope="module")
def drawn(tiny_ensemble, tmp_path_factory) -> tuple[Ensemble, list[Landscape]]:
    path = shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("landscapes") / "ens")
    ensemble = Ensemble.open(path)
    return ensemble, landscape(ensemble, "0/0-3", placebos=6, engine=Engine(1))


def test_every_counterfactual_is_the_ablation_of_its_unit(drawn):
    """Drawn one by one in batches of another size, the pictures agree to the rounding of float32 arithmetic."""
    ensemble, (_, one, *_) = drawn
    assert one.sample == "0/1"
    assert one.units == ensemble.codebook.units
    for unit in UNITS[::3]:
        (alone,) = ablate(ensemble, "0/1", [unit], engine=Engine(1))
        assert torch.allclose(one.counterfactual(unit), alone.pictures["counterfactual"], atol=1e-4)
        assert torch.allclose(one.factual, alone.pictures["factual"], atol=1e-4)


def test_distances_against_the_pictures(drawn):
    _, found = drawn
    for one in found:
        counterfactuals, beside = torch.cat(list(one.counterfactuals())), torch.cat(list(one.placebos()))
        assert counterfactuals.shape == (10, 1, 8, 8)
        assert beside.shape == (6, 1, 8, 8)
        for u, unit in enumerate(one.units):
            assert torch.equal(one.counterfactual(unit), counterfactuals[u])
            assert one.distances[u] == images.distance(one.factual, counterfactuals[u])
        assert torch.equal(one.placebo_distances, images.distance(one.factual, beside))
        assert (one.distances > 0).all()


def test_placebos_are_drawn_by_the_members_of_unassigned_words(drawn):
    ensemble, _ = drawn
    (plan, *_) = plan_landscapes(ensemble, "0/0", 6)
    sets = [one.members for one in plan.trajectories]
    assert sets[0] == tuple(range(6))
    assert sets[1:11] == [tuple(ensemble.codebook.survivors([unit])) for unit in UNITS]
    assert len(set(sets)) == len(sets) == 17
    assert all(len(members) == 3 for members in sets[1:])


def test_the_number_of_network_evaluations_is_what_was_promised(ensemble, monkeypatch):
    """Counted in the networks, without the padding of batches: U·(M/2)·T for units, P·(M/2)·T for placebos, M·T."""
    rows, padding = [0], [0]
    evaluate, pad = MeanPrediction.__call__, members.pad

    def counting(self, x, t):
        handles = [
            net.register_forward_hook(lambda _n, given, _o: rows.__setitem__(0, rows[0] + len(given[0])))
            for net in self.members.networks.values()
        ]
        try:
            return evaluate(self, x, t)
        finally:
            for handle in handles:
                handle.remove()

    def padded(x, batch_size):
        padding[0] += batch_size - len(x)
        return pad(x, batch_size)

    monkeypatch.setattr(MeanPrediction, "__call__", counting)
    monkeypatch.setattr(members, "pad", padded)
    found = landscape(ensemble, ["0/0", "0/2"], placebos=5, engine=Engine(1))
    steps, promised = 4, 2 * 4 * (10 * 3 + 5 * 3 + 6)
    assert rows[0] - padding[0] // 2 == promised  # pictures and timesteps are both padded
    assert sum(one.manifest.facts["evaluations"] for one in found) == promised
    assert steps == ensemble.config.sampler.steps


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_drawn_beside_it_does_not_change_a_landscape(drawn, ensemble, workers):
    """Nor do the number of workers, the order or the number of pictures drawn at once."""
    _, together = drawn
    (alone,) = landscape(ensemble, "0/2", placebos=6, engine=Engine(1))
    assert (alone.path / shard(0)).read_bytes() == (together[2].path / shard(0)).read_bytes()
    others = landscape(ensemble, ["0/3", "0/1"], placebos=6, engine=Engine(workers))
    for one, name in zip(others, (3, 1), strict=True):
        assert one.sample == f"0/{name}"
        assert one.manifest.files == together[name].manifest.files


def test_small_shards_hold_the_same_pictures(drawn, ensemble, monkeypatch):
    monkeypatch.setattr("whence.ensemble.make_landscape.SHARD", 1)
    monkeypatch.setattr("whence.ensemble.make_landscape.LARGEST", 7)
    monkeypatch.setattr("whence.ensemble.make_landscape.SMALLEST", 7)
    (small,) = landscape(ensemble, "0/0", placebos=6, engine=Engine(1))
    assert len(list((small.path / "shards").iterdir())) == 3
    _, (large, *_) = drawn
    assert torch.allclose(small.distances, large.distances, atol=1e-4)
    for one in (small.counterfactuals, large.counterfactuals):
        assert torch.allclose(torch.cat(list(one())), torch.cat(list(large.counterfactuals())), atol=1e-4)
    assert torch.equal(small.counterfactual("u6"), torch.cat(list(small.counterfactuals()))[6])
    assert torch.equal(torch.cat(list(small.placebos()))[5], small._block(2)[2])


def test_interrupted_three_times_it_ends_with_the_same_bytes(drawn, ensemble, monkeypatch):
    _, whole = drawn
    monkeypatch.setattr("whence.ensemble.make_landscape.LARGEST", 16)
    monkeypatch.setattr("whence.ensemble.make_landscape.TASK", 1)
    monkeypatch.setattr("whence.ensemble.make_landscape.SHARD", 1)
    other = Ensemble.open(shutil.copytree(ensemble.path, ensemble.path.parent / "b"))
    expected = landscape(other, "0/0-1", engine=Engine(1))
    assert len(list((expected[0].path / "shards").iterdir())) == 2
    budget = [0]

    def failing(**arguments):
        budget[0] -= 1
        if budget[0] < 0:
            raise KeyboardInterrupt
        draw_files(**arguments)

    monkeypatch.setattr("whence.ensemble.trajectories.draw_files", failing)
    for finished in (1, 0, 2):
        budget[0] = finished
        with pytest.raises(KeyboardInterrupt):
            landscape(ensemble, "0/0-1", engine=Engine(1))
        assert landscapes(ensemble) == []
    budget[0] = 100
    found = landscape(ensemble, "0/0-1", engine=Engine(1))
    assert budget[0] == 100 - (4 - 3)
    assert [one.manifest.fingerprint for one in found] == [one.manifest.fingerprint for one in expected]
    assert whole[0].manifest.fingerprint != found[0].manifest.fingerprint  # another canonical batch


def test_it_is_drawn_once(drawn, monkeypatch):
    ensemble, found = drawn
    monkeypatch.setattr("whence.ensemble.trajectories.draw_files", None)
    again = landscape(ensemble, [one.sample for one in found], placebos=6)
    assert [one.manifest for one in again] == [one.manifest for one in found]
    assert landscapes(ensemble) == found


def test_an_ensemble_of_copies_has_no_distances(ensemble, monkeypatch):
    """When all members are one model, nobody matters, and the distances are exactly 0."""
    network = ensemble.open_members([2]).networks[2]
    copies = NetworkMembers(dict.fromkeys(range(6), network))
    monkeypatch.setattr(Ensemble, "open_members", lambda *_, **__: copies)
    (one,) = landscape(ensemble, "0/0", placebos=3, engine=Engine(1))
    assert one.distances.abs().max() == 0
    assert one.placebo_distances.abs().max() == 0


def test_more_placebos_than_words_are_left(ensemble):
    (one,) = landscape(ensemble, "0/0", placebos=50, engine=Engine(1))
    assert len(one.placebo_distances) == one.manifest.made["placebos"] == LEFT
    (plan,) = plan_landscapes(ensemble, "0/0", 50)
    beside = {one.members for one in plan.trajectories[11:]}
    taken = {tuple(ensemble.codebook.survivors([unit])) for unit in UNITS}
    assert beside == set(itertools.combinations(range(6), 3)) - taken
    assert set(placebos(ensemble.codebook, 1, 3, seed=5)) == beside


@pytest.mark.parametrize(
    ("names", "placebos", "error", "message"),
    [
        ("0/7", 5, ArtefactError, "0/7 has not been drawn"),
        ("3", 5, ConfigError, "SEED/INDEX"),
        ("0/1", -1, ConfigError, "--placebos must be at least 0"),
    ],
)
def test_requests_that_are_refused(ensemble, names, placebos, error, message):
    with pytest.raises(error, match=message):
        landscape(ensemble, names, placebos=placebos)
    assert not (ensemble.path / "landscapes").exists()


def test_more_placebos_later_extend_a_landscape(ensemble, monkeypatch):
    """Full shards are taken over, and the bytes are those of a landscape drawn with as many at once."""
    for name, value in (("SHARD", 1), ("LARGEST", 4), ("SMALLEST", 4)):
        monkeypatch.setattr(f"whence.ensemble.make_landscape.{name}", value)
    other = Ensemble.open(shutil.copytree(ensemble.path, ensemble.path.parent / "b"))
    (at_once,) = landscape(other, "0/0", placebos=6, engine=Engine(1))
    files: list[str] = []

    def watching(**arguments):
        files.extend(file for file, _ in arguments["files"])
        draw_files(**arguments)

    monkeypatch.setattr("whence.ensemble.trajectories.draw_files", watching)
    landscape(ensemble, "0/0", placebos=2, engine=Engine(1))
    assert len(files) == 4
    (extended,) = landscape(ensemble, "0/0", placebos=6, engine=Engine(1))
    assert [Path(file).stem for file in files[4:]] == ["00003", "00004"]
    assert extended.manifest.fingerprint == at_once.manifest.fingerprint
    assert len(landscape(ensemble, "0/0", placebos=3, engine=Engine(1))[0].placebo_distances) == 6
    assert len(files) == 6


def test_a_landscape_of_another_picture_is_refused(ensemble):
    landscape(ensemble, "0/0", placebos=2, engine=Engine(1))
    artefacts.discard(ensemble.path / "samples")
    sampler = ensemble.config.updated("sampler", method="ddim").sampler
    sample(ensemble, count=1, sampler=sampler, engine=Engine(1))
    with pytest.raises(MismatchError, match="method"):
        landscape(ensemble, "0/0", placebos=2, engine=Engine(1))


def test_groups_stand_against_groups_that_leave_other_members(ensemble):
    pairs = [pair for pair in itertools.combinations(UNITS, 2) if _left(ensemble, pair)]
    for pair in pairs[:4]:
        (plan,) = plan_landscapes(ensemble, "0/0", 100, pair)
        _, own, *beside = [one.members for one in plan.trajectories]
        assert own == tuple(ensemble.codebook.survivors(pair))
        assert own not in beside
        assert {len(members) for members in beside} == {_left(ensemble, pair)}
    (one,) = landscape(ensemble, "0/0", placebos=3, together=pairs[0][::-1], engine=Engine(1))
    assert one.units == one.influence().units == ("+".join(pairs[0]),)
    (alone,) = ablate(ensemble, "0/0", pairs[0], engine=Engine(1))
    assert torch.allclose(one.counterfactual(one.units[0]), alone.pictures["counterfactual"], atol=1e-4)
    assert len(one.placebo_distances) == 3
    assert landscapes(ensemble) == []


def _left(ensemble: Ensemble, units: tuple[str, ...]) -> int:
    return int((~ensemble.codebook.bits[:, ensemble.codebook.columns(units)]).all(axis=1).sum())


def test_damage_is_noticed(ensemble, flip_byte):
    (one,) = landscape(ensemble, "0/0", placebos=2, engine=Engine(1))
    with pytest.raises(DataError, match="no unit 'u99'"):
        one.counterfactual("u99")
    flip_byte(one.path / shard(0))
    with pytest.raises(ArtefactError, match="damaged"):
        Landscape.open(one.path)


def test_samples_drawn_by_another_sampler_are_not_mixed(ensemble):
    """Pictures of two seeds, one by DDIM: each landscape is drawn as its picture was."""
    sampler = ensemble.config.updated("sampler", method="ddim").sampler
    sample(ensemble, count=1, seed=1, sampler=sampler, engine=Engine(1))
    plans = plan_landscapes(ensemble, ["0/0", "1/0"], 2)
    tasks = drawing_tasks(ensemble, {plan.path: plan for plan in plans})
    assert [task.arguments["drawing"].sampler.method for task in tasks] == ["ddpm", "ddim"]
    first, second = landscape(ensemble, ["0/0", "1/0"], placebos=2, engine=Engine(1))
    assert first.manifest.made["sampler"]["method"] == "ddpm"
    assert torch.allclose(
        second.factual,
        artefacts.read_tensors(ensemble.path / "samples/1/pictures.safetensors")["pictures"][0],
        atol=1e-4,
    )
