"""Every reader meets damaged files: it reads them or raises an error of Whence, never another one.

A file of a whole artefact is damaged at random. Half of the times its manifest is sealed again, so that the hashes
agree and the reader itself has to see the damage.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.attribution.pictures import Pictures
from whence.attribution.queries import read_queries
from whence.attribution.request import AttributionConfig
from whence.config import read_config
from whence.data import load, read, write
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.adapter_file import read_adapter
from whence.diffusion.base import Base
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.engine import Engine
from whence.ensemble import Ensemble
from whence.ensemble.codebook import Codebook
from whence.ensemble.landscape import Landscape
from whence.ensemble.losses import Losses
from whence.ensemble.make_landscape import landscape
from whence.ensemble.make_losses import losses
from whence.ensemble.opt_out import opt_out
from whence.ensemble.sampling import Samples
from whence.errors import ArtefactError, WhenceError
from whence.evaluation.bank import Bank, BankConfig, PoolRequest, build_bank, build_pool
from whence.gradients.features import Feature
from whence.gradients.stored_features import StoredFeatures
from whence.proof import certify, certify_adapter, read_proof, verify
from whence.report.scores import write_scores_report
from whence.scores.scores import Scores
from whence.scores.stored import read_scores

#: A file of a trainer, beside the folder that it names.
TRAINER = """
[general]
flip_aug = true
[[datasets]]
resolution = 8
[[datasets.subsets]]
image_dir = "3_a"
num_repeats = 3
caption_extension = ".txt"
"""


@pytest.fixture(scope="session")
def adapters(tmp_path_factory, tiny_adapters) -> Callable[[str], Path]:
    """The folder of an artefact of adapters of each kind, whole."""
    root = tmp_path_factory.mktemp("adapters-whole")
    shutil.copytree(tiny_adapters.base.folder, root / "base")
    ensemble = Ensemble.open(shutil.copytree(tiny_adapters.path, root / "adapters"))
    losses(ensemble, read_queries(ensemble, "0/0-1"), draws=2, engine=Engine(1))
    shutil.copytree(ensemble.path / "encoding", root / "encoding")
    adapter = opt_out(ensemble, ["artist 2"])
    adapter.write(root / "opt-out" / "opt-out.safetensors")
    certify_adapter(ensemble, adapter).write(root / "adapter-certificate" / "opt-out.json")
    certify(ensemble, "0/1", ["artist 2"], engine=Engine(1)).write(root / "prompt-certificate" / "picture.json")
    settings = BankConfig(models=1, held_out=0, drawn=2, draws=2)
    options = {"config": ensemble.config, "settings": settings, "base": ensemble.base.folder, "engine": Engine(1)}
    bank = build_bank(ensemble.data, None, root / "adapter-bank", **options)
    build_pool(bank, PoolRequest("test", 2), engine=Engine(1))
    return lambda name: root / name


@pytest.fixture(scope="session")
def artefact(tmp_path_factory, tiny_data, tiny_ensemble, tiny_bank, credited, owned_data) -> Callable[[str], Path]:
    """The folder of an artefact of each kind, whole."""
    root = tmp_path_factory.mktemp("whole")
    images = load("digits").select(range(3))
    config = AttributionConfig(draws=8)
    attribute(credited, owned_data, images, ["trak"], config=config, out=root / "attribution", engine=Engine(1))
    write(tiny_data, root / "dataset")
    ensemble = Ensemble.open(shutil.copytree(tiny_ensemble.path, root / "ensemble"))
    losses(ensemble, images.images(range(3)), images.ids, draws=2, engine=Engine(1))
    landscape(ensemble, ["0/0"], placebos=2, engine=Engine(1))
    shutil.copytree(tiny_bank.path, root / "bank")
    shutil.copytree(credited, root / "run")
    folder = root / "folder"
    (folder / "a").mkdir(parents=True)
    from PIL import Image

    for n in range(2):
        Image.fromarray(images.pixels[n, 0]).save(folder / "a" / f"{n}.png")
    (folder / "metadata.csv").write_text("file_name,text\na/0.png,one\na/1.png,two\n")
    (root / "parquet").mkdir()
    encoded = [(folder / "a" / f"{n}.png").read_bytes() for n in range(2)]
    pq.write_table(pa.table({"image": encoded, "text": ["a", "b"]}), root / "parquet" / "x.parquet")
    (root / "tars").mkdir()
    with tarfile.open(root / "tars" / "0.tar", "w") as tar:
        for n, name in enumerate(("0.png", "1.png", "1.json")):
            content = encoded[n] if n < 2 else b'{"caption": "two"}'
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    shutil.copytree(folder / "a", root / "trainer" / "3_a")
    (root / "trainer" / "3_a" / "0.txt").write_text("a zero")
    (root / "trainer" / "data.toml").write_text(TRAINER)
    return lambda name: root / name


def first(pattern: str, open_it: Callable[[Path], object]) -> Callable[[Path], object]:
    """A reader of the first folder below a path that fits."""
    return lambda path: [open_it(found) for found in sorted(path.glob(pattern))[:1]]


def losses_in(path: Path, codebook: Codebook) -> list[Losses]:
    """The losses in an ensemble."""
    return [Losses.open(found, codebook) for found in path.glob("losses/[!.]*")]


def read_record(record: Record) -> object:
    """Read all that a record says."""
    return record.weights, len(record), record.timesteps, record.seen(), record.noise(0, (1, 8, 8))


def check_proof(path: Path) -> None:
    """Read the certificates in a folder, and check what can be checked without a run."""
    for file in sorted(path.glob("*.json")):
        found = verify(read_proof(file))
        assert not [one for one in found.reasons if one.startswith("this could not be checked")], found.reasons


#: A reader, and the artefact that it reads.
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "folder": ("folder", load),
    "parquet": ("parquet", load),
    "tars": ("tars", load),
    "folder of a trainer": ("trainer", lambda path: load(f"kohya:{path}")),
    "file of a trainer": ("trainer", first("*.toml", load)),
    "dataset": ("dataset", read),
    "dataset by its name": ("dataset", load),
    "manifest": ("dataset", lambda path: artefacts.read_verified(path, "dataset")),
    "settings": ("run", lambda path: read_config(path / "config.toml")),
    "model": ("run", DiffusionModel.load),
    "record": ("run", lambda path: read_record(Record(path))),
    "ensemble and codebook": ("ensemble", Ensemble.open),
    "samples": ("ensemble", first("samples/[!.]*", Samples.open)),
    "losses": ("ensemble", lambda path: losses_in(path, Ensemble.open(path).codebook)),
    "landscape": ("ensemble", first("landscapes/[!.]*", Landscape.open)),
    "scores": ("attribution", lambda path: read_scores([path])),
    "scores of a method": ("attribution", lambda path: Scores.read(path / "trak")),
    "pictures": ("attribution", lambda path: Pictures.read(path / "pictures")),
    "features": (
        "attribution",
        first("features/[0-9a-f]*/examples", lambda path: StoredFeatures.open(path, Feature("loss"))),
    ),
    "page of scores": ("attribution", lambda path: write_scores_report(path, path.parent / "page.html")),
    "bank": ("bank", Bank.open),
}


#: A reader of what adapters are kept in, and the artefact that it reads; the base of all of them is whole.
ADAPTER_READERS: dict[str, tuple[str, Callable[[Ensemble, Path], object]]] = {
    "base": ("base", lambda _, path: Base(path).fingerprints()),
    "encoding": ("encoding", lambda e, path: Encoders.of(e.base.folder).read(e.data, path)),
    "ensemble": ("adapters", lambda _, path: Ensemble.open(path).open_members()),
    "samples": ("adapters", lambda _, path: [Samples.open(found) for found in sorted(path.glob("samples/[!.]*"))]),
    "losses": ("adapters", lambda e, path: losses_in(path, e.codebook)),
    "opt-out": ("opt-out", lambda _, path: read_adapter(Adapter(path / "opt-out.safetensors"))),
    "certificate of an opt-out": ("adapter-certificate", lambda _, path: check_proof(path)),
    "certificate of a picture": ("prompt-certificate", lambda _, path: check_proof(path)),
    "bank": ("adapter-bank", lambda _, path: Bank.open(path).fingerprints),
    "pool": ("adapter-bank", lambda _, path: Bank.open(path).pool("test")),
}


@st.composite
def damages(draw) -> tuple[int, str, float, bytes]:
    """Which file, what is done to it, where, and with which bytes."""
    kind = draw(st.sampled_from(["cut", "overwrite", "insert", "empty", "remove", "json"]))
    return draw(st.integers(0, 10**6)), kind, draw(st.floats(0, 1)), draw(st.binary(min_size=1, max_size=8))


def damage(folder: Path, place: int, kind: str, share: float, content: bytes) -> Path:
    """Damage a file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[place % len(files)]
    data = file.read_bytes()
    where = int(share * len(data))
    changed = {
        "cut": data[:where],
        "overwrite": data[:where] + content + data[where + len(content) :],
        "insert": data[:where] + content + data[where:],
        "empty": b"",
        "remove": data,
        "json": data,
    }[kind]
    if kind == "json" and file.suffix == ".json":
        changed = json.dumps(_other(json.loads(data), place, share)).encode()
    file.write_bytes(changed)
    if kind == "remove":
        file.unlink()
    return file


def _other(value, place: int, share: float):
    """A JSON value in which one entry is of another type, or gone."""
    if isinstance(value, dict) and value:
        key = sorted(value)[place % len(value)]
        if share < 0.3:
            return {name: entry for name, entry in value.items() if name != key}
        return value | {key: _other(value[key], place // 7, share)}
    if isinstance(value, list) and value:
        return value[1:] if share < 0.5 else [_other(value[0], place // 7, share), *value[1:]]
    return [None, -1, "x", {}, 1e308, True][place % 6]


def seal(folder: Path, file: Path) -> None:
    """Write the hash of a file into the manifest of its artefact, and so on upwards."""
    for parent in file.parents:
        if parent == folder.parent:
            return
        manifest = parent / artefacts.MANIFEST
        if not manifest.is_file():
            continue
        with suppress(Exception):
            kind = artefacts.kind_of(parent)
            known = artefacts.read_manifest(parent, kind)
            name = file.relative_to(parent).as_posix()
            files = {**known.files, name: artefacts.file_digest(file)} if name in known.files else known.files
            artefacts.write_manifest(parent, replace(known, files=files))


def check(read_it: Callable[[Path], object], whole: Path, case) -> None:
    place, kind, share, content = case
    folder = whole.parent / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    file = damage(folder, place, kind, share, content)
    if place % 2 and file.exists():
        seal(folder, file)
    with suppress(WhenceError):
        read_it(folder)


def check_all(read_it: Callable[[Path], object], whole: Path, examples: int) -> None:
    @given(damages())
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def run(case):
        check(read_it, whole, case)

    run()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("examples", [2, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_read_or_refused(artefact, name, examples):
    whole, read_it = READERS[name]
    read_it(artefact(whole))
    check_all(read_it, artefact(whole), examples)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ADAPTER_READERS)
@pytest.mark.parametrize("examples", [2, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files_of_adapters_are_read_or_refused(adapters, tiny_adapters, name, examples):
    whole, read_it = ADAPTER_READERS[name]
    read_it(tiny_adapters, adapters(whole))
    check_all(partial(read_it, tiny_adapters), adapters(whole), examples)


@pytest.mark.parametrize("name", ["examples.parquet", "record/00000000.safetensors"])
def test_a_record_of_other_columns_is_refused(artefact, tmp_path, name):
    run = shutil.copytree(artefact("run"), tmp_path / "run")
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"other": ["a"]}), run / name)
    else:
        artefacts.write_tensors(run / name, {"other": torch.zeros(2)})
    seal(run, run / name)
    with pytest.raises(ArtefactError, match="is damaged: KeyError"):
        read_record(Record(run))
