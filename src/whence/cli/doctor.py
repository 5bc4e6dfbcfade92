"""The command `whence doctor`: what is installed, what this machine has, and which feature lacks what."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from whence.cli.show import say, size
from whence.engine import cores

#: Packages whose versions are told, beside those of the extras.
PACKAGES = ("whence", "torch", "diffusers", "transformers", "accelerate", "datasets", "numpy", "pyarrow")
#: What needs a package that Whence installs only as an extra of the same name.
FEATURES = {
    "pandas": "scores as a data frame (`scores.to_pandas()`)",
    "peft": "`whence check` of a pipeline with adapters, by diffusers",
}


def doctor() -> None:
    """Say what is installed, what this machine has, and which feature lacks what. Nothing is changed.

    Example: `whence doctor`
    """
    for title, lines in (("Installed", _packages()), ("Machine", _machine()), ("Features", _features())):
        say(title)
        for line in lines:
            say(f"  {line}")


def _packages() -> Iterator[str]:
    """Python and the packages with their versions; of missing ones the least version."""
    yield f"{'python':14}{platform.python_version()} in {sys.prefix}"
    lower = _lower_bounds()
    for name in (*PACKAGES, *FEATURES):
        found = installed(name)
        least = f" (at least {lower[name]} is expected)" if name in lower else ""
        yield f"{name:14}{found}" if found else f"{name:14}is not installed{least}"


def installed(package: str) -> str | None:
    """Return the version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lower_bounds() -> dict[str, str]:
    """Return the lowest version of each package that Whence asks for, by its name."""
    asked = (requirement.partition(";")[0] for requirement in requires("whence") or ())
    pairs = (requirement.strip().partition(">=") for requirement in asked)
    return {name: least for name, _, least in pairs if least}


def _machine() -> Iterator[str]:
    """The device, cores, threads, memory and free disk."""
    import psutil

    yield f"{'system':14}{platform.system()} {platform.machine()}"
    yield from _device()
    yield f"{'cores':14}{cores()} for this process, of {os.cpu_count()}"
    memory = psutil.virtual_memory()
    yield f"{'memory':14}{size(memory.total)}, {size(memory.available)} of them free"
    yield f"{'disk':14}{size(shutil.disk_usage('.').free)} free in {Path.cwd()}"


def _device() -> Iterator[str]:
    """What models run on, and the threads of torch; or why torch can't be used."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield f"{'device':14}not known: torch can't be imported ({error}). Way out: pip install torch"
        return
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        count = torch.cuda.device_count()
        yield f"{'device':14}cuda: {count} x {properties.name}, {size(properties.total_memory)} each"
    else:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        yield f"{'device':14}cpu; torch sees no GPU and is {built}"
    yield f"{'threads':14}{torch.get_num_threads()} of torch; OMP_NUM_THREADS sets them"


def _features() -> Iterator[str]:
    """Every feature that needs an extra, and how to get what it lacks."""
    yield "all commands and functions, but for those below: ready"
    for package, feature in FEATURES.items():
        ready = "ready" if installed(package) else f"lacks {package}: pip install 'whence[{package}]'"
        yield f"{feature}: {ready}"
