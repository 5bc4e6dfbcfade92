"""What can be checked of a certificate without the run directory."""

from __future__ import annotations

import base64
import binascii
import struct

from whence import artefacts
from whence.config import Config, SamplerConfig
from whence.data.pixels import decode, header
from whence.ensemble.model import member_name
from whence.ensemble.train import member_config
from whence.errors import ConfigError, DataError, ProofError
from whence.proof import words
from whence.proof.certificate import Certificate, Content, Picture


def require_words(certificate: Certificate) -> str:
    """The sentences are those that the fields give."""
    given = certificate.statement, certificate.proven, certificate.not_proven
    if given != (words.statement(certificate), words.PROVEN, words.not_proven(certificate)):
        raise ProofError("The statement in words is not what the fields say.")
    return "the sentences are those that the fields give"


def require_units(certificate: Certificate) -> str:
    """The code words and images of the units are in the tree of units, and all images in that of images."""
    names = [unit.unit for unit in certificate.units]
    if len(set(names)) < len(names):
        raise ProofError("A unit is listed twice.")
    examples = {one.id: one for one in certificate.examples}
    if len(examples) < len(certificate.examples):
        raise ProofError("A training image is listed twice.")
    for unit in certificate.units:
        certificate.root_of.units.require(unit.unit, [unit.word, list(unit.ids)], unit.place)
        for id in unit.ids:
            if id not in examples or unit.unit not in examples[id].units:
                raise ProofError(f"Image {id!r} of unit {unit.unit!r} is not shown to be in the training data.")
    own = {id for unit in certificate.units for id in unit.ids}
    others = set(examples) - own - {one.id for one in certificate.near}
    if others:
        raise ProofError(f"Image {min(others)!r} has nothing to do with the units.")
    for one in certificate.examples:
        certificate.root_of.images.require(one.fingerprint, [one.id, list(one.units)], one.place)
    return f"{len(own)} images of {len(names)} unit(s), each led to the root"


def require_survivors(certificate: Certificate) -> str:
    """The members are all those whose bit is 0 in the code words of all units."""
    members = certificate.ensemble.made.get("members")
    if any(len(unit.word) != members for unit in certificate.units):
        raise ProofError(f"The code words are not of one bit for each member; the ensemble has {members!r} members.")
    columns = zip(*(unit.word for unit in certificate.units), strict=True)
    free = [m for m, bits in enumerate(columns) if "1" not in bits]
    if certificate.members != free:
        raise ProofError(f"The members without the units are {free}, not {certificate.members}.")
    return f"{len(free)} of {members} members may not see any of the units: {free}"


def require_members(certificate: Certificate) -> str:
    """The fingerprints of ensemble and members are those of what is stated of them, and their settings agree."""
    ensemble = certificate.ensemble
    if ensemble.kind != "ensemble" or ensemble.fingerprint != certificate.root_of.ensemble:
        raise ProofError(
            f"What is stated of the ensemble has the fingerprint {ensemble.fingerprint[:12]}; the root is of "
            f"{certificate.root_of.ensemble[:12]}."
        )
    config = _config(ensemble)
    for survivor in certificate.survivors:
        name, run = f"Member {survivor.member}", survivor.run
        sealed = ensemble.parts.get(member_name(survivor.member))
        if run.kind != "model" or not run.fingerprint == survivor.fingerprint == sealed:
            raise ProofError(f"{name} is not the one that the ensemble was sealed with.")
        own = member_config(config, survivor.member)
        if run.made != {"model": own.model.record(), "training": own.training.record()}:
            raise ProofError(f"{name} was trained with other settings or another seed than the ensemble gives it.")
        if run.inputs.get("weights") is not None:
            raise ProofError(f"{name} was trained with weights on its examples.")
    return "weights, settings, seeds and records are those of the ensemble, by hash"


def require_picture(certificate: Certificate) -> str:
    """The embedded picture is the one whose hash is stated, of the size of the training images, and drawable."""
    picture = certificate.picture
    if picture.size != certificate.root_of.size:
        raise ProofError(f"The picture is {picture.size}, the training images {certificate.root_of.size} (C, H, W).")
    if artefacts.digest(picture_pixels(picture)) != picture.pixels:
        raise ProofError("The embedded picture is not the one whose hash is stated.")
    sampler = certificate_sampler(certificate)
    own = _config(certificate.ensemble).sampler.batch_size
    if sampler.batch_size != own:
        raise ProofError(f"The sampler's batch_size is {sampler.batch_size}; the ensemble draws in batches of {own}.")
    return f"{'x'.join(map(str, picture.size))}, SHA-256 of its pixels {picture.pixels[:12]}"


def require_near(certificate: Certificate) -> str:
    """The list of near-duplicates agrees with itself."""
    examples = {one.id: one for one in certificate.examples}
    own = {id for unit in certificate.units for id in unit.ids}
    for one in certificate.near:
        if one.of not in own or one.id in own or not {one.of, one.id} <= set(examples):
            raise ProofError(f"{one.id!r} is listed as a near-duplicate of {one.of!r}, which can't be.")
        same = examples[one.id].fingerprint == examples[one.of].fingerprint
        if not one.identical == same == (one.distance == 0):
            raise ProofError(f"Whether {one.id!r} is identical to {one.of!r} is not what their fingerprints say.")
    identical = len({one.id for one in certificate.near if one.identical})
    return f"{len(certificate.near)} near-duplicates that remain are listed, {identical} identical"


def certificate_sampler(certificate: Certificate) -> SamplerConfig:
    """How the picture was drawn."""
    try:
        sampler = SamplerConfig(**certificate.sampler)
    except (ConfigError, TypeError) as error:
        raise ProofError(f"The sampler is malformed: {error}") from None
    if sampler.record() != certificate.sampler:
        raise ProofError("The sampler's settings are not complete and of the right types.")
    return sampler


def picture_pixels(picture: Picture) -> bytes:
    """The pixels uint8 [C, H, W] of the embedded PNG, which must hold this one picture and nothing else."""
    try:
        data = base64.b64decode(picture.png, validate=True)
        _require_plain_png(data)
        found = header(data, "the embedded picture")
        if (found.height, found.width) != picture.size[1:]:
            raise ProofError(f"The embedded picture is {found.height}x{found.width}, stated is {picture.size}.")
        return decode(data, "the embedded picture", channels=picture.size[0]).tobytes()
    except (binascii.Error, ValueError, DataError) as error:
        raise ProofError(f"The embedded picture can't be read: {error}") from None


def _require_plain_png(data: bytes) -> None:
    """Nothing but header, pixels and end: other chunks can make other programs show something else."""
    at, kinds = 8, []
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        kinds.append(kind)
        at += length + 12
    plain = len(kinds) > 2 and kinds[0] == b"IHDR" and kinds[-1] == b"IEND" and set(kinds[1:-1]) == {b"IDAT"}
    if data[:8] != b"\x89PNG\r\n\x1a\n" or not plain or at != len(data):
        raise ProofError("The embedded picture is not a PNG of pixels alone.")


def _config(ensemble: Content) -> Config:
    """The settings that an ensemble's manifest states."""
    try:
        return Config(**ensemble.made["config"])  # type: ignore[arg-type]
    except (ConfigError, KeyError, TypeError) as error:
        raise ProofError(f"The ensemble's settings are malformed: {error}.") from None
