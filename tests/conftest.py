"""Fixtures of all tests. Slow imports are made at first use: the process that only starts xdist's workers has none."""

from __future__ import annotations

import contextlib
import itertools
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import whence
from whence.config import Config, ModelConfig, SamplerConfig, TrainingConfig
from whence.diffusion.prompts import Prompts
from whence.lazy import torch

if TYPE_CHECKING:
    from whence.data import Dataset
    from whence.ensemble import Ensemble
    from whence.evaluation.bank import Bank

#: All tests write some 40,000 files, most of them forced to the disk. Where memory has room, files live there.
MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
#: Processes of tests share the cores, so none of them computes with more than one thread.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
TINY = Config(
    model=ModelConfig(channels=(8, 16), attention=0),
    training=TrainingConfig(steps=6, batch_size=8, learning_rate=2e-3, save_every=2, checkpoints=2, warmup=2, seed=3),
    sampler=SamplerConfig(steps=4, batch_size=4),
)


@pytest.fixture(scope="session", autouse=True)
def _one_core():
    """Work as on a machine of one core: the others are for other processes of tests, and workers start slowly.

    Tests of workers ask for a number of them.
    """
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _process: {0}, raising=False)
        yield


@pytest.fixture(scope="session")
def pipelines() -> dict[str, Callable[..., Path]]:
    """What `pipelines.py` makes, by name."""
    return runpy.run_path(str(Path(__file__).parent / "pipelines.py"))


@pytest.fixture(scope="session")
def stable_diffusion(pipelines: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a small Stable Diffusion pipeline; only to be read. See `pipelines.py`."""
    folder: Path = pipelines["stable_diffusion"](tmp_path_factory.mktemp("pipeline") / "sd")
    return folder


@pytest.fixture(scope="session")
def latent_diffusion_folder(
    pipelines: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Makes the folder of a small pipeline of latent diffusion, over an autoencoder of the kind ``vq`` or ``kl``."""
    return lambda kind: pipelines["latent_diffusion"](tmp_path_factory.mktemp("pipeline") / kind, kind)


@pytest.fixture(scope="session")
def latent_diffusion(latent_diffusion_folder: Callable[[str], Path]) -> Path:
    """The folder of a small pipeline of latent diffusion; only to be read."""
    return latent_diffusion_folder("kl")


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A network of 40k parameters, six steps, four sampling steps."""
    return TINY


def _grouped(count: int, group: int) -> Dataset:
    digits = whence.load("digits").select(range(count))
    units = tuple((f"u{n % group}",) for n in range(count))
    return digits.with_fields(units=units)


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    """40 digits in the ten units u0 ... u9 of four images each."""
    return _grouped(40, 10)


@pytest.fixture(scope="session")
def tiny_ensemble(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """Six members on `tiny_data`, with the pictures 0/0 ... 0/3; only to be read."""
    path = tmp_path_factory.mktemp("ensemble") / "ens"
    ensemble = whence.train_ensemble(tiny_data, path, members=6, config=TINY, engine=whence.Engine(1))
    whence.sample(ensemble, count=4, engine=whence.Engine(1))
    return ensemble


@pytest.fixture
def ensemble(tiny_ensemble: Ensemble, tmp_path: Path) -> Ensemble:
    """A copy of `tiny_ensemble` that a test may change."""
    return whence.Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path / "ens"))


#: Adapters of rank 2 with four steps, and what two pictures of them are drawn from.
TINY_ADAPTER = (
    Config()
    .updated("training", steps=4, batch_size=3, warmup=1, checkpoints=1, save_every=2, learning_rate=3e-2, seed=3)
    .updated("adapter", rank=2, alpha=4.0)
    .updated("sampler", method="ddim", steps=3, batch_size=4, clip=False)
)
TINY_PROMPTS = Prompts(("picture 1", "picture 2"), "ugly", 2.0)


@pytest.fixture(scope="session")
def tiny_adapters(stable_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """Six adapters on twelve pictures of four artists; only to be read.

    The pictures 0/0 and 0/1 are drawn by the mean of predictions, 1/0 and 1/1 by the mean of weights.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (12, 3, 16, 16), dtype=np.uint8)
    units, captions = (tuple((f"artist {n % 4}",) for n in range(12)), tuple(f"picture {n % 3}" for n in range(12)))
    data = whence.Dataset(tuple("lkjihgfedcba"), pixels, units, captions)
    path = tmp_path_factory.mktemp("adapters") / "ens"
    options = {"config": TINY_ADAPTER, "base": stable_diffusion, "engine": whence.Engine(1)}
    ensemble = whence.train_ensemble(data, path, members=6, **options)
    whence.sample(ensemble, count=2, prompts=TINY_PROMPTS, engine=whence.Engine(1))
    whence.sample(ensemble, count=2, seed=1, prompts=TINY_PROMPTS, combine="weights", engine=whence.Engine(1))
    return ensemble


#: A network of a few thousand parameters, four steps.
TINY_BANK = Config(
    model=ModelConfig(channels=(8,), attention=0),
    training=TrainingConfig(steps=4, batch_size=6, learning_rate=2e-3, save_every=1, checkpoints=2, warmup=1),
    sampler=SamplerConfig(method="ddim", steps=3, batch_size=4),
)


@pytest.fixture(scope="session")
def bank_data() -> Dataset:
    """24 digits: six of each of 0, 1, 2 and 3."""
    digits = whence.load("digits")
    rows = [n for digit in "0123" for n in [n for n, own in enumerate(digits.captions) if own == digit][:6]]
    return digits.select(sorted(rows))


@pytest.fixture(scope="session")
def tiny_bank(bank_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """A bank of `bank_data` with two reference models, six queries and two pools; only to be read."""
    from whence.evaluation.bank import BankConfig, PoolRequest, measure_references

    path, engine = tmp_path_factory.mktemp("bank") / "bank", whence.Engine(1)
    options = {"config": TINY_BANK, "settings": BankConfig(models=2, held_out=3, drawn=3, draws=8), "engine": engine}
    bank = whence.build_bank(bank_data, whence.load("digits:test"), path, **options)
    measure_references(bank)
    for request in (PoolRequest("test", 4, seeds=2), PoolRequest("deterministic-50%", 2, deterministic=True)):
        whence.build_pool(bank, request, engine=engine)
    return whence.Bank.open(path)


@pytest.fixture
def bank(tiny_bank: Bank, tmp_path: Path) -> Bank:
    """A copy of `tiny_bank` that a test may change."""
    return whence.Bank.open(shutil.copytree(tiny_bank.path, tmp_path / "bank"))


@pytest.fixture
def base(tiny_bank: Bank, tmp_path: Path) -> Bank:
    """A copy of `tiny_bank` without measurements."""
    leave_out = shutil.ignore_patterns("pools", "runs", "reference")
    return whence.Bank.open(shutil.copytree(tiny_bank.path, tmp_path / "base", ignore=leave_out))


@pytest.fixture(scope="session")
def tiny_bank_config() -> Config:
    """The settings of `tiny_bank`."""
    return TINY_BANK


@pytest.fixture(scope="session")
def owned_data(bank_data: Dataset) -> Dataset:
    """24 digits of anna (10), ben (9) and cleo (6); one is of both anna and ben."""
    names = ["anna"] * 9 + ["ben"] * 8 + ["cleo"] * 6
    units = (("anna", "ben"), *((name,) for name in names))
    return bank_data.with_fields(units=units)


@pytest.fixture(scope="session")
def run_config(tiny_bank_config: Config) -> Config:
    """Twelve steps, of which a twentieth is one."""
    return tiny_bank_config.updated("training", steps=12, checkpoints=0, save_every=2, seed=5)


@pytest.fixture(scope="session")
def credited(owned_data: Dataset, run_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The credited model, trained on `owned_data`; only to be read."""
    path = tmp_path_factory.mktemp("credited") / "run"
    whence.train(owned_data, path, run_config)
    return path


#: Arguments of Chromium: no window, and no request of its own.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium. Without one its tests are skipped, and the end of the run says so."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if not found:
        pytest.skip("NO BROWSER: the tests of pages in a browser are skipped; install chromium and playwright.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def looks():
    """Show a tab in the width of a phone and of a desk, each in light and dark; yields (width, scheme)."""

    def each(tab):
        for width in (390, 1280):
            tab.set_viewport_size({"width": width, "height": 900})
            for scheme in ("light", "dark"):
                tab.emulate_media(color_scheme=scheme)
                yield width, scheme

    return each


@pytest.fixture
def interrupted(monkeypatch):
    """Returns a context in which a function of a module works so many times, and is interrupted at the next call."""

    @contextlib.contextmanager
    def context(module: ModuleType, name: str, calls: int):
        function, left = getattr(module, name), iter(range(calls))

        def counted(**arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            function(**arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, counted)
            with pytest.raises(KeyboardInterrupt):
                yield

    return context


@pytest.fixture
def start(tmp_path: Path):
    """Start a Python script of this folder in a process group of its own; what is left ends with the test."""
    begun: list[subprocess.Popen] = []

    def begin(script: Path, *arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture
def run_script(start):
    """Run a script to its end; it must end well. Returns what it printed."""

    def run(script: Path, *arguments: object) -> str:
        process = start(script, *arguments)
        printed, _ = process.communicate(timeout=90)
        assert process.returncode == 0, printed
        return printed

    return run


@pytest.fixture
def fork_script(tmp_path_factory):
    """Run a script in a child of this process, which has the imports; it must end well. Returns what it printed."""

    def run(script: Path, *arguments: object) -> str:
        words, printed = [str(script), *map(str, arguments)], tmp_path_factory.mktemp("script") / "printed.txt"
        with printed.open("w") as stream:
            child = os.fork()
            if child == 0:
                _end_as_script(words, stream.fileno())
        try:
            status = os.waitpid(child, 0)[1]
        except BaseException:
            os.killpg(child, signal.SIGKILL)
            raise
        assert status == 0, printed.read_text()
        return printed.read_text()

    return run


def _end_as_script(words: list[str], output: int) -> None:
    """Run a script with its arguments, and end this process."""
    code = 1
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout = sys.stderr = os.fdopen(os.dup(output), "w")
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


@pytest.fixture(scope="session")
def wait_until():
    """Wait for a condition; fail when it doesn't come true."""

    def wait(condition: Callable[[], object], patience: float = 120.0) -> None:
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, "this did not happen in time"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def contents():
    """The bytes of every file below a directory, by path; manifests and locks left out."""

    def read(path: Path) -> dict[str, bytes]:
        return {
            str(file.relative_to(path)): file.read_bytes()
            for file in sorted(path.rglob("*"))
            if file.is_file() and file.name != "manifest.json" and file.suffix != ".lock"
        }

    return read


@pytest.fixture(scope="session")
def flip_byte():
    """Change one byte of a file, in the middle unless said otherwise."""

    def flip(file: Path, at: int | None = None) -> None:
        data = bytearray(file.read_bytes())
        data[len(data) // 2 if at is None else at] ^= 1
        file.write_bytes(bytes(data))

    return flip


#: Text on the page with its colour and that of the nearest painted background.
COLOURS = """() => [...document.querySelectorAll("body, body *")]
  .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
  .map(e => {
    let back = e;
    const clear = () => getComputedStyle(back).backgroundColor === "rgba(0, 0, 0, 0)";
    while (back.parentElement && clear()) back = back.parentElement;
    const style = getComputedStyle(e);
    return [e.tagName + "." + e.className, style.color, getComputedStyle(back).backgroundColor];
  })"""


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)" after WCAG 2."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours after WCAG 2."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="session")
def contrasts():
    """Contrast of every text on a page with what is behind it, all folded parts open."""

    def measure(tab) -> dict[tuple[str, str, str], float]:
        tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        return {(name, *colours): contrast(*colours) for name, *colours in tab.evaluate(COLOURS)}

    return measure


@pytest.fixture(scope="session", name="luminance")
def _luminance():
    return luminance


@pytest.fixture(scope="session", name="contrast")
def _contrast():
    return contrast


#: Texts of a plot with their boxes, and the box of its figure.
BOXES = """plot => [
  [...plot.querySelectorAll("text")].map(one => [one.textContent, one.getBoundingClientRect().toJSON()]),
  plot.parentElement.getBoundingClientRect().toJSON(),
]"""


def assert_no_text_overlaps(plot) -> None:
    """No two texts of a plot touch, and none leaves its figure at the sides or above."""
    boxes, outside = plot.evaluate(BOXES)
    assert len(boxes) >= 5
    assert all(box["width"] for _, box in boxes), boxes
    for (_, a), (_, b) in itertools.combinations(boxes, 2):
        apart = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
        assert apart or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"], boxes
    for _, box in boxes:
        assert outside["left"] - 1 <= box["x"]
        assert box["x"] + box["width"] <= outside["right"] + 1
        assert outside["top"] <= box["y"]


@pytest.fixture(scope="session", name="assert_no_text_overlaps")
def _assert_no_text_overlaps():
    return assert_no_text_overlaps
