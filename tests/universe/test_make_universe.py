"""Writing universe files: what goes in comes out, in a form that others read too."""

import io
import json
import tarfile
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from whence.engine import Engine
from whence.errors import ArtefactError, DataError
from whence.images import to_pixels
from whence.universe import Universe, write_universe
from whence.universe.make_universe import UniverseContent, write_content


def pages_of(seed: int, counts: list[int], pictures: int, training_size, size) -> UniverseContent:
    """Random pixels."""
    rng = np.random.default_rng(seed)
    units = [f"unit {u}" for u in range(len(counts))]
    draw = {unit: rng.integers(0, 256, (n, *training_size), np.uint8) for unit, n in zip(units, counts, strict=True)}
    without = {unit: rng.integers(0, 256, (pictures, *size), np.uint8) for unit in units}
    factual = rng.integers(0, 256, (pictures, *size), np.uint8)
    return UniverseContent(units, counts, draw.__getitem__, factual, without.__getitem__)


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("universes") / "u.ctf"


SIZES = st.tuples(st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(1, 4), min_size=1, max_size=5) | st.lists(st.just(1), min_size=1, max_size=9),
    st.integers(1, 11),
    SIZES,
    SIZES,
)
def test_what_is_written_is_read(place, everything, seed, counts, pictures, training_size, size):
    pages = pages_of(seed, counts, pictures, training_size, size)
    universe = write_content(place, pages)
    everything(universe)
    assert universe.units == tuple(pages.units)
    assert universe.config.format == ("ONEFILE" if set(counts) == {1} else "MULTIFILE")
    assert (universe.factuals() == pages.factual).all()
    for unit in pages.units:
        assert np.array_equal(universe.training(unit), pages.training(unit))
        assert np.array_equal(universe.counterfactuals(unit), pages.counterfactuals(unit))


@pytest.mark.parametrize("counts", [[2, 1, 3], [1, 1, 1]])
def test_the_standard_library_and_pillow_see_the_format(tmp_path, counts):
    write_content(tmp_path / "u.ctf", pages_of(0, counts, 7, (3, 2, 4), (1, 5, 3)))
    with tarfile.open(tmp_path / "u.ctf", "r:") as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive}
        owners = {(info.mtime, info.uid, info.gid, info.uname, info.type) for info in archive}
    assert owners == {(0, 0, 0, "", tarfile.REGTYPE)}
    sheets = {name: Image.open(io.BytesIO(data)) for name, data in files.items() if name.endswith(".png")}
    leave = {f"leave_{u}_7.png" for u in range(3)}
    training = {"training_set.png"} if counts == [1, 1, 1] else {"train_0_2.png", "train_1_1.png", "train_2_3.png"}
    assert set(sheets) == {"factual.png"} | leave | training
    assert {(sheets[name].size, sheets[name].mode) for name in leave} == {((9, 15), "L")}
    assert {sheets[name].mode for name in training} == {"RGB"}
    assert json.loads(files["config.json"]) == {
        "Format": "ONEFILE" if counts == [1, 1, 1] else "MULTIFILE",
        "TrainingUnits": 3,
        "NumberGenerated": 7,
        **{"TrainHeight": 2, "TrainWidth": 4, "TrainChannel": 3, "GenHeight": 5, "GenWidth": 3, "GenChannel": 1},
        "UnitNames": ["unit 0", "unit 1", "unit 2"],
    }


def test_the_bytes_depend_on_nothing_else(tmp_path):
    for name in ("a.ctf", "b.ctf"):
        write_content(tmp_path / name, pages_of(3, [1, 2], 3, (1, 4, 4), (1, 4, 4)))
    assert (tmp_path / "a.ctf").read_bytes() == (tmp_path / "b.ctf").read_bytes()


def test_a_training_set_too_large_for_one_sheet_gets_one_per_unit(tmp_path, monkeypatch, everything):
    monkeypatch.setattr("whence.universe.make_universe.MAX_PIXELS", 95)
    universe = write_content(tmp_path / "u.ctf", pages_of(0, [1, 1, 1], 2, (1, 4, 4), (1, 2, 2)))
    assert universe.config.format == "MULTIFILE"
    everything(universe)


def test_too_many_tiles_for_a_sheet_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("whence.universe.sheets.MAX_PIXELS", 99)
    with pytest.raises(ArtefactError, match="7 tiles of 4 x 4 are too many for a sheet of 99 pixels"):
        write_content(tmp_path / "u.ctf", pages_of(0, [2], 7, (1, 2, 2), (1, 4, 4)))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "u.ctf"
    write_content(path, pages_of(0, [1, 2], 3, (1, 4, 4), (1, 4, 4)))
    old = path.read_bytes()

    def fail(_unit: str) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_content(path, pages_of(1, [1, 2], 3, (1, 4, 4), (1, 4, 4))._replace(counterfactuals=fail))
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["u.ctf"]


def test_memory_is_flat_in_the_number_of_units(tmp_path):
    """300 units more are 300 sheets of 48 KiB more in the file and next to nothing in memory."""

    def peak(units: int) -> int:
        training, pictures = np.zeros((2, 1, 4, 4), np.uint8), np.zeros((4, 3, 64, 64), np.uint8)
        names = [str(u) for u in range(units)]
        pages = UniverseContent(names, [2] * units, lambda _: training, pictures, lambda _: pictures.copy())
        tracemalloc.start()
        write_content(tmp_path / "u.ctf", pages)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    assert peak(320) - peak(20) < 300 * 2 * 2**10


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"training": lambda _: np.zeros((2, 1, 4, 5), np.uint8)},
            DataError,
            r"\[2, 1, 4, 5\]; expected are uint8 \[1,",
        ),
        ({"counterfactuals": lambda _: np.zeros((3, 1, 4, 4))}, DataError, r"float64 pictures \[3, 1, 4, 4\]"),
        ({"counterfactuals": lambda _: np.zeros((2, 1, 4, 4), np.uint8)}, DataError, "expected are uint8"),
        ({"units": ["unit 0", "unit 0"]}, ArtefactError, "2 UnitNames, 1 of them different"),
        ({"factual": np.zeros((0, 1, 4, 4), np.uint8)}, ArtefactError, "NumberGenerated"),
        ({"factual": np.zeros((3, 2, 4, 4), np.uint8)}, ArtefactError, "1 or 3 channels, not 2"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, change, error, message):
    pages = pages_of(0, [1, 2], 3, (1, 4, 4), (1, 4, 4))._replace(**change)
    with pytest.raises(error, match=message):
        write_content(tmp_path / "u.ctf", pages)
    assert list(tmp_path.iterdir()) == []


def test_a_training_image_of_another_size_is_refused_in_one_file_too(tmp_path):
    pages = pages_of(0, [1, 1], 3, (1, 4, 4), (1, 4, 4))
    odd = {"unit 0": np.zeros((1, 1, 4, 4), np.uint8), "unit 1": np.zeros((1, 1, 4, 5), np.uint8)}
    with pytest.raises(DataError, match="Unit 'unit 1' has uint8 pictures"):
        write_content(tmp_path / "u.ctf", pages._replace(training=odd.__getitem__))


def test_a_directory_is_not_replaced(tmp_path):
    with pytest.raises(ArtefactError, match="is a directory"):
        write_content(tmp_path, pages_of(0, [1], 1, (1, 1, 1), (1, 1, 1)))


@dataclass(frozen=True)
class Drawn:
    """What is asked of a landscape."""

    path: Path
    sample: str
    units: tuple[str, ...]
    factual: torch.Tensor
    without: torch.Tensor

    def counterfactual(self, unit: str) -> torch.Tensor:
        return self.without[self.units.index(unit)]


@pytest.fixture
def drawn(tiny_ensemble) -> list[Drawn]:
    """Three landscapes of random pictures, a little beyond [-1, 1]."""
    units, (channels, height, width) = tiny_ensemble.codebook.units, tiny_ensemble.data.size
    source = torch.Generator().manual_seed(0)
    noise = torch.rand(3, 1 + len(units), channels, height, width, generator=source) * 2.2 - 1.1
    return [Drawn(Path(f"l{k}"), f"0/{k}", units, one[0], one[1:]) for k, one in enumerate(noise)]


def test_landscapes_of_an_ensemble(tmp_path, tiny_ensemble, drawn, everything):
    done = []
    universe = write_universe(
        tmp_path / "u.ctf", tiny_ensemble, drawn, engine=Engine(report=lambda *now: done.append(now))
    )
    everything(universe)
    units = tiny_ensemble.codebook.units
    assert done == [(u + 1, len(units)) for u in range(len(units))]
    assert universe.units == units
    for k, one in enumerate(drawn):
        assert np.array_equal(universe.factual(k), to_pixels(one.factual))
        exact = torch.linalg.vector_norm((one.without.clamp(-1, 1) - one.factual.clamp(-1, 1)).flatten(1), dim=1) / 2
        assert universe.distances(k) == pytest.approx(exact.numpy(), abs=one.factual.numel() ** 0.5 / 255)
    for unit in units:
        expected = tiny_ensemble.data.pixels[tiny_ensemble.data.examples_of(unit)]
        assert np.array_equal(universe.training(unit), expected)
        assert np.array_equal(universe.counterfactuals(unit)[1], to_pixels(drawn[1].counterfactual(unit)))


def test_landscapes_of_other_units_or_sizes_are_refused(tmp_path, tiny_ensemble, drawn):
    other = Drawn(Path("other"), "0/9", drawn[0].units[:-1], drawn[0].factual, drawn[0].without)
    small = Drawn(Path("small"), "0/9", drawn[0].units, drawn[0].factual[:, 1:], drawn[0].without)
    for wrong in (other, small):
        with pytest.raises(ArtefactError, match=f"{wrong.path} has .* units and pictures of"):
            write_universe(tmp_path / "u.ctf", tiny_ensemble, [*drawn, wrong])


def test_without_a_landscape_the_command_is_named(tmp_path, tiny_ensemble):
    with pytest.raises(ArtefactError, match="no landscape to write. First: whence ensemble landscape .* --samples 0/0"):
        write_universe(tmp_path / "u.ctf", tiny_ensemble, [])


def test_universe_open_takes_text(tmp_path):
    write_content(tmp_path / "u.ctf", pages_of(0, [1], 1, (1, 1, 1), (1, 1, 1)))
    assert Universe.open(str(tmp_path / "u.ctf")).config.pictures == 1
