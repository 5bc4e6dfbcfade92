"""Long commands survive kills, full disks, read-only folders and second writers; `drills.py` says how."""

import runpy
from pathlib import Path

import pytest

drills = runpy.run_path(str(Path(__file__).parent / "drills.py"))
OTHERS = drills["OTHERS"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def needed(tmp_path_factory):
    drills["preload"]()
    return drills["prepare"](tmp_path_factory.mktemp("drills"))


@pytest.mark.parametrize("kind", ["kill -9", *OTHERS])
@pytest.mark.parametrize("name", drills["COMMANDS"])
def test_a_command_loses_nothing(needed, name, kind):
    drill = drills["Drill"](needed, name)
    result = drills["kills"](drill, 20) if kind == "kill -9" else OTHERS[kind](drill)
    assert (result.changed, result.tracebacks) == (0, 0)
    assert result.attempts >= 20 or kind != "kill -9"
