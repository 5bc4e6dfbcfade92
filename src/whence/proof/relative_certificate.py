"""What certificates of adapters have in common: they are relative to the base."""

from __future__ import annotations

from whence.proof.document import Hash, StrictModel
from whence.proof.survivor_certificate import SurvivorCertificate

#: The last reason of every certificate of adapters.
RETRAINING = (
    "For a member that is retrained (--retrain-one): these weights are what its record says, on latents and embedded "
    "captions that are made again from its images and captions, so that they can't have been trained on anything else, "
    "where they come out the same to the last bit."
)
LIMITS = (
    "Anything about what the base saw: all of this is relative to it. It saw what it saw, perhaps images of the units. "
    "The autoencoder, the text encoder and the scale of the latents are the base's too.",
    "That the latents and embedded captions in the run are those of its images and captions: they are the holder's "
    "word, except for a member that the verifier retrains.",
    "That no caption of another image names the units, and that no copy of their images has another name: captions "
    "are not searched, and a copy that was cropped, scaled or compressed again is another image.",
    "That nothing else depends on the units: the settings (rank and strength; of a picture also prompt, guidance and "
    "the way of combining) are the same with and without them, and whoever chose them may have seen the units' images.",
)


class BaseFingerprints(StrictModel):
    """SHA-256 (hex) of a base: of its network with the noise schedule, its autoencoder and its text encoder."""

    network: Hash
    autoencoder: Hash
    text_encoder: Hash


class RelativeCertificate(SurvivorCertificate):
    """A statement about what adapters without some units made on a base.

    Attributes:
        base: The base that they were trained on.
    """

    base: BaseFingerprints

    def limits(self) -> tuple[str, ...]:
        """Return what the certificate does not show."""
        return (*super().limits(), *LIMITS)
