"""Pools of models retrained on random subsets."""

import shutil

import numpy as np
import pytest

from whence import artefacts
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ConfigError, LockedError, MismatchError
from whence.evaluation.bank import Bank, PoolRequest, build_pool, usual_pools
from whence.evaluation.bank.pool import KIND, Pool
from whence.retraining.measurement import draw_pixels, measure
from whence.retraining.subsets import subsets

TEST = PoolRequest("test", 4, seeds=2)


def manifest_of(bank: Bank, name: str = "test"):
    return artefacts.read_manifest(bank.path / "pools" / name, KIND)


def test_a_pool_holds_what_was_measured_of_every_model(tiny_bank):
    pool = tiny_bank.pool("test")
    assert np.array_equal(pool.kept, subsets(tiny_bank.classes, 0.5, 4, 0, "test"))
    assert (pool.losses.shape, pool.pictures.shape) == ((4, 2, 6), (4, 2, 3, 1, 8, 8))
    assert len(set(pool.seeds)) == 2
    assert len({print_ for own in pool.weights for print_ in own}) == 8
    assert np.array_equal(pool.mean, (pool.losses[:, 0] + pool.losses[:, 1]) / 2)
    assert not (tiny_bank.path / "runs/test").exists()


def test_a_model_of_a_pool_made_by_hand(tiny_bank, tmp_path):
    pool, config = tiny_bank.pool("test"), tiny_bank.config.updated("training", steps=2, seed=0)
    config = config.updated("training", seed=pool.seeds[1], warmup=1)
    train(tiny_bank.data.select(np.flatnonzero(pool.kept[3])), tmp_path / "model", config)
    model = DiffusionModel.load(tmp_path / "model")
    assert pool.weights[3][1] == fingerprint(model)
    assert np.array_equal(pool.losses[3, 1], measure(model, tiny_bank.plan).losses)
    assert np.array_equal(pool.pictures[3, 1], draw_pixels(model, config.sampler, ["0/0", "0/1", "0/2"]))


def test_a_deterministic_pool_repeats_the_first_reference_run(tiny_bank):
    pool = tiny_bank.pool("deterministic-50%")
    assert pool.seeds == tiny_bank.reference.seeds[:1]
    assert np.array_equal(pool.kept, subsets(tiny_bank.classes, 0.5, 2, 0, "deterministic-50%"))
    assert not set(tiny_bank.fingerprints) & {print_ for own in pool.weights for print_ in own}


def test_killed_it_continues_to_the_same_pool(tiny_bank, base, kill, killed):
    with pytest.raises(killed):
        build_pool(base, TEST, engine=Engine(1, kill))
    assert not base.pools
    assert Bank.open(base.path).unfinished == {"test": 4}
    seen = []
    build_pool(base, TEST, engine=Engine(1, lambda done, total: seen.append((done, total))))
    assert seen[0] == (1, 8), "four models were not trained again, the fifth went on from its first step"
    assert manifest_of(base) == manifest_of(tiny_bank)
    assert not (base.path / "runs/test").exists()


def test_parts_from_several_machines_make_the_same_pool(tiny_bank, base, tmp_path):
    other = Bank.open(shutil.copytree(base.path, tmp_path / "other"))
    for k, bank in enumerate((base, other), start=1):
        assert build_pool(bank, TEST, shard=(k, 2), engine=Engine(1)) is None
        assert (len(TEST.missing(bank.path)), TEST.missing(bank.path, (k, 2))) == (4, ())
        assert not bank.pools
    shutil.copytree(other.path / "runs", base.path / "runs", dirs_exist_ok=True)
    assert TEST.missing(base.path) == ()

    def nothing(done, total):
        raise AssertionError("a model was trained again")

    pool = build_pool(base, TEST, engine=Engine(1, nothing))
    assert manifest_of(base) == manifest_of(tiny_bank)
    assert np.array_equal(pool.losses, tiny_bank.pool("test").losses)
    assert TEST.missing(base.path) == ()


@pytest.mark.slow
def test_processes_make_the_same_pool(base, tmp_path):
    one, two = PoolRequest("test", 2), Bank.open(shutil.copytree(base.path, tmp_path / "two"))
    build_pool(base, one, engine=Engine(1))
    build_pool(two, one, engine=Engine(2))
    assert manifest_of(base) == manifest_of(two)


def test_models_are_kept_on_request(base):
    build_pool(base, PoolRequest("test", 1), keep_models=True, engine=Engine(1))
    model = DiffusionModel.load(base.path / "runs/test/000-0.model")
    assert fingerprint(model) == base.pool("test").weights[0][0]
    assert not base.unfinished


def test_the_same_again_does_nothing_and_another_pool_is_refused(bank, contents):
    before = contents(bank.path)
    assert build_pool(bank, TEST).weights == bank.pool("test").weights
    assert contents(bank.path) == before
    for other in ({"count": 3}, {"fraction": 0.6}, {"seeds": 1}):
        with pytest.raises(MismatchError, match="pools/test was made from something else"):
            build_pool(bank, PoolRequest(**{"name": "test", "count": 4, "seeds": 2} | other))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "0 subsets and 1 training seeds can't be made"),
        ({"seeds": 0}, "4 subsets and 0 training seeds can't be made"),
        ({"seeds": 2, "deterministic": True}, "a run is repeated with its own seed alone"),
        ({"fraction": 1.0}, "A share of 1 of 24 examples leaves nothing to keep or to remove"),
        ({"fraction": 0.99}, "A share of 0.99 of 24 examples leaves nothing"),
    ],
)
def test_pools_that_can_not_be_made(base, wrong, message):
    with pytest.raises(ConfigError, match=message):
        build_pool(base, PoolRequest(**{"name": "new", "count": 4} | wrong))
    assert not (base.path / "runs").exists()


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0), (-1, 2)])
def test_parts_that_there_are_not(base, shard):
    with pytest.raises(ConfigError, match=f"with I from 1 to N; given {shard[0]}/{shard[1]}"):
        build_pool(base, TEST, shard=shard)


def test_usual_pools():
    assert [pool.name for pool in usual_pools(deterministic=2)] == [
        "test",
        "development",
        "deterministic-1%",
        "deterministic-10%",
        "deterministic-50%",
    ]
    assert [(pool.name, pool.seeds) for pool in usual_pools(8, seeds=2, development=0)] == [("test", 2)]
    assert usual_pools(0, development=0) == ()


def test_a_pool_is_read_as_it_was_written(tiny_bank, tmp_path):
    pool = tiny_bank.pool("test")
    pool.write(tmp_path / "test", {}, {})
    found = Pool.read(tmp_path / "test")
    assert (found.name, found.seeds, found.weights) == (pool.name, pool.seeds, pool.weights)
    for name in ("kept", "losses", "pictures"):
        assert np.array_equal(getattr(found, name), getattr(pool, name)), name


def test_two_writers_of_a_pool_do_not_meet(base):
    """The second would read measurements that the first has gathered and removed, or leave some of its own."""
    request = PoolRequest("test", 2)
    with artefacts.lock(base.path / "runs" / "test"), pytest.raises(LockedError, match="runs/test is being written"):
        build_pool(base, request, engine=Engine(1))
    assert build_pool(base, request, engine=Engine(1)) is not None
    assert not (base.path / "runs" / "test").exists()


def test_the_whole_pool_is_not_made_beside_a_part_of_it(base, monkeypatch):
    """It would remove the measurements that the other still needs."""
    monkeypatch.setattr("whence.evaluation.bank.make_bank.PATIENCE_OF_SHARDS", 0.0)
    request, runs = PoolRequest("test", 2), base.path / "runs"
    with artefacts.lock(runs / "test-2-of-3"), pytest.raises(LockedError, match="test-2-of-3 is being written"):
        build_pool(base, request, engine=Engine(1))
    with artefacts.lock(runs / "test"), pytest.raises(LockedError, match="runs/test is being written"):
        build_pool(base, request, shard=(1, 2), engine=Engine(1))
    with artefacts.lock(runs / "test-2-of-2"):
        assert build_pool(base, request, shard=(1, 2), engine=Engine(1)) is None
    assert build_pool(base, request, engine=Engine(1)) is not None
