"""The recipe of a trainer: what its file of a data set says that every visit of an image sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whence.config import Config
from whence.errors import ConfigError, join_names


@dataclass(frozen=True)
class Recipe:
    """What the visits of all images have in common, as the file of a trainer says.

    Attributes:
        source: The file.
        flip: Whether a visit sees the mirror image with probability 1/2.
        caption_dropout: Probability that a visit has the empty caption.
        beyond: Names of settings that change a visit in a way that no training of Whence does.

    Example:
        >>> Recipe("cats.toml", flip=True).follow(Config()).training.flip
        True
    """

    source: str
    flip: bool = False
    caption_dropout: float = 0.0
    beyond: tuple[str, ...] = ()

    def follow(self, config: Config) -> Config:
        """Return the settings of a training by this recipe: what is at its default is as the recipe says.

        Raises:
            ConfigError: The settings say something else than the recipe, or the recipe has what no training of Whence
                does.
        """
        values: dict[str, Any] = {"flip": self.flip, "caption_dropout": self.caption_dropout}
        defaults = type(config.training)()
        unset = {name: value for name, value in values.items() if _at(config, name) == getattr(defaults, name)}
        followed = config.updated("training", **unset)
        self.require(followed)
        return followed

    def require(self, config: Config) -> None:
        """Check that the settings of a training are those of this recipe; a `ConfigError` names one that is not."""
        if self.beyond:
            raise ConfigError(
                f"{self.source} sets {join_names(self.beyond, most=len(self.beyond))}, which no training of Whence "
                "does. Take it out of the file to train without it."
            )
        for name, value in {"flip": self.flip, "caption_dropout": self.caption_dropout}.items():
            if _at(config, name) != value:
                raise ConfigError(
                    f"{self.source} says that {name} is {value}, and training.{name} is {_at(config, name)}. Make them "
                    "the same; config = data.recipe.follow(config) does so from Python."
                )


def _at(config: Config, name: str) -> Any:
    return getattr(config.training, name)
