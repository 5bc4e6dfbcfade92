"""One process, Ray and eight array workers make the same bytes, though workers are killed and start late."""

import re
import runpy
import signal
import time
from pathlib import Path

import pytest

from whence.data import write

TESTS = Path(__file__).parent.parent
drills = runpy.run_path(str(TESTS / "drills.py"))
start, wait, made, Drill = (drills[name] for name in ("start", "wait", "made", "Drill"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NAMES = ("attribute", "ensemble train", "ensemble landscape", "bank build", "credit compute")
WORKERS = 8


@pytest.fixture(scope="module")
def needed(tmp_path_factory):
    drills["preload"]()
    return drills["prepare"](tmp_path_factory.mktemp("many"))


@pytest.mark.parametrize("name", NAMES)
def test_eight_array_workers_two_killed_one_late(needed, name, wait_until):
    drill = Drill(needed, name)
    expected, seconds = drill.undisturbed()
    [out] = drills["COMMANDS"][name][1]
    with drill.work() as work:
        workers = [start(work, f"{drill.command} --engine array") for _ in range(WORKERS - 1)]
        wait_until(lambda: (work / f"{out}.work" / "command.json").exists() or (work / out).exists(), 10 * seconds)
        time.sleep(seconds / 4)
        ended = [wait(*workers.pop(0), seconds=0) for _ in range(2)]
        assert all(one.code in (0, -signal.SIGKILL) for one in ended)
        workers.append(start(work, f"{drill.command} --engine array"))
        for worker in workers:
            one = wait(*worker)
            assert one.code == 0, one.text
        assert made(work, (out,)) == expected
        assert not (work / f"{out}.work").exists()


@pytest.mark.parametrize("name", NAMES)
def test_ray_on_this_machine(needed, name):
    drill = Drill(needed, name)
    expected, _ = drill.undisturbed()
    with drill.work() as work:
        ended = drills["run"](work, f"{drill.command} --engine ray --workers 2")
        assert ended.code == 0, ended.text
        assert made(work, drills["COMMANDS"][name][1]) == expected


def test_two_nodes_of_ray_one_killed(tiny_data, tiny_config, tiny_ensemble, contents, tmp_path, run_script):
    write(tiny_data, tmp_path / "data")
    (tmp_path / "c.toml").write_text(tiny_config.to_toml())
    script = Path(__file__).parent / "ray_cluster.py"
    printed = run_script(script, tmp_path / "data", tmp_path / "c.toml", tmp_path / "ens")
    assert printed.endswith("whole, with a node lost\n")
    made_of = {name: data for name, data in contents(tiny_ensemble.path).items() if not name.startswith("samples")}
    assert contents(tmp_path / "ens") == made_of


def test_the_slurm_template_of_the_docs(needed):
    """Two tasks of the array, and then `whence work` finds nothing to do."""
    page = (TESTS.parent / "docs" / "scale.md").read_text("utf-8")
    [template] = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH .*?)```", page, re.DOTALL)
    [command] = re.findall(r"^whence (.*)$", template, re.MULTILINE)
    command = command.replace("runs/single DATA", "run data --unit-column label").replace("--draws 128", "--draws 8")
    drill = Drill(needed, "attribute")
    with drill.work() as work:
        for ended in [wait(*attempt) for attempt in [start(work, command) for _ in range(2)]]:
            assert ended.code == 0, ended.text
        assert (work / "scores" / "tangent-squared" / "manifest.json").exists()
        assert drills["run"](work, "work scores").code == 1
