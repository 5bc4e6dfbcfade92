"""The request for a bank, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from whence import artefacts
from whence.config import Config, Settings
from whence.data import Dataset, class_inputs
from whence.diffusion.families.unet import complete_config
from whence.errors import ConfigError, DataError
from whence.evaluation.bank.bank import KIND

#: Seed of the names of drawn queries.
DRAWN_SEED = 0


class BankConfig(Settings):
    """How many models and queries a bank has, and how it measures them."""

    models: Annotated[int, Field(ge=1)] = Field(4, description="Reference models, trained on everything.")
    held_out: Annotated[int, Field(ge=0)] = Field(100, description="Queries that training never saw.")
    drawn: Annotated[int, Field(ge=0)] = Field(100, description="Queries that the first reference model draws.")
    draws: Annotated[int, Field(ge=1)] = Field(128, description="Draws at which the loss of a query is measured.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of subsets, trainings and measurements.")

    @property
    def drawn_names(self) -> tuple[str, ...]:
        """Names of the drawn queries."""
        return tuple(f"{DRAWN_SEED}/{index}" for index in range(self.drawn))


@dataclass(frozen=True, eq=False)
class BankRequest:
    """A bank to be made.

    Attributes:
        data: The training examples.
        held_out: The held-out queries; None for none.
        config: Settings of a model that is trained on everything, with nothing left open, and of the sampler.
        settings: How many models and queries the bank has, and how it measures them.
    """

    data: Dataset
    held_out: Dataset | None
    config: Config
    settings: BankConfig

    @classmethod
    def make(
        cls, data: Dataset, held_out: Dataset | None, config: Config | None = None, settings: BankConfig | None = None
    ) -> BankRequest:
        """Return a request; see `whence.evaluation.bank.make_bank.build_bank`.

        Raises:
            DataError: Held-out pictures are too few, of another size, among the training examples, or named like drawn
                ones.
            ConfigError: There are to be no queries, or they can't be drawn.
        """
        settings = settings or BankConfig()
        config = complete_config(config or Config().updated("sampler", method="ddim"), data.size)
        if not settings.held_out + settings.drawn:
            raise ConfigError("A bank without queries measures nothing: ask for held-out or drawn ones.")
        if settings.drawn and config.sampler.steps > config.model.timesteps:
            raise ConfigError(
                f"{config.sampler.steps} sampling steps were asked for; the models have {config.model.timesteps} "
                "timesteps."
            )
        return cls(data, _held_out(data, held_out, settings), config, settings)

    @property
    def provenance(self) -> dict[str, Mapping[str, Any]]:
        """What the bank is made from, and how, for its manifest."""
        return {
            "inputs": {
                "data": self.data.fingerprint,
                "held_out": self.held_out.fingerprint if self.held_out else None,
                **class_inputs(data=self.data, held_out=self.held_out),
            },
            "made": {"config": self.config.record(), **self.settings.record()},
        }

    def exists_in(self, path: Path) -> bool:
        """Return whether a directory already holds this bank.

        Raises:
            MismatchError: It holds another bank.
        """
        return artefacts.existing(path, KIND, **self.provenance) is not None


def _held_out(data: Dataset, held_out: Dataset | None, settings: BankConfig) -> Dataset | None:
    """Return the first held-out pictures.

    Raises:
        DataError: They are too few, of another size, among the training examples, or named like a drawn one.
    """
    count = settings.held_out
    if count == 0:
        return None
    if held_out is None or len(held_out) < count:
        raise DataError(
            f"{count} held-out queries were asked for, there are {len(held_out) if held_out else 0} held-out pictures. "
            "Give data with more of them, or ask for fewer queries."
        )
    if held_out.size != data.size:
        raise DataError(f"Held-out pictures are {held_out.size}, training examples {data.size} (C, H, W).")
    first, fingerprints = held_out.select(range(count)), set(data.fingerprints)
    both = [name for name, print_ in zip(first.ids, first.fingerprints, strict=True) if print_ in fingerprints]
    if both:
        raise DataError(
            f"{len(both)} of {count} held-out pictures are training examples too, such as {both[0]!r}. Give pictures "
            "that training never sees."
        )
    clash = sorted(set(first.ids) & set(settings.drawn_names))
    if clash:
        raise DataError(f"The held-out picture {clash[0]!r} is named like a drawn one. Give it another id.")
    return first
