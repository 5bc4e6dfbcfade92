"""Ray on this machine, with two CPUs: the same tasks, errors and progress as in processes."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from whence import lazy
from whence.engine.ray_executor import Ray
from whence.errors import ConfigError

SCRIPT = Path(__file__).parent / "tasks.py"


@pytest.mark.slow
def test_ray_does_all_tasks_reports_and_starts_a_lost_one_again(tmp_path, run_script):
    assert run_script(SCRIPT, tmp_path, "loss", "ray").endswith("loss: well (7, 7)\n")
    assert (tmp_path / "loss" / "lost").read_text() == "done"
    assert sorted(file.name for file in (tmp_path / "loss").iterdir()) == [*"012345", "lost"]


@pytest.mark.slow
def test_poisoned_tasks_leave_the_others_done_and_any_other_error_ends_them(tmp_path, run_script):
    printed = run_script(SCRIPT, tmp_path, "poison", "error", "ray")
    assert "poison: DataError: 2 of 8 pieces of work failed." in printed
    assert sorted(file.name for file in (tmp_path / "poison").iterdir()) == list("012345")
    assert printed.endswith("error: OSError: [Errno 28] No space left on device\n")


def test_a_lazy_module_goes_to_another_process():
    """Ray sends a bound method with its function, and a function with the modules that it uses."""
    assert pickle.loads(pickle.dumps(lazy.torch)).float32 is torch.float32
    assert repr(copy.deepcopy(lazy.torch)) == "LazyModule('torch')"


def test_a_cluster_has_its_own_number_of_workers():
    with pytest.raises(ConfigError, match="Leave out --workers"):
        Ray("auto", workers=2)


def test_without_ray_the_message_says_how_to_install_it(tmp_path):
    code = """
import sys
sys.modules["ray"] = None
from whence.engine import Engine, Task
from whence.engine.ray_executor import Ray
try:
    Engine(executor=Ray()).run([Task("a", print), Task("b", print)])
except Exception as error:
    print(type(error).__name__, error)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "ConfigError Ray is not installed: pip install 'whence[ray]', on every machine.\n"
