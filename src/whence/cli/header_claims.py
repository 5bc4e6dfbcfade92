"""The claims of the headers of adapters: shown by `whence check`, used by `whence attribute --trust-header`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

import whence
from whence.cli.show import say, show_notes
from whence.errors import ConfigError
from whence.process_config import OPEN, ProcessConfig

if TYPE_CHECKING:
    from whence.attribution.target import Target
    from whence.diffusion.adapters.adapter import Adapter
    from whence.diffusion.adapters.claims import Claims

TRUST_HEADER = Annotated[
    bool,
    typer.Option(
        "--trust-header",
        help="Use what the header of the adapter claims of its training: resolution, visits by folder, prediction, "
        "min-SNR weights and noise offset. "
        "`whence check` shows it; nobody has verified it.",
    ),
]


def show_claims(adapters: Sequence[Adapter]) -> None:
    """Print what the headers of adapters claim."""
    from whence.diffusion.adapters.claims import Claims

    for adapter in adapters:
        claims = Claims.read(adapter)
        if claims is not None:
            say(f"The header of {claims.source} claims, and nobody has verified:")
            for line in claims.lines():
                say(f"    {line}")


@dataclass(frozen=True)
class TrustedHeader:
    """Adapters, and the claims of the header of the one whose header is trusted; None if none is."""

    adapters: tuple[Adapter, ...]
    claims: Claims | None = None

    @classmethod
    def of(cls, texts: Sequence[str] | None, trust: bool) -> TrustedHeader:
        """Return the adapters of an option.

        Raises:
            ConfigError: A header is to be trusted, and there is not one adapter, or it claims nothing.
        """
        from whence.diffusion.adapters.adapter import Adapter
        from whence.diffusion.adapters.claims import PREFIX, Claims

        adapters = tuple(Adapter.parse(text) for text in texts or ())
        if not trust:
            return cls(adapters)
        if len(adapters) != 1:
            raise ConfigError(f"--trust-header is about one adapter; given {len(adapters)}. Give --adapter FILE once.")
        claims = Claims.read(adapters[0])
        if claims is None:
            raise ConfigError(f"{adapters[0].file} has no {PREFIX}... values in its header. Leave out --trust-header.")
        return cls(adapters, claims)

    @property
    def resolution(self) -> int | None:
        """The side of the images that is claimed."""
        return self.claims.side if self.claims else None

    def with_process(self, settings: ProcessConfig | None) -> ProcessConfig | None:
        """Return given settings of the process, and the claimed ones where they are open; None if all are open."""
        if self.claims is None or not self.claims.process.record():
            return settings
        return (settings or OPEN).completed(self.claims.process)

    def apply(self, images: whence.Dataset, target: Target) -> tuple[whence.Dataset, Target]:
        """Return images with the claimed visits as weights, and the target with the claims in its name.

        Raises:
            ConfigError: The images are in other folders than is claimed.
            MismatchError: The base predicts something else.
        """
        if self.claims is None:
            return images, target
        self.claims.require_prediction(target.model.process.prediction)
        weighed = self.claims.weigh(images)
        said = f"claims of its header, not verified: {self._used(weighed.weights != images.weights)}"
        left = ", ".join(self.claims.not_used)
        notes = [f"Used are {said}.", *([f"Claimed and not used: {left}."] if left else [])]
        show_notes(notes, of=self.claims.source)
        return weighed, replace(target, name=f"{target.name} by {said}")

    def _used(self, weighed: bool) -> str:
        """The claims that are used, in words."""
        assert self.claims is not None
        used = [f"resolution {self.resolution}"] if self.resolution else []
        if weighed:
            used.append("visits by folder " + ", ".join(f"{name} {n}" for name, n in self.claims.repeats.items()))
        used += [f"prediction {self.claims.prediction}"] if self.claims.prediction else []
        used += self.claims.process_lines()
        return "; ".join(used) or "none of use"
