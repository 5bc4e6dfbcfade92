"""Any Python function of pictures as a behaviour."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.errors import ConfigError, DataError
from whence.retraining.measurement import Measurement


def function_behaviour(function: Callable[[np.ndarray], Any], name: str) -> Behaviour:
    """Return the mean value of a function over drawn pictures; larger is more of it.

    Args:
        function: From pictures uint8 [K, C, H, W] to K numbers, whose mean is taken, or to one number of them all, such
            as a quantile.
        name: Name of the behaviour.

    Returns:
        A behaviour of a model.

    Example:
        >>> function_behaviour(lambda pictures: pictures.mean((1, 2, 3)), "brightness").needs
        frozenset({'pictures'})
    """

    def make(context: Context) -> Values:
        def values(measurement: Measurement) -> np.ndarray:
            return np.array([_mean(function, measurement.pictures, name)])

        return values

    return Behaviour(name, f"Mean of {name} over drawn pictures", f"of {name}", "model", frozenset({"pictures"}), make)


def load_function(name: str) -> Callable[[np.ndarray], Any]:
    """Return the function MODULE:FUNCTION, or FILE.py:FUNCTION of a file; its code is run.

    Raises:
        ConfigError: There is no such module, file or function.

    Example:
        >>> load_function("numpy:mean") is np.mean
        True
    """
    module, _, attribute = name.rpartition(":")
    function = getattr(_file(Path(module)) if module.endswith(".py") else _module(module), attribute, None)
    if not callable(function):
        raise ConfigError(f"{module} has no function {attribute!r}.")
    return function  # type: ignore[no-any-return]


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ConfigError(
            f"The module {name!r} can't be imported: {error}. For a file, give FILE.py:FUNCTION."
        ) from error


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.")
    module = ModuleType(path.stem)
    try:
        SourceFileLoader(path.stem, str(path)).exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path} can't be run: {error}.") from error
    return module


def _mean(function: Callable[[np.ndarray], Any], pictures: np.ndarray, name: str) -> float:
    try:
        values = np.asarray(function(pictures.copy()), np.float64)
    except Exception as error:
        raise DataError(f"{name} failed on drawn pictures uint8 {pictures.shape}: {error}") from error
    if values.shape not in {(), (len(pictures),), (len(pictures), 1)}:
        raise DataError(f"{name} gave {values.shape} numbers for {len(pictures)} pictures; expected one each, or one.")
    return float(values.mean())
