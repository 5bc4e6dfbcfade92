"""The settings of `whence attribute`, from its options."""

from __future__ import annotations

from typing import Any

import whence
from whence.errors import ConfigError


def read_attribution_config(
    draws: int, damping: str | None, width: int | None, seed: int, half: bool, bfloat16: bool, *others: str | None
) -> whence.AttributionConfig:
    """Return the settings of the options; the last are --latents and --prefilter."""
    latents, prefilter = others
    settings: dict[str, Any] = {"draws": draws, "damping": _damping(damping), "seed": seed, "prefilter": prefilter}
    settings |= {"autocast": bfloat16, "latents": latents}
    settings["compression"] = {} if width is None else {"width": width}
    settings["precision"] = "float16" if half else "float32"
    return whence.AttributionConfig(**settings)


def _damping(text: str | None) -> float | str | None:
    """Return the damping that a text names."""
    if text in (None, "auto"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--damping is a number above 0, or auto; given {text!r}.") from None
