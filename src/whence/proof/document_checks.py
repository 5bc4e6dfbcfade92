"""Checks of a certificate that need no run directory. Each returns its finding, or raises ProofError."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any

from whence import artefacts
from whence.config import Config, SamplerConfig
from whence.data.image_files import header
from whence.data.pixels import decode
from whence.diffusion.prompts import Prompts
from whence.ensemble.drawing import Drawing
from whence.ensemble.model import member_name
from whence.ensemble.training import member_config
from whence.errors import ConfigError, DataError, ProofError
from whence.proof.certificate import Picture, PictureCertificate, PromptCertificate
from whence.proof.relative_certificate import RelativeCertificate
from whence.proof.survivor_certificate import Content, Survivor, SurvivorCertificate


def require_words(certificate: SurvivorCertificate) -> str:
    """Check that the sentences are those that the fields give."""
    if any(getattr(certificate, name) != stated for name, stated in certificate.words().items()):
        raise ProofError("The statement in words is not what the fields say.")
    return "the sentences are those that the fields give"


def require_units(certificate: SurvivorCertificate) -> str:
    """Check that code words and images of the units are in the tree of units, and all images in the tree of images."""
    names = certificate.unit_names
    if len(set(names)) < len(names):
        raise ProofError("A unit is listed twice.")
    examples = {example.id: example for example in certificate.examples}
    if len(examples) < len(certificate.examples):
        raise ProofError("A training image is listed twice.")
    for unit in certificate.units:
        certificate.root_of.units.require(unit.unit, [unit.word, list(unit.ids)], unit.place)
        for id in unit.ids:
            if id not in examples or unit.unit not in examples[id].units:
                raise ProofError(f"Image {id!r} of unit {unit.unit!r} is not shown to be in the training data.")
    ids = {id for unit in certificate.units for id in unit.ids}
    others = set(examples) - ids - {duplicate.id for duplicate in certificate.near}
    if others:
        raise ProofError(f"Image {min(others)!r} has nothing to do with the units.")
    for example in certificate.examples:
        certificate.root_of.images.require(example.fingerprint, [example.id, list(example.units)], example.place)
    return f"{len(ids)} images of {len(names)} unit(s), each led to the root"


def require_survivors(certificate: SurvivorCertificate) -> str:
    """Check that the survivors are all members whose bit is 0 in the code words of all units."""
    members = certificate.ensemble.made.get("members")
    if any(len(unit.word) != members for unit in certificate.units):
        raise ProofError(f"The code words are not of one bit for each member; the ensemble has {members!r} members.")
    columns = zip(*(unit.word for unit in certificate.units), strict=True)
    survivors = [m for m, bits in enumerate(columns) if "1" not in bits]
    if certificate.members != survivors:
        raise ProofError(f"The members without the units are {survivors}, not {certificate.members}.")
    return f"{len(survivors)} of {members} members may not see any of the units: {survivors}"


def require_members(certificate: SurvivorCertificate) -> str:
    """Check that ensemble and survivors have the stated fingerprints, and that their settings agree."""
    ensemble = certificate.ensemble
    if ensemble.kind != "ensemble" or ensemble.fingerprint != certificate.root_of.ensemble:
        raise ProofError(
            f"What is stated of the ensemble has the fingerprint {ensemble.fingerprint[:12]}; the root is of "
            f"{certificate.root_of.ensemble[:12]}."
        )
    config = _config(ensemble)
    if (config.adapter is not None) != isinstance(certificate, RelativeCertificate):
        raise ProofError("The certificate is of another kind than the ensemble: whole networks, or adapters on a base.")
    for survivor in certificate.survivors:
        name, run = f"Member {survivor.member}", survivor.run
        sealed = ensemble.parts.get(member_name(survivor.member))
        if run.kind != "model" or not run.fingerprint == survivor.fingerprint == sealed:
            raise ProofError(f"{name} is not the one that the ensemble was sealed with.")
        if run.made != _member_settings(config, survivor):
            raise ProofError(f"{name} was trained with other settings or another seed than the ensemble gives it.")
        if run.inputs.get("weights") is not None:
            raise ProofError(f"{name} was trained with weights on its examples.")
    return "weights, settings, seeds and records are those of the ensemble, by hash"


def require_base(certificate: RelativeCertificate) -> str:
    """Check that the base is the one that ensemble and survivors state, and that they state nothing else beside it."""
    base = certificate.base.model_dump()
    if certificate.ensemble.inputs.get("base") != base:
        raise ProofError("The base is not the one that the ensemble was trained on.")
    for survivor in certificate.survivors:
        inputs = survivor.run.inputs
        if inputs != {"data": inputs.get("data"), "weights": None, "base": base}:
            raise ProofError(f"Member {survivor.member} was trained on another base, or with more than the images.")
        if survivor.run.made.get("model") != certificate.survivors[0].run.made.get("model"):
            raise ProofError(f"Member {survivor.member} was trained with another noise schedule than the others.")
    return f"the same for all members, SHA-256 of its network {base['network'][:12]}"


def require_picture(certificate: PictureCertificate) -> str:
    """Check that the picture has the stated hash and the size of the training images, and that its sampler is valid."""
    picture = certificate.picture
    if picture.size != certificate.root_of.size:
        raise ProofError(f"The picture is {picture.size}, the training images {certificate.root_of.size} (C, H, W).")
    if artefacts.digest(picture_pixels(picture)) != picture.pixels:
        raise ProofError("The embedded picture is not the one whose hash is stated.")
    sampler = certificate_sampler(certificate)
    batch_size = _config(certificate.ensemble).sampler.batch_size
    if sampler.batch_size != batch_size:
        raise ProofError(
            f"The sampler's batch_size is {sampler.batch_size}; the ensemble draws in batches of {batch_size}."
        )
    return f"{'x'.join(map(str, picture.size))}, SHA-256 of its pixels {picture.pixels[:12]}"


def require_near_duplicates(certificate: SurvivorCertificate) -> str:
    """Check that the list of near-duplicates agrees with the other fields."""
    fingerprints = {example.id: example.fingerprint for example in certificate.examples}
    ids = {id for unit in certificate.units for id in unit.ids}
    for duplicate in certificate.near:
        of, id = duplicate.of, duplicate.id
        if of not in ids or id in ids or not {of, id} <= set(fingerprints):
            raise ProofError(f"{id!r} is listed as a near-duplicate of {of!r}, which can't be.")
        same = fingerprints[id] == fingerprints[of]
        if not duplicate.identical == same == (duplicate.distance == 0):
            raise ProofError(f"Whether {id!r} is identical to {of!r} is not what their fingerprints say.")
    identical = len({duplicate.id for duplicate in certificate.near if duplicate.identical})
    return f"{len(certificate.near)} near-duplicates that remain are listed, {identical} identical"


def certificate_sampler(certificate: PictureCertificate) -> SamplerConfig:
    """Return the sampler that drew the picture."""
    try:
        values: dict[str, Any] = dict(certificate.sampler)
        sampler = SamplerConfig(**values)
    except (ConfigError, TypeError) as error:
        raise ProofError(f"The sampler is malformed: {error}") from None
    if sampler.record() != certificate.sampler:
        raise ProofError("The sampler's settings are not complete and of the right types.")
    return sampler


def certificate_drawing(certificate: PictureCertificate) -> Drawing:
    """Return how the picture was drawn."""
    sampler = certificate_sampler(certificate)
    if not isinstance(certificate, PromptCertificate):
        return Drawing(sampler)
    prompt = certificate.prompt
    return Drawing(sampler, Prompts((prompt.text,), prompt.negative, prompt.guidance), certificate.combine)


def picture_pixels(picture: Picture) -> bytes:
    """Return the bytes of the pixels uint8 [C, H, W] of the embedded PNG, which must hold nothing else."""
    try:
        data = base64.b64decode(picture.png, validate=True)
        _require_plain_png(data)
        size = header(data, "the embedded picture")
        if (size.height, size.width) != picture.size[1:]:
            raise ProofError(f"The embedded picture is {size.height}x{size.width}, stated is {picture.size}.")
        return decode(data, "the embedded picture", channels=picture.size[0]).tobytes()
    except (binascii.Error, ValueError, DataError) as error:
        raise ProofError(f"The embedded picture can't be read: {error}") from None


def _require_plain_png(data: bytes) -> None:
    """Refuse a PNG with chunks beside header, pixels and end, which can make other programs show something else."""
    position, kinds = 8, []
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        kinds.append(kind)
        position += length + 12
    plain = len(kinds) > 2 and kinds[0] == b"IHDR" and kinds[-1] == b"IEND" and set(kinds[1:-1]) == {b"IDAT"}
    if data[:8] != b"\x89PNG\r\n\x1a\n" or not plain or position != len(data):
        raise ProofError("The embedded picture is not a PNG of pixels alone.")


def _config(ensemble: Content) -> Config:
    """Return the settings that the manifest of the ensemble states."""
    try:
        return Config(**ensemble.made["config"])  # type: ignore[arg-type]
    except (ConfigError, KeyError, TypeError) as error:
        raise ProofError(f"The ensemble's settings are malformed: {error}.") from None


def _member_settings(config: Config, survivor: Survivor) -> dict[str, Any]:
    """The settings that the ensemble gives a member; the noise schedule of a base is the one that the member states."""
    own = member_config(config, survivor.member)
    if own.adapter is None:
        return {"model": own.model.record(), "training": own.training.record()}
    model, process = survivor.run.made.get("model"), {} if own.process is None else {"process": own.process.record()}
    return {"model": model, "adapter": own.adapter.record(), "training": own.training.record(), **process}
