"""What is wrong with settings, in words: the name, what was expected and what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any

from pydantic import BaseModel, ValidationError

from whence.errors import ConfigError, join_names

#: What was expected, by pydantic's name of the problem; other problems have pydantic's own words.
EXPECTED = {
    "bool_type": "expected true or false",
    "finite_number": "expected a finite number",
    "float_type": "expected a number",
    "int_from_float": "expected a whole number",
    "int_type": "expected a whole number",
    "string_type": "expected text",
    "too_short": "expected a list with {min_length} values or more",
    "too_long": "expected a list with {max_length} values or fewer",
}
#: A list of numbers, for an example where the setting has no default.
NUMBERS = (64, 128)


def explain(error: ValidationError, settings: type[BaseModel]) -> str:
    """Return what is wrong with settings of a type, all problems in one line; the first of each setting."""
    problems: dict[str, str] = {}
    for problem in error.errors():
        name = _setting(problem)
        problems.setdefault(name, _explain_problem(name, problem, settings))
    return "; ".join(problems.values())


def _setting(problem: Mapping[str, Any]) -> str:
    """The path of a setting. Pydantic makes a problem of each type that it may have, such as ``constrained-float``."""
    known = problem["type"] == "extra_forbidden"
    return ".".join(str(part) for part in problem["loc"] if known or isinstance(part, int) or part.isidentifier())


def _explain_problem(name: str, problem: Mapping[str, Any], settings: type[BaseModel]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    inner = context.get("error")
    if isinstance(inner, ConfigError):
        return f"{name}.{inner}" if name else str(inner)
    if kind == "extra_forbidden":
        return f"{name} is unknown; {_advice(problem['loc'], settings)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        text = f"expected a table such as [{name}]"
    elif kind == "tuple_type":
        text = f"expected a list such as {_example(problem['loc'], settings)}"
    elif kind == "missing":
        return f"{name}: expected a value; none was given"
    else:
        text = EXPECTED.get(kind, problem["msg"].replace("Input should be", "must be")).format(**context)
    given = list(problem["input"]) if isinstance(problem["input"], tuple) else problem["input"]
    return f"{name}: {text} (given: {given!r})" if name else f"{text} (given: {given!r})"


def _tables(settings: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The settings of settings, by name."""
    fields = {name: field.annotation for name, field in settings.model_fields.items()}
    return {name: kind for name, kind in fields.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def _find_table(place: Sequence[str | int], settings: type[BaseModel]) -> type[BaseModel]:
    """The settings in which a setting stands, by its path."""
    for name in place[:-1]:
        settings = _tables(settings).get(str(name), settings)
    return settings


def _advice(place: Sequence[str | int], settings: type[BaseModel]) -> str:
    """What to write in the place of an unknown name: a similar one, the same one in another table, or what there is."""
    name, table = str(place[-1]), _find_table(place, settings)
    known = list(table.model_fields)
    similar = get_close_matches(name, known, 1)
    elsewhere = [f"{other}.{name}" for other, inner in _tables(settings).items() if name in inner.model_fields]
    if similar or elsewhere:
        return f"did you mean {(similar or elsewhere)[0]}?"
    return f"there {'is' if len(known) == 1 else 'are'} {join_names(known, 8)}"


def _example(place: Sequence[str | int], settings: type[BaseModel]) -> list[Any]:
    """A list that a setting could be."""
    field = _find_table(place, settings).model_fields.get(str(place[-1]))
    return list(field.default if field is not None and isinstance(field.default, tuple) else NUMBERS)


def require_whole(value: Any, name: str, least: int = 0) -> int:
    """Return a whole number, such as numpy's, as an int.

    Raises:
        ConfigError: It is something else, or less than `least`; the message calls it `name`.

    Example:
        >>> require_whole(8, "--draws", least=1)
        8
    """
    if not is_whole(value) or value < least:
        whole = "" if is_whole(value) else "a whole number and "
        raise ConfigError(f"{name} must be {whole}at least {least}; given {value!r}.")
    return int(value)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number, such as numpy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)
