"""Imports at first use: modules that take seconds to import, and the public names of packages.

Commands that need no network then start without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any


class LazyModule:
    """Stands for a module, which is imported when one of its names is first used.

    Example:
        >>> LazyModule("math").sqrt(9.0)
        3.0
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)

    def __reduce__(self) -> tuple[type[LazyModule], tuple[str]]:
        """Go to another process as the name, as modules do with functions that Ray sends by their content."""
        return LazyModule, (self._name,)

    def __repr__(self) -> str:
        return f"LazyModule({self._name!r})"


if TYPE_CHECKING:
    import faiss as faiss
    import pyarrow.dataset as pyarrow_dataset
    import ray as ray
    import torch as torch
    from scipy import linalg as linalg
    from scipy import ndimage as ndimage
    from scipy import special as special
    from scipy import stats as stats
    from scipy.cluster import hierarchy as hierarchy
    from scipy.spatial import distance as spatial
else:
    faiss = LazyModule("faiss")
    hierarchy = LazyModule("scipy.cluster.hierarchy")
    linalg = LazyModule("scipy.linalg")
    ndimage = LazyModule("scipy.ndimage")
    spatial = LazyModule("scipy.spatial.distance")
    pyarrow_dataset = LazyModule("pyarrow.dataset")
    ray = LazyModule("ray")
    special = LazyModule("scipy.special")
    stats = LazyModule("scipy.stats")
    torch = LazyModule("torch")


def homes(package: str, contents: Mapping[str, str]) -> dict[str, str]:
    """Return the module of every public name of a package, from the names (separated by spaces) by submodule.

    Example:
        >>> homes("whence", {"errors": "WhenceError DataError"})
        {'WhenceError': 'whence.errors', 'DataError': 'whence.errors'}
    """
    return {name: f"{package}.{module}" for module, names in contents.items() for name in names.split()}


def attribute_reader(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package (PEP 562), which imports a public name from its module at first use.

    It raises AttributeError where the package has no such name.

    Example:
        >>> attribute_reader("whence", {"DataError": "whence.errors"})("DataError").__name__
        'DataError'
    """

    def read(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return read
