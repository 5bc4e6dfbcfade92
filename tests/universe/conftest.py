"""Universe files built with the standard library and Pillow alone, by hand."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whence.universe.universe import Universe


@pytest.fixture(scope="session")
def png():
    """PNG bytes of an array [H, W] or [H, W, 3]."""

    def encode(array: np.ndarray, **options: object) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, format="PNG", **options)
        return stream.getvalue()

    return encode


@pytest.fixture(scope="session")
def tar_of():
    """Write a tar with these members, some of them changed by hand, and return its path."""

    def write(path: Path, members: Mapping[str, bytes], *special: tarfile.TarInfo, **options: object) -> Path:
        with tarfile.open(path, **{"mode": "w"} | options) as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            for info in special:
                archive.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
        return path

    return write


@pytest.fixture(scope="session")
def settings_of():
    """The content of config.json with these values replaced; None leaves a key out."""

    def encode(**changed: object) -> bytes:
        values = {"Format": "MULTIFILE", "TrainingUnits": 2, "NumberGenerated": 5}
        values |= {"TrainHeight": 2, "TrainWidth": 3, "TrainChannel": 3, "GenHeight": 3, "GenWidth": 2, "GenChannel": 1}
        return json.dumps({key: value for key, value in (values | changed).items() if value is not None}).encode()

    return encode


@pytest.fixture(scope="session")
def members(png, settings_of) -> dict[str, bytes]:
    """Two units with two and one images 3x2 in RGB; five pictures 2x3 in grey, three to a row, the last one unused."""
    rng = np.random.default_rng(0)
    sheets = {name: rng.integers(0, 256, (6, 6), np.uint8) for name in ("factual", "leave_0_x", "leave_1_y_z")}
    training = {"train_0_2": rng.integers(0, 256, (2, 6, 3), np.uint8)}
    training["train_1_1"] = rng.integers(0, 256, (2, 3, 3), np.uint8)
    pngs = {f"{name}.png": png(array) for name, array in (sheets | training).items()}
    return {"config.json": settings_of()} | pngs


@pytest.fixture(scope="session")
def onefile(members, png, settings_of) -> dict[str, bytes]:
    """The same with one training image for each unit."""
    kept = {name: data for name, data in members.items() if not name.startswith("train")}
    training = np.random.default_rng(1).integers(0, 256, (4, 3, 3), np.uint8)
    return kept | {"config.json": settings_of(Format="ONEFILE"), "training_set.png": png(training)}


@pytest.fixture(scope="session")
def everything():
    """All that can be read from a universe file, each array checked against what the file says of itself."""

    def read(universe: Universe) -> dict[str, np.ndarray]:
        config = universe.config
        found = {"factual": universe.factuals(), "picture": universe.factual(0)}
        found |= {f"leave {unit}": universe.counterfactuals(unit) for unit in universe.units}
        training = {f"train {unit}": universe.training(unit) for unit in universe.units}
        for name, array in (found | training).items():
            assert array.dtype == np.uint8
            if name in training:
                size = (config.training_channels, config.training_height, config.training_width)
                assert array.shape == (len(array), *size)
                assert len(array) > 0
            else:
                assert array.shape == config.tiles[name == "picture" :]
        for k in range(config.pictures):
            found[f"distances {k}"] = universe.distances(k)
            assert found[f"distances {k}"].shape == (config.units,)
            assert universe.radius(k) == found[f"distances {k}"].max() >= 0
        return found | training

    return read
