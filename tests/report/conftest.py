import dataclasses
from pathlib import Path

import pytest

from whence.config import Config
from whence.data import Dataset
from whence.ensemble import Ensemble, ablate, ablate_each, sample, train_ensemble
from whence.report import write_report

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'


def hostile(data: Dataset) -> Dataset:
    """The data with markup in its first id, unit, caption and notes, and with image 1 the same as image 0."""
    renamed = {"u0": f"u0 {SCRIPT}", "u1": f"u1 {IMAGE}"}
    pixels = data.pixels.copy()
    pixels[1] = pixels[0]
    return dataclasses.replace(
        data,
        pixels=pixels,
        ids=(f"first {IMAGE}", *data.ids[1:]),
        units=tuple(tuple(renamed.get(unit, unit) for unit in own) for own in data.units),
        captions=(f"a cat {SCRIPT}", *data.captions[1:]),
        notes=(f"a note {SCRIPT}",),
    )


@pytest.fixture(scope="session")
def full(tiny_data: Dataset, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """An ensemble on hostile data with two sets of pictures and five ablations; only to be read."""
    path = tmp_path_factory.mktemp("report") / "my <i>ensemble"
    ensemble = train_ensemble(hostile(tiny_data), path, members=6, config=tiny_config, workers=1)
    sample(ensemble, count=5, workers=1)
    sample(ensemble, count=3, seed=1, without=["u2"], workers=1)
    first, second = ensemble.codebook.units[:2]
    ablate_each(ensemble, [("0/1", [first]), ("0/1", [second]), ("0/1", ["u2"]), ("0/4", ["u3"])], workers=1)
    ablate(ensemble, "0/4", ["u3"], keep_only=True, workers=1)
    return ensemble


@pytest.fixture(scope="session")
def page(full: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of `full`."""
    return write_report(full, tmp_path_factory.mktemp("page") / "report.html")
