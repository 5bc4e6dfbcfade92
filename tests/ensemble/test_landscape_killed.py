"""A landscape that was killed at any moment and continued is the one that never was, bit for bit."""

import os
import random
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from whence import artefacts
from whence.engine import Engine
from whence.ensemble.landscape import Landscape
from whence.ensemble.make_landscape import landscape
from whence.errors import LockedError

HERE = Path(__file__).parent


@pytest.fixture
def small(monkeypatch):
    """Shards of four pictures, as in the scripts."""
    for name, value in (("LARGEST", 4), ("SMALLEST", 4), ("SHARD", 1), ("TASK", 1)):
        monkeypatch.setattr(f"whence.ensemble.make_landscape.{name}", value)


def drawn(contents, run: Path) -> dict[str, bytes]:
    """Everything below the landscapes but what a killed process left half written in a place of its own."""
    return {name: data for name, data in contents(run / "landscapes").items() if not name.endswith(".tmp")}


def fingerprints(run: Path) -> dict[str, str]:
    return {one.name: Landscape.open(one).manifest.fingerprint for one in artefacts.whole(run / "landscapes", "*")}


@pytest.mark.slow
def test_killed_at_any_point_and_continued_it_is_bit_identical(tiny_ensemble, tmp_path, start, contents):
    """Three random moments, and before or after everything that is ever put in place."""
    shutil.copytree(tiny_ensemble.path, tmp_path / "ens")
    printed = start(HERE / "kill_landscape.py", tmp_path).communicate(timeout=280)[0].splitlines()
    assert len([line for line in printed if line.startswith("moment True")]) == 3, printed
    whole = tmp_path / "whole"
    assert len(fingerprints(whole)) == 4
    assert fingerprints(tmp_path / "moments") == fingerprints(whole)
    assert drawn(contents, tmp_path / "moments") == drawn(contents, whole)
    points = [tmp_path / line for line in printed if not line.startswith("moment")]
    assert len(points) >= 9
    one = {name: data for name, data in drawn(contents, whole).items() if name.startswith("0-0/")}
    for path in points:
        assert fingerprints(path) == {"0-0": fingerprints(whole)["0-0"]}
        assert drawn(contents, path) == one
        assert not list((path / "landscapes").glob("*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_killed_with_two_workers(ensemble, tmp_path, start, wait_until, contents, small, victim):
    """Nobody is left working, nobody else may write meanwhile, and the rest comes out the same."""
    run = ensemble.path
    whole = shutil.copytree(run, tmp_path / "whole")
    process, enough = start(HERE / "landscape_script.py", run), random.randint(1, 18)
    wait_until(lambda: len(list(run.glob("landscapes/*.part/shards/*.safetensors"))) >= enough)
    with pytest.raises(LockedError, match="being written by another process"):
        landscape(ensemble, "0/1", placebos=6, engine=Engine(1))
    workers = [worker for child in psutil.Process(process.pid).children() for worker in child.children()]
    assert len(workers) == 2
    os.kill(process.pid if victim == "parent" else random.choice(workers).pid, signal.SIGKILL)
    printed, _ = process.communicate(timeout=60)
    psutil.wait_procs(workers, 30)
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in workers)
    if victim == "worker":
        assert printed.startswith("InterruptedRunError: A worker process was killed or ran out of memory")
    assert fingerprints(run) == {}
    landscape(ensemble, "0/0-3", placebos=6, engine=Engine(1))
    landscape(type(ensemble).open(whole), "0/0-3", placebos=6, engine=Engine(1))
    assert fingerprints(run) == fingerprints(whole)
    assert drawn(contents, run) == drawn(contents, whole)
