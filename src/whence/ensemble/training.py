"""Training an encoded ensemble: one recorded model for each row of the codebook.

runs/ens/data/         the training images, once for all members
runs/ens/codebook/     which member may see which unit
runs/ens/encoding/     of members that are adapters: latents and embedded captions, once for all members
runs/ens/members/03/   a run directory like that of `whence train`
runs/ens/manifest.json the fingerprints of all of them
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whence import artefacts
from whence.config import Config
from whence.data import Dataset, read, write
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.encoding import FOLDER
from whence.diffusion.training import request_of, train
from whence.engine import DEFAULT, Engine, Task
from whence.ensemble.codebook import Codebook
from whence.ensemble.model import Ensemble, damaged_members, member_name, member_path
from whence.errors import ArtefactError
from whence.seeds import derived_seed

#: Seconds to wait for a worker of an interrupted run, which ends when it notices that its main process is gone.
PATIENCE = 60.0


def train_ensemble(
    data: Dataset,
    path: str | Path,
    *,
    members: int = 16,
    weight: int | None = None,
    config: Config | None = None,
    codebook_seed: int = 0,
    base: str | Path | None = None,
    engine: Engine = DEFAULT,
) -> Ensemble:
    """Train an encoded ensemble, continue an interrupted training, or train damaged members again.

    With a `base` the members are LoRA adapters on it, by the settings `config.adapter`, as `whence.train` trains them.

    Each unit is seen by `weight` members, by default half of them. Each member has the settings `config` with a seed of
    its own, derived from ``training.seed``. The report is called with (training steps done, steps in all).

    Returns:
        The whole ensemble. Every member is checked by hash.

    Raises:
        ConfigError: The codebook is impossible, or a setting doesn't fit the data.
        DataError: The images have several shapes.
        MismatchError: The directory holds an ensemble of other data, settings or base.
        LockedError: Another process is writing the directory.
    """
    path = Path(path)
    request = request_of(data, Config.of(config), base=base)
    config, folder = request.config, request.base_folder
    codebook = make_codebook(data, members, codebook_seed, weight)
    inputs = {"data": data.fingerprint, **request.inputs}
    made = {
        "members": members,
        "weight": codebook.weight,
        "codebook_seed": codebook_seed,
        "config": config.record(),
    }
    if artefacts.existing(path, "ensemble", inputs=inputs, made=made):
        with artefacts.lock(path):
            request.examples(path)  # where the encoding was deleted, it is made again
            _repair(path, config, folder, engine)
        return Ensemble.open(path)
    facts = {"units": len(codebook.units), "examples": len(data), **request.facts(path)}
    facts["notes"] = list(data.notes)
    with artefacts.create(path, "ensemble", inputs=inputs, made=made, facts=facts) as part:
        if not (part / "data").exists():
            write(data, part / "data")
        codebook.write(part / "codebook", data.fingerprint)
        artefacts.write_bytes(part / "config.toml", config.to_toml().encode())
        facts["notes"] += request.examples(part).notes
        _train_members(part, range(members), config, folder, engine)
    return Ensemble.open(path)


def make_codebook(data: Dataset, members: int, seed: int, weight: int | None = None) -> Codebook:
    """Return a codebook with a code word for every unit of the data, and examples for every member."""
    require_one_shape(data, "An ensemble")
    codebook = Codebook.random(data.unit_ids, members, seed, weight)
    for member in range(members):
        codebook.examples(member, data)
    return codebook


def train_member(path: str, member: int, config: Config, base: Path | None, engine: Engine) -> None:
    """Train one member of the ensemble in `path`; a task for the engine."""
    root = Path(path)
    data = read(root / "data")
    rows = Codebook.read(root / "codebook").examples(member, data)
    folder = member_path(root, member)
    if folder.exists() and not _is_sound(folder):
        artefacts.discard(folder)
    encoding = None if base is None else root / FOLDER
    train(data.select(rows), folder, config, base=base, encoding=encoding, engine=engine, patience=PATIENCE)


def _is_sound(folder: Path) -> bool:
    """Whether the files of a finished member are those of its manifest."""
    try:
        artefacts.read_verified(folder, "model")
    except ArtefactError:
        return False
    return True


def member_config(config: Config, member: int) -> Config:
    """Return the settings of one member: those of the ensemble, with another seed for every member.

    Adapters begin with the same A, so that their changes of the weights are alike and their mean is not lost in them.
    """
    seed = config.training.seed
    if config.adapter is not None and config.adapter.start is None:
        config = config.updated("adapter", start=seed)
    return config.updated("training", seed=derived_seed(seed, f"member {member}"))


def _train_members(path: Path, members: Sequence[int], config: Config, base: Path | None, engine: Engine) -> None:
    artefacts.read_verified(path / "data", "dataset")
    size, shared = config.training.steps, {"path": str(path), "base": base}
    tasks = [
        Task(f"member {m}", train_member, {**shared, "member": m, "config": member_config(config, m)}, size)
        for m in members
    ]
    engine.run(tasks)


def _repair(path: Path, config: Config, base: Path | None, engine: Engine) -> None:
    """Train damaged members again. On the same machine they come out the same to the last bit.

    They are removed from the manifest first. So if the process is killed, the manifest shows which members are missing.
    """
    manifest = artefacts.read_manifest(path, "ensemble")
    artefacts.require_part(path, manifest, "data", "dataset")
    artefacts.require_part(path, manifest, "codebook", "codebook")
    shared = [name for name in ("codebook", "data", FOLDER) if name in manifest.parts]
    for member in damaged_members(path, manifest):
        if member_name(member) in manifest.parts:
            artefacts.discard(member_path(path, member))
    sound = [name for name in manifest.parts if (path / name).exists()]
    members = manifest.made["members"]
    missing = [member for member in range(members) if member_name(member) not in sound]
    if not missing:
        engine.report(1, 1)
        return
    artefacts.reseal(path, manifest, sound)
    _train_members(path, missing, config, base, engine)
    artefacts.reseal(path, manifest, [*shared, *map(member_name, range(members))])
