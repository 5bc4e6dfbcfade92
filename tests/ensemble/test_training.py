import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest
import torch

from whence import artefacts
from whence.config import AdapterConfig
from whence.data import write
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.engine import Engine
from whence.ensemble import Codebook, Ensemble, sample, train_ensemble
from whence.ensemble.model import member_path
from whence.errors import ArtefactError, ConfigError, LockedError, MismatchError

SCRIPT = Path(__file__).parent / "train_script.py"


def members(contents, path: Path) -> dict[str, bytes]:
    """What the ensemble itself consists of, leftovers of killed writes aside."""
    return {
        name: data
        for name, data in contents(path).items()
        if not name.startswith(("samples", "ablations")) and not name.endswith(".tmp")
    }


def test_an_ensemble_on_disk(tiny_ensemble, tiny_data, tiny_config):
    assert tiny_ensemble.manifest.inputs == {"data": tiny_data.fingerprint}
    assert tiny_ensemble.config == tiny_config
    assert tiny_ensemble.data.fingerprint == tiny_data.fingerprint
    assert tiny_ensemble.codebook.units == tiny_data.unit_ids
    for member in range(6):
        record = Record(member_path(tiny_ensemble.path, member))
        rows = tiny_ensemble.codebook.examples(member, tiny_data)
        assert record.ids == tuple(tiny_data.ids[row] for row in rows)
        assert len(rows) == 4 * tiny_ensemble.codebook.bits[member].sum()
    assert set(tiny_ensemble.open_members([4, 1, 4]).networks) == {1, 4}


def test_every_member_has_a_seed_of_its_own(tiny_ensemble):
    seeds = {Record(member_path(tiny_ensemble.path, m)).training.seed for m in range(6)}
    assert len(seeds) == 6


def test_training_again_does_nothing(ensemble, tiny_data, tiny_config):
    before = {file: file.stat().st_mtime_ns for file in ensemble.path.rglob("*") if file.suffix != ".lock"}
    seen = []
    again = train_ensemble(
        tiny_data,
        ensemble.path,
        members=6,
        config=tiny_config,
        engine=Engine(report=lambda *progress: seen.append(progress)),
    )
    assert seen == [(1, 1)]
    assert again.manifest == ensemble.manifest
    assert {f: f.stat().st_mtime_ns for f in ensemble.path.rglob("*") if f.suffix != ".lock"} == before


@pytest.mark.parametrize("change", ["data", "members", "codebook_seed", "config"])
def test_another_request_is_refused(ensemble, tiny_data, tiny_config, change):
    request = {"members": 6, "codebook_seed": 0, "config": tiny_config}
    data = tiny_data
    if change == "data":
        data = tiny_data.select(range(39))
    else:
        request[change] = {
            "members": 8,
            "codebook_seed": 1,
            "config": tiny_config.updated("training", seed=4),
        }[change]
    with pytest.raises(MismatchError, match=rf"from something else[\s\S]*{change}"):
        train_ensemble(data, ensemble.path, engine=Engine(1), **request)


@pytest.mark.parametrize(
    ("count", "message"), [(5, "even number of members"), (4, r"too few for 10 units.*--members 6")]
)
def test_an_impossible_codebook_is_refused_before_anything_is_written(tiny_data, tiny_config, tmp_path, count, message):
    with pytest.raises(ConfigError, match=message):
        train_ensemble(tiny_data, tmp_path / "ens", members=count, config=tiny_config)
    assert not list(tmp_path.iterdir())


def lost(folder: Path, _flip) -> None:
    shutil.rmtree(folder)


def lost_weights(folder: Path, _flip) -> None:
    (folder / NETWORK_FILE).unlink()


def flipped_weights(folder: Path, flip) -> None:
    flip(folder / NETWORK_FILE)


def flipped_record(folder: Path, flip) -> None:
    flip(folder / "record" / "00000002.safetensors")


def edited_manifest(folder: Path, _flip) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"steps": 6', '"steps": 7'))


def swapped(folder: Path, _flip) -> None:
    """A whole, undamaged model, but another one."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("05"), folder)


@pytest.mark.parametrize("damage", [lost, lost_weights, flipped_weights, flipped_record, edited_manifest, swapped])
def test_a_bad_member_is_named_never_averaged_in_and_trained_to_the_same_bytes(
    ensemble, tiny_data, tiny_config, contents, flip_byte, damage
):
    before = members(contents, ensemble.path)
    damage(member_path(ensemble.path, 3), flip_byte)
    with pytest.raises(
        ArtefactError, match=r"1 of 6 members can't be used; member 3: .*trains only these members anew"
    ):
        Ensemble.open(ensemble.path)
    with pytest.raises(ArtefactError, match="member 3"):
        sample(ensemble, count=1, seed=3, engine=Engine(1))
    kept = {file: file.stat().st_mtime_ns for file in member_path(ensemble.path, 2).rglob("*")}
    mended = train_ensemble(tiny_data, ensemble.path, members=6, config=tiny_config, engine=Engine(1))
    assert mended.manifest.fingerprint == ensemble.manifest.fingerprint
    assert members(contents, ensemble.path) == before
    assert {file: file.stat().st_mtime_ns for file in member_path(ensemble.path, 2).rglob("*")} == kept


def test_mending_next_to_unfinished_pictures_keeps_the_ensemble_what_it_is(ensemble, tiny_data, tiny_config):
    """Otherwise all its pictures would belong to another ensemble, and later files would seem to be missing."""
    for name in ("samples/9.part", "ablations/parts-0"):
        artefacts.write_bytes(ensemble.path / name / "half.safetensors", b"unfinished")
    shutil.rmtree(member_path(ensemble.path, 3))
    mended = train_ensemble(tiny_data, ensemble.path, members=6, config=tiny_config, engine=Engine(1))
    assert mended.manifest == ensemble.manifest


def test_a_member_is_never_trained_on_damaged_images(ensemble, tiny_data, tiny_config, contents, flip_byte):
    """The copy of the images in the ensemble is damaged and a member is lost."""
    before = members(contents, ensemble.path)
    flip_byte(ensemble.path / "data" / "pixels.safetensors")
    shutil.rmtree(member_path(ensemble.path, 3))
    try:
        train_ensemble(tiny_data, ensemble.path, members=6, config=tiny_config, engine=Engine(1))
    except ArtefactError as error:
        assert "pixels.safetensors is damaged" in str(error)  # noqa: PT017
    else:
        assert members(contents, ensemble.path) == before


def test_the_ensembles_own_files_are_checked(ensemble, flip_byte):
    flip_byte(ensemble.path / "config.toml")
    with pytest.raises(ArtefactError, match="config.toml is damaged"):
        Ensemble.open(ensemble.path)


@pytest.mark.parametrize("name", ["config.toml", "codebook/units.parquet", "codebook/codebook.safetensors"])
def test_a_damaged_part_of_the_ensemble_is_refused(ensemble, flip_byte, name):
    flip_byte(ensemble.path / name)
    with pytest.raises(ArtefactError, match=f"{Path(name).name} is damaged"):
        Ensemble.open(ensemble.path)


def test_another_codebook_in_its_place_is_refused(ensemble, tiny_data):
    """A codebook of another seed, whole by itself, would name members as survivors that saw the unit."""
    shutil.rmtree(ensemble.path / "codebook")
    Codebook.random(tiny_data.unit_ids, 6, seed=99).write(ensemble.path / "codebook", tiny_data.fingerprint)
    with pytest.raises(ArtefactError, match="another codebook than"):
        Ensemble.open(ensemble.path)


def test_other_data_in_its_place_is_refused(ensemble, tiny_data):
    shutil.rmtree(ensemble.path / "data")
    write(tiny_data.select(range(len(tiny_data) - 1)), ensemble.path / "data")
    with pytest.raises(ArtefactError, match="another dataset than"):
        Ensemble.open(ensemble.path)


def test_an_unfinished_ensemble_says_so_and_continues(tiny_data, tiny_config, tiny_ensemble, tmp_path, contents):
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise StoppedError

    path = tmp_path / "ens"
    with pytest.raises(StoppedError):
        train_ensemble(tiny_data, path, members=6, config=tiny_config, engine=Engine(1, stop))
    with pytest.raises(ArtefactError, match=r"unfinished. Run the command that makes it again"):
        Ensemble.open(path)
    whole = train_ensemble(tiny_data, path, members=6, config=tiny_config, engine=Engine(1))
    assert whole.manifest.fingerprint == tiny_ensemble.manifest.fingerprint
    assert members(contents, path) == members(contents, tiny_ensemble.path)


def test_two_writers_at_once_are_refused(ensemble, tiny_data, tiny_config, tmp_path):
    for path in (ensemble.path, tmp_path / "new"):
        with artefacts.lock(path), pytest.raises(LockedError, match="being written by another process"):
            train_ensemble(tiny_data, path, members=6, config=tiny_config, engine=Engine(1))


def test_networks_are_those_on_disk(tiny_ensemble):
    found = tiny_ensemble.open_members([1]).networks[1].state_dict()
    expected = DiffusionModel.load(member_path(tiny_ensemble.path, 1)).network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def longer(tiny_config, tmp_path):
    """A configuration that leaves time to kill: 24 steps; as a file too."""
    config = tiny_config.updated("training", steps=24)
    (tmp_path / "config.toml").write_text(config.to_toml())
    return config


def workers_of(process) -> list[psutil.Process]:
    """The processes that the fork server started."""
    return [worker for child in psutil.Process(process.pid).children() for worker in child.children()]


def at_work(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_killed_and_resumed_is_bit_identical(tiny_data, longer, tmp_path, start, wait_until, contents, victim):
    """SIGKILL of the parent or of one worker: nobody is left working, and the rest comes out the same."""
    write(tiny_data, tmp_path / "data")
    path = tmp_path / "ens"
    process = start(SCRIPT, tmp_path / "data", tmp_path / "config.toml", path)
    wait_until(lambda: (Path(f"{path}.part") / "members" / "00" / "manifest.json").exists())
    workers = workers_of(process)
    assert len(workers) == 2
    os.kill(process.pid if victim == "parent" else workers[0].pid, signal.SIGKILL)
    printed, _ = process.communicate(timeout=60)
    wait_until(lambda: not any(map(at_work, workers)), 30)
    if victim == "worker":
        assert printed.startswith("InterruptedRunError: A worker process was killed or ran out of memory")
    assert not path.exists()
    resumed = train_ensemble(tiny_data, path, members=6, config=longer, engine=Engine(1))
    whole = train_ensemble(tiny_data, tmp_path / "whole", members=6, config=longer, engine=Engine(1))
    assert resumed.manifest.fingerprint == whole.manifest.fingerprint
    assert members(contents, path) == members(contents, tmp_path / "whole")


def test_two_workers_train_the_same_bytes(tiny_data, tiny_config, tiny_ensemble, tmp_path, contents):
    path = tmp_path / "ens"
    two = train_ensemble(tiny_data, path, members=6, config=tiny_config, engine=Engine(2))
    assert two.manifest.fingerprint == tiny_ensemble.manifest.fingerprint
    assert members(contents, path) == members(contents, tiny_ensemble.path)


def test_members_that_are_adapters_need_a_base(tiny_data, tiny_config, tmp_path):
    config = tiny_config.model_copy(update={"adapter": AdapterConfig(rank=2)})
    with pytest.raises(ConfigError, match="no base to train it on"):
        train_ensemble(tiny_data, tmp_path / "ens", members=4, config=config)
    assert not list(tmp_path.iterdir())
