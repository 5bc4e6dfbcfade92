"""Tasks as JSON, by which workers on other machines get them: plain values, and functions and records of Whence.

Nothing is unpickled. A record is a dataclass or settings of Whence, made anew from its fields; a function is named, and
must be one of Whence. So a file that someone else wrote runs nothing but Whence.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from whence.engine.engine import Task
from whence.errors import ArtefactError, ConfigError
from whence.lazy import torch

#: Packages whose functions and records tasks may have.
PACKAGES = ("whence",)
_PLAIN = (bool, int, float, str, type(None))


def write_task(task: Task) -> dict[str, Any]:
    """Return a task as JSON values.

    Raises:
        ConfigError: The task has a function or a value that is not one of Whence.
    """
    return {"name": task.name, "size": task.size, "function": _name(task.function), "arguments": _write(task.arguments)}


def read_task(values: Mapping[str, Any]) -> Task:
    """Return the task of JSON values.

    Raises:
        ArtefactError: They name something that is not in Whence.

    Example:
        >>> from whence.engine.engine import cores
        >>> task = Task("a", cores, {"path": Path("x"), "rows": range(3), "of": {(1, 2): None}}, 7)
        >>> read_task(write_task(task)) == task
        True
    """
    return Task(values["name"], _find(values["function"]), _read(values["arguments"]), values["size"])


def _write(value: object) -> Any:
    """Return a value as JSON: plain ones as they are, others as an object with their kind."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        return [_write(one) for one in value]
    for kind, (class_, write, _) in KINDS.items():
        if isinstance(value, class_):
            return {"kind": kind, "value": write(value)}
    if is_dataclass(value) and not isinstance(value, type):
        pairs = {field.name: _write(getattr(value, field.name)) for field in fields(value)}
        return {"kind": "record", "class": _name(type(value)), "value": pairs}
    if callable(value):
        return {"kind": "function", "value": _name(value)}
    raise ConfigError(
        f"A {type(value).__name__} can't be sent to array workers. Leave out --engine array, or take a model from a "
        "folder."
    )


def _read(value: Any) -> Any:
    """Return the value that JSON stands for."""
    if isinstance(value, list):
        return [_read(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind, content = value["kind"], value["value"]
    if kind == "record":
        return _find(value["class"])(**{name: _read(one) for name, one in content.items()})
    return _find(content) if kind == "function" else KINDS[kind][2](content)


def _name(thing: Any) -> str:
    """Return where a function or class is, as MODULE:NAME.

    Raises:
        ConfigError: It is not in Whence, or has no name there.
    """
    if isinstance(getattr(thing, "__self__", None), type):
        return f"{_name(thing.__self__)}.{thing.__name__}"
    name = f"{getattr(thing, '__module__', None)}:{getattr(thing, '__qualname__', type(thing).__qualname__)}"
    try:
        found = _find(name)
    except ArtefactError:
        found = None
    if found != thing:
        raise ConfigError(f"{name} is not a name in Whence, so array workers can't find it. Leave out --engine array.")
    return name


def _find(name: str) -> Any:
    """Return what MODULE:NAME stands for; an ArtefactError where that is not in Whence."""
    module, _, path = name.partition(":")
    if module.partition(".")[0] not in PACKAGES:
        raise ArtefactError(f"A task names {name}, which is not in Whence.")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        raise ArtefactError(f"A task names {name}, which this Whence does not have. Take the same version.") from None
    if getattr(found, "__module__", "").partition(".")[0] not in PACKAGES:
        raise ArtefactError(f"A task names {name}, which is not of Whence itself.")
    return found


def _write_array(array: np.ndarray) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"type": array.dtype.str, "shape": list(array.shape), "data": data}


def _read_array(value: Mapping[str, Any]) -> np.ndarray:
    array = np.frombuffer(base64.b64decode(value["data"]), value["type"]).reshape(value["shape"])
    return array.copy()


def _write_settings(settings: BaseModel) -> dict[str, Any]:
    return {"class": _name(type(settings)), "fields": _write(settings.model_dump(by_alias=True, exclude_unset=True))}


def _read_settings(value: Mapping[str, Any]) -> Any:
    return _find(value["class"])(**_read(value["fields"]))


def _write_partial(function: partial[Any]) -> list[Any]:
    return [_name(function.func), _write(function.args), _write(function.keywords)]


def _read_partial(value: list[Any]) -> partial[Any]:
    return partial(_find(value[0]), *_read(value[1]), **_read(value[2]))


#: Kinds of values by name: their class, and the functions that write and read them.
KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "dict": (
        Mapping,
        lambda v: [[_write(k), _write(one)] for k, one in v.items()],
        lambda v: {_read(k): _read(one) for k, one in v},
    ),
    "tuple": (tuple, lambda v: [_write(one) for one in v], lambda v: tuple(_read(one) for one in v)),
    "path": (Path, str, Path),
    "range": (range, lambda v: [v.start, v.stop, v.step], lambda v: range(*v)),
    "array": (np.ndarray, _write_array, _read_array),
    "number": (np.generic, lambda v: v.item(), lambda v: v),
    "settings": (BaseModel, _write_settings, _read_settings),
    "partial": (partial, _write_partial, _read_partial),
    "tensor": (torch.Tensor, lambda v: _write_array(v.numpy()), lambda v: torch.from_numpy(_read_array(v))),
}
