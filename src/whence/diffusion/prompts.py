"""Prompts: the texts that pictures are drawn from, and how strongly they guide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whence.errors import ConfigError


@dataclass(frozen=True)
class Prompts:
    """The prompts of pictures that are drawn: picture SEED/INDEX gets the prompt of INDEX, over and over again.

    Attributes:
        texts: The prompts.
        negative: The prompt that pictures are guided away from.
        guidance: Scale s of classifier-free guidance, see `whence.diffusion.sampling.Guidance`; 1 is none. None leaves
            it to the model, see `completed`.

    Raises:
        ConfigError: There are no prompts, or the scale is not a number from 0 on.

    Example:
        >>> Prompts(("a cat", "a dog")).of(["0/0", "0/1", "0/2"])
        ('a cat', 'a dog', 'a cat')
    """

    texts: tuple[str, ...] = ("",)
    negative: str = ""
    guidance: float | None = None

    def __post_init__(self) -> None:
        if not self.texts:
            raise ConfigError("There are no prompts. Give at least one, --prompt TEXT or a line in --prompts FILE.")
        if self.guidance is not None and not 0 <= self.guidance < float("inf"):
            raise ConfigError(f"The guidance is {self.guidance}; expected a number from 0 on, such as 7.5.")

    @classmethod
    def read(
        cls,
        file: Path | None = None,
        texts: Sequence[str] = (),
        negative: str | None = None,
        guidance: float | None = None,
    ) -> Prompts | None:
        """Return the prompts of a command: the lines of a file that are not empty, then further texts.

        Returns:
            None if nothing at all is given.

        Raises:
            ConfigError: The file can't be read, or holds no prompt.
        """
        lines: list[str] = []
        if file is not None:
            try:
                lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"The prompts in {file} can't be read: {error}. Give a text file in UTF-8.") from None
            if not lines:
                raise ConfigError(f"{file} holds no prompts; expected one in each line.")
        if not lines and not texts and negative is None and guidance is None:
            return None
        return cls((*lines, *texts) or ("",), negative or "", guidance)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Prompts:
        """Return the prompts of a manifest."""
        return cls(tuple(record["texts"]), record["negative"], record["guidance"])

    def completed(self, usual: float) -> Prompts:
        """Return the prompts, with the usual scale of guidance of a model where none is given.

        Example:
            >>> Prompts(("a cat",)).completed(4.5).scale
            4.5
        """
        return replace(self, guidance=usual) if self.guidance is None else self

    @property
    def scale(self) -> float:
        """The scale of the guidance of prompts that are complete."""
        assert self.guidance is not None, "see completed"
        return self.guidance

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        """The prompts of pictures by their names SEED/INDEX."""
        return tuple(self.texts[int(name.rsplit("/", 1)[1]) % len(self.texts)] for name in names)

    def record(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        return {"texts": list(self.texts), "negative": self.negative, "guidance": self.scale}
