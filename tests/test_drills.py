"""Long commands survive kills, full disks, read-only folders and second writers; `drills.py` says how."""

import pytest

import drills

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def needed(tmp_path_factory):
    drills.preload()
    return drills.prepare(tmp_path_factory.mktemp("drills"))


@pytest.mark.parametrize("kind", ["kill -9", *drills.OTHERS])
@pytest.mark.parametrize("name", drills.COMMANDS)
def test_a_command_loses_nothing(needed, name, kind):
    drill = drills.Drill(needed, name)
    result = drills.kills(drill, 20) if kind == "kill -9" else drills.OTHERS[kind](drill)
    assert (result.changed, result.tracebacks) == (0, 0)
    assert result.attempts >= 20 or kind != "kill -9"
