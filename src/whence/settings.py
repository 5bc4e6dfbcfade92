"""The base of all settings: small frozen records, checked when made."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from whence.config_errors import explain, is_whole
from whence.errors import ConfigError


class Settings(BaseModel):
    """Base of all settings: frozen; unknown names, values of other types and infinite numbers are refused.

    A list may stand for a tuple, as in TOML, and a whole number for a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _take_lists_for_tuples(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    def __init__(self, **values: Any) -> None:
        """Check the values.

        Raises:
            ConfigError: A name is unknown or a value is of the wrong type or out of range.
        """
        whole = {name: int(value) for name, value in values.items() if is_whole(value)}
        try:
            super().__init__(**values | whole)
        except ValidationError as error:
            raise ConfigError(explain(error, type(self))) from None

    @classmethod
    def of(cls, config: Self | None) -> Self:
        """Return the settings that a caller gave; None gives the defaults.

        Raises:
            ConfigError: It is something else, such as a dict.
        """
        if config is None:
            return cls()
        if not isinstance(config, cls):
            raise ConfigError(f"The settings are a {type(config).__name__}; give {cls.__name__}(NAME=VALUE).")
        return config

    def record(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        return self.model_dump(mode="json")
