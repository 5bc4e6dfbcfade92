import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from whence import artefacts
from whence.config import Config
from whence.data import Dataset
from whence.engine import Engine
from whence.ensemble import Ensemble, ablate, ablate_each, sample, train_ensemble
from whence.ensemble.landscape import Landscape, landscape_path, shard
from whence.ensemble.make_landscape import landscape
from whence.ensemble.sampling import find_sample
from whence.errors import NoSurvivorsError
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


def write_landscape(
    ensemble: Ensemble, sample: str, units: Sequence[float], placebos: Sequence[float], together: Sequence[str] = ()
) -> Landscape:
    """A landscape with these distances, in shards of four pictures, instead of one that the ensemble drew."""
    found, index = find_sample(ensemble, sample, {})
    factual = found.pictures[index]
    step = torch.zeros_like(factual)
    step[0, 0, 0] = 2.0
    pictures = torch.stack([factual, *(factual + step * far for far in (*units, *placebos))])
    path = landscape_path(ensemble, sample, together)
    made = {"sample": sample, "together": list(together), "placebos": len(placebos), "block": 4, "sampler": {}}
    inputs = {"ensemble": ensemble.manifest.fingerprint, "factual": artefacts.digest(factual.numpy().tobytes())}
    with artefacts.create(path, "landscape", inputs=inputs, made=made) as part:
        for k, block in enumerate(pictures.split(4)):
            artefacts.write_tensors(part / shard(k), {"pictures": block.clone()})
        distances = {"units": units, "placebos": placebos}
        artefacts.write_tensors(
            part / "distances.safetensors",
            {name: torch.tensor(list(values), dtype=torch.float64) for name, values in distances.items()},
        )
        names = ["+".join(together)] if together else list(ensemble.codebook.units)
        artefacts.write_table(part / "units.parquet", {"unit": names})
    return Landscape.open(path)


def pair(ensemble: Ensemble) -> list[str]:
    """Two units that some member never saw."""
    for units in itertools.combinations(ensemble.codebook.units, 2):
        try:
            ensemble.codebook.survivors(units)
        except NoSurvivorsError:
            continue
        return list(units)
    raise AssertionError("no pair has survivors")


@pytest.fixture(scope="session")
def full(tiny_data: Dataset, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """An ensemble on hostile data with two sets of pictures, five ablations and four landscapes; only to be read.

    Two of the landscapes are drawn; of the others one names the two units with markup in their names, one nobody.
    """
    path = tmp_path_factory.mktemp("report") / "my <i>ensemble"
    ensemble = train_ensemble(hostile(tiny_data), path, members=6, config=tiny_config, engine=Engine(1))
    sample(ensemble, count=5, engine=Engine(1))
    sample(ensemble, count=3, seed=1, without=["u2"], engine=Engine(1))
    first, second = ensemble.codebook.units[:2]
    ablate_each(ensemble, [("0/1", [first]), ("0/1", [second]), ("0/1", ["u2"]), ("0/4", ["u3"])], engine=Engine(1))
    ablate(ensemble, "0/4", ["u3"], keep_only=True, engine=Engine(1))
    landscape(ensemble, "0/2", placebos=10, engine=Engine(1))
    landscape(ensemble, "0/2", placebos=10, together=pair(ensemble), engine=Engine(1))
    beside = [k / 500 for k in range(499)]
    write_landscape(ensemble, "0/0", [2.5, 2.1, *(k / 10 for k in range(8))], beside)
    write_landscape(ensemble, "0/3", [0.95 - k / 12 for k in range(10)], beside)
    return ensemble


@pytest.fixture(scope="session")
def page(full: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of `full`."""
    return write_report(full, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="session", name="write_landscape")
def _write_landscape():
    return write_landscape


@pytest.fixture(scope="session")
def tab(browser):
    """The tab of all tests of reports, which keep nothing in it; without network."""
    context = browser.new_context(offline=True)
    yield context.new_page()
    context.close()


@pytest.fixture
def visit(tab, page):
    """Open a report and return the tab; what the browser complained of or asked for must be nothing."""
    complaints, asked, opened = [], [], set()

    def refuse(dialog) -> None:
        complaints.append(dialog.message)
        dialog.dismiss()

    heard = {
        "console": lambda message: complaints.append(message.text),
        "pageerror": lambda error: complaints.append(str(error)),
        "requestfailed": lambda call: complaints.append(f"failed: {call.url[:80]}"),
        "request": lambda call: asked.append(call.url),
        "dialog": refuse,
    }
    for event, hear in heard.items():
        tab.on(event, hear)

    def open_page(width: int = 1280, scheme: str = "light", file=page):
        opened.add(file)
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(media="screen", color_scheme=scheme)
        tab.goto(file.as_uri())
        return tab

    yield open_page
    for event, hear in heard.items():
        tab.remove_listener(event, hear)
    assert complaints == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert len({url for url in asked if url.startswith("file:")}) == len(opened)


@pytest.fixture
def assert_plots_can_be_read(assert_no_text_overlaps):
    """A page has so many plots, and no text in them overlaps another, in the width of a phone and of a desk."""

    def each(tab, count: int) -> None:
        for width in (390, 1280):
            tab.set_viewport_size({"width": width, "height": 900})
            plots = tab.locator(".plot").all()
            assert len(plots) == count
            for plot in plots:
                assert_no_text_overlaps(plot)

    return each
