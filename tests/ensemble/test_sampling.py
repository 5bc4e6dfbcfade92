import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from whence import artefacts, images
from whence.config import SamplerConfig
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw
from whence.diffusion.variance_preserving import VariancePreserving
from whence.engine import Engine
from whence.ensemble import Ensemble, MeanPrediction, NetworkMembers, Samples, sample
from whence.ensemble.model import member_path
from whence.ensemble.sampling import find_sample, units_key
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError, NoSurvivorsError


def hashes(path: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.iterdir() if file.is_file()}


def by_hand(ensemble: Ensemble, members, sampler: SamplerConfig, seed: int, index: int) -> torch.Tensor:
    """One picture from an ensemble that is made of these members alone, read from disk."""
    models = {m: DiffusionModel.load(member_path(ensemble.path, m)) for m in members}
    predict = MeanPrediction(
        NetworkMembers({m: models[m].network for m in members}), [tuple(members)], sampler.batch_size
    )
    return draw(predict, models[members[0]], sampler, [(seed, index)])[0]


def test_samples_are_the_mean_of_all_members(tiny_ensemble):
    samples = Samples.open(tiny_ensemble.path / "samples" / "0")
    assert samples.names == ["0/0", "0/1", "0/2", "0/3"]
    assert samples.pictures.shape == (4, 1, 8, 8)
    assert samples.manifest.inputs == {"ensemble": tiny_ensemble.manifest.fingerprint}
    for index in (0, 3):
        assert torch.equal(
            samples.pictures[index], by_hand(tiny_ensemble, list(range(6)), samples.drawing.sampler, 0, index)
        )


def test_an_ensemble_of_copies_of_one_model_is_that_model(ensemble):
    """Eight copies are averaged in float64: the picture is that of the one model to the last bit."""
    sampler = SamplerConfig(steps=4, batch_size=4)
    network = ensemble.open_members([2]).networks[2]
    names = [(0, 0), (0, 1)]
    one = draw(MeanPrediction(NetworkMembers({0: network}), [(0,)] * 2, 4), ensemble.reference_model, sampler, names)
    eight = draw(
        MeanPrediction(NetworkMembers(dict.fromkeys(range(8), network)), [tuple(range(8))] * 2, 4),
        ensemble.reference_model,
        sampler,
        names,
    )
    assert torch.equal(one, eight)


def test_copies_of_one_member_on_disk_draw_the_same_however_many_survive(ensemble):
    """The ensemble's own pictures and any ablation of it agree when all members are one model."""
    sampler = SamplerConfig(steps=4, batch_size=4)
    members = NetworkMembers(dict.fromkeys(range(6), ensemble.open_members([2]).networks[2]))
    sets = [tuple(range(6)), (1, 3, 5), (0,), (2, 4)]
    pictures = draw(MeanPrediction(members, sets, 4), ensemble.reference_model, sampler, [(0, 0)] * 4)
    for picture in pictures[1:]:
        assert torch.allclose(pictures[0].double(), picture.double(), atol=1e-7)


def test_drawing_more_keeps_the_first_to_the_byte(ensemble):
    first = sample(ensemble, count=4, engine=Engine(1))
    before, pictures = hashes(first.path), first.pictures.clone()
    more = sample(ensemble, count=8, engine=Engine(1))
    after = hashes(more.path)
    assert more.names[-1] == "0/7"
    for index in range(4):
        assert before[f"{index:05d}.png"] == after[f"{index:05d}.png"]
    assert torch.equal(more.pictures[:4], pictures)
    assert not torch.equal(more.pictures[4:], pictures)


def test_asking_for_fewer_keeps_what_is_there(ensemble):
    before = hashes(ensemble.path / "samples" / "0")
    assert len(sample(ensemble, count=2, engine=Engine(1)).names) == 4
    assert hashes(ensemble.path / "samples" / "0") == before


def test_the_same_command_twice_gives_the_same_bytes(ensemble):
    before = hashes(ensemble.path / "samples" / "0")
    times = {file: file.stat().st_mtime_ns for file in (ensemble.path / "samples" / "0").iterdir()}
    sample(ensemble, count=4, engine=Engine(1))
    assert {file: file.stat().st_mtime_ns for file in (ensemble.path / "samples" / "0").iterdir()} == times
    artefacts.discard(ensemble.path / "samples" / "0")
    sample(ensemble, count=4, engine=Engine(1))
    after = hashes(ensemble.path / "samples" / "0")
    assert {name: before[name] for name in before if name != "manifest.json"} == {
        name: after[name] for name in after if name != "manifest.json"
    }
    assert {"00000.png", "sheet.png", "pictures.safetensors"} < set(after)


def test_the_pictures_on_disk_are_the_tensors(tiny_ensemble):
    samples = Samples.open(tiny_ensemble.path / "samples" / "0")
    assert (samples.path / "00002.png").read_bytes() == images.png(images.to_pixels(samples.pictures[2]))


@pytest.mark.parametrize("without", [["u3"], ["u0", "u3"], ["u3", "u3"]])
def test_without_uses_the_survivors_only(ensemble, without):
    survivors = [
        m for m in range(6) if not any(ensemble.codebook.bits[m, ensemble.codebook.columns([u])[0]] for u in without)
    ]
    if not survivors:
        with pytest.raises(NoSurvivorsError):
            sample(ensemble, count=2, seed=7, without=without, engine=Engine(1))
        return
    samples = sample(ensemble, count=2, seed=7, without=without, engine=Engine(1))
    assert samples.manifest.made["members"] == survivors
    assert samples.without == list(dict.fromkeys(without))
    for index in range(2):
        expected = by_hand(ensemble, survivors, samples.drawing.sampler, 7, index)
        assert torch.equal(samples.pictures[index], expected)


@pytest.mark.parametrize("count", [2, 4, 6])
def test_another_sampler_with_the_same_seed_is_refused(ensemble, count):
    before = hashes(ensemble.path / "samples" / "0")
    with pytest.raises(MismatchError, match=r"made.sampler.steps: there 4, now 3"):
        sample(ensemble, count=count, sampler=SamplerConfig(steps=3, batch_size=4), engine=Engine(1))
    assert hashes(ensemble.path / "samples" / "0") == before


@pytest.mark.parametrize("count", [2, 4, 6])
def test_pictures_of_another_ensemble_are_refused(tiny_ensemble, ensemble, count):
    manifest = artefacts.read_manifest(ensemble.path / "samples" / "0", "samples")
    changed = artefacts.Manifest(
        manifest.kind, {"ensemble": "f" * 64}, manifest.made, manifest.files, manifest.facts, manifest.environment
    )
    artefacts.write_manifest(ensemble.path / "samples" / "0", changed)
    with pytest.raises(MismatchError, match="inputs.ensemble: there ffff"):
        sample(ensemble, count=count, engine=Engine(1))
    with pytest.raises(ArtefactError, match=r"drawn by another ensemble \(fingerprint ffffffffffff"):
        find_sample(ensemble, "0/1")


def test_seeds_and_samplers_draw_other_pictures(ensemble):
    first = Samples.open(ensemble.path / "samples" / "0").pictures
    second = sample(ensemble, count=4, seed=1, engine=Engine(1)).pictures
    ddim = SamplerConfig(method="ddim", steps=4, batch_size=4)
    third = sample(ensemble, count=4, seed=2, sampler=ddim, engine=Engine(1))
    assert third.drawing.sampler == ddim
    assert not torch.equal(first, second)
    assert not torch.equal(second, third.pictures)


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-1, 0), (1, -1)])
def test_numbers_out_of_range(tiny_ensemble, count, seed):
    with pytest.raises(ConfigError, match=f"given {count} and {seed}"):
        sample(tiny_ensemble, count=count, seed=seed)


def test_too_many_steps(tiny_ensemble):
    with pytest.raises(ConfigError, match="1001 sampling steps"):
        sample(tiny_ensemble, seed=9, sampler=SamplerConfig(steps=1001))
    assert not (tiny_ensemble.path / "samples" / "9").exists()


def test_an_unknown_unit(tiny_ensemble):
    with pytest.raises(DataError, match="no unit 'nobody'"):
        sample(tiny_ensemble, seed=9, without=["nobody"])


@pytest.mark.parametrize("name", ["", "3", "a/b", "0/-1", "-1/0", "0/1/2", "0/1 ", "samples/0/1"])
def test_a_bad_sample_name(tiny_ensemble, name):
    with pytest.raises(ConfigError, match="A sample is named SEED/INDEX, like 0/3; given"):
        find_sample(tiny_ensemble, name)


@pytest.mark.parametrize(("name", "there"), [("0/4", 4), ("0/100", 4), ("8/0", 0)])
def test_a_sample_that_was_not_drawn_says_how_to_draw_it(tiny_ensemble, name, there):
    seed, index = name.split("/")
    with pytest.raises(ArtefactError) as caught:
        find_sample(tiny_ensemble, name)
    message = str(caught.value)
    assert f"Picture {name} has not been drawn yet ({there} pictures of seed {seed} are there)" in message
    assert f"whence ensemble sample {tiny_ensemble.path} --seed {seed} --count {int(index) + 1}" in message


def test_damaged_samples_are_refused(ensemble, flip_byte):
    flip_byte(ensemble.path / "samples" / "0" / "pictures.safetensors")
    with pytest.raises(ArtefactError, match="pictures.safetensors is damaged"):
        find_sample(ensemble, "0/1")


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"count": 3}, "made.count: there 2, now 3"),
        ({"sampler": SamplerConfig(steps=3, batch_size=4)}, "made.sampler.steps: there 4, now 3"),
    ],
)
def test_unfinished_pictures_of_other_settings_say_what_to_do(ensemble, change, difference):
    def stop(_done: int, _total: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        sample(ensemble, count=2, seed=4, engine=Engine(1, stop))
    with pytest.raises(MismatchError) as refused:
        sample(ensemble, **({"count": 2, "seed": 4, "engine": Engine(1)} | change))
    first, *differences, last = str(refused.value).splitlines()
    assert first == "Pictures of seed 4 were begun in another way, and not finished:"
    assert [line.strip() for line in differences] == [difference]
    assert last.startswith("Give the first command again to finish them, draw with another --seed, or delete ")
    assert last.endswith("4.part.")
    assert len(sample(ensemble, count=2, seed=4, engine=Engine(1)).names) == 2


@pytest.mark.slow
def test_interrupted_sampling_continues_with_the_parts_that_are_there(ensemble, monkeypatch):
    """20 pictures are two parts of 16 and 4; the second is interrupted, the first is not drawn again."""
    whole = sample(ensemble, count=20, seed=4, engine=Engine(1)).pictures.clone()
    artefacts.discard(ensemble.path / "samples" / "4")
    calls = []

    def stop_at_5(done: int, total: int) -> None:
        calls.append(done)
        if done > 0.9 * total:
            raise StoppedError

    with pytest.raises(StoppedError):
        sample(ensemble, count=20, seed=4, engine=Engine(1, stop_at_5))
    assert not (ensemble.path / "samples" / "4").exists()
    parts = ensemble.path / "samples" / "4.part" / "resume" / "parts"
    first = {file: file.stat().st_mtime_ns for file in parts.iterdir()}
    assert len(first) == 1
    steps = []
    original = VariancePreserving.step

    def counted(process, sampler, x, *arguments):
        steps.append(len(x))
        return original(process, sampler, x, *arguments)

    monkeypatch.setattr(VariancePreserving, "step", counted)
    again = sample(ensemble, count=20, seed=4, engine=Engine(1))
    assert steps == [4] * 4
    assert torch.equal(again.pictures, whole)
    assert not (again.path / "resume").exists()


def test_units_key_is_a_safe_and_distinct_name():
    sets = [
        ["a"],
        ["a", "b"],
        ["a+b"],
        ["A/b"],
        ["../a"],
        [".hidden"],
        ["x" * 300],
        ["ü"],
        ["a b"],
        [""],
        ["a.part"],
        ["a.old"],
        ["a.lock"],
        ["only-a"],
    ]
    made = [units_key(units) for units in sets]
    assert len(set(made)) == len(made)
    for name in made:
        assert "/" not in name
        assert len(name) < 100
        assert not name.startswith(".")
        assert not name.endswith((".part", ".old", ".lock", ".tmp")), "another artefact's working name"


def test_a_copied_ensemble_draws_the_same(tiny_ensemble, tmp_path):
    """Nothing in an ensemble depends on where it lies."""
    moved = Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path / "elsewhere"))
    assert moved.manifest.fingerprint == tiny_ensemble.manifest.fingerprint
    artefacts.discard(moved.path / "samples")
    expected = Samples.open(tiny_ensemble.path / "samples" / "0").pictures
    assert torch.equal(sample(moved, count=4, engine=Engine(1)).pictures, expected)
