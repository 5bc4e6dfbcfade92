import dataclasses
import io
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

import whence
from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.config import Config
from whence.credit.score_credit import write_score_credit
from whence.data import Dataset, load
from whence.diffusion.prompts import Prompts
from whence.engine import Engine
from whence.ensemble import Ensemble, ablate, sample, train_ensemble
from whence.ensemble.make_landscape import landscape
from whence.explore.guard import Guard
from whence.explore.make_collection import open_collection
from whence.explore.routes import Explorer
from whence.explore.server import bind

ENGINE = Engine(1)
LOCAL = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def measured(tiny_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_ensemble` with losses of 0/0 and 0/1, an ablation of 0/1, a landscape of 0/3 and pictures without u2."""
    path = tmp_path_factory.mktemp("explore") / "my <i>ens"
    ensemble = Ensemble.open(shutil.copytree(tiny_ensemble.path, path))
    samples = sample(ensemble, count=4, engine=ENGINE)
    whence.losses(ensemble, samples.pictures[:2], samples.names[:2], draws=16, engine=ENGINE)
    sample(ensemble, count=2, seed=1, without=["u2"], engine=ENGINE)
    ablate(ensemble, "0/1", ["u3"], engine=ENGINE)
    landscape(ensemble, "0/3", placebos=10, engine=ENGINE)
    return path


@pytest.fixture(scope="session")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four adapters on the base `styles`, and two pictures that they drew; only to be read."""
    styles = load("styles", unit_column="contributor")
    data = styles.select(
        [n for n, units in enumerate(styles.units) if units[0] in ("style 1", "style 2", "style 3")][:18]
    )
    config = Config().updated("training", steps=2, batch_size=4, warmup=1, checkpoints=0, save_every=2)
    config = config.updated("sampler", method="ddim", steps=2).updated("adapter", rank=2)
    path = tmp_path_factory.mktemp("explore") / "styled"
    ensemble = train_ensemble(data, path, members=4, config=config, base="styles", engine=ENGINE)
    sample(ensemble, count=2, prompts=Prompts(("a three in style 2",), guidance=3.0), engine=ENGINE)
    return path


@pytest.fixture(scope="session")
def scored(owned_data: Dataset, credited: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of three pictures by a gradient method, with errors; only to be read."""
    path = tmp_path_factory.mktemp("explore") / "scored"
    queries = dataclasses.replace(load("digits:test").select(range(3)), ids=("a.png", "b <b>.png", "c.png"))
    attribute(credited, owned_data, queries, "tangent", config=AttributionConfig(draws=8), out=path, engine=ENGINE)
    return path


@pytest.fixture(scope="session")
def shared(scored: Path, owned_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shares of anna, ben and cleo in the pictures of `scored`; only to be read."""
    path = tmp_path_factory.mktemp("explore") / "shared"
    write_score_credit(scored, path, owned_data)
    return path


@pytest.fixture(scope="session")
def shared_alone(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same shares without the training images; only to be read."""
    path = tmp_path_factory.mktemp("explore") / "shared alone"
    write_score_credit(scored, path)
    return path


@pytest.fixture
def explore():
    """Make the explorer of a folder; what it does ends with the test."""
    explorers: list[Explorer] = []

    def make(path: Path, host: str = "127.0.0.1") -> Explorer:
        explorers.append(Explorer(open_collection(path), Guard(host)))
        return explorers[-1]

    yield make
    for explorer in explorers:
        explorer.jobs.close()


class Visitor:
    """Somebody who reads pages and sends forms as a browser does."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.client = TestClient(explorer.app(), base_url=LOCAL, follow_redirects=False)

    def get(self, address: str, **options):
        return self.client.get(address, **options)

    def json(self, address: str) -> dict:
        answer = self.get(f"{address}{'&' if '?' in address else '?'}format=json")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, address: str, data: dict | None = None, files: dict | None = None, **headers: str):
        fields = {"token": self.explorer.guard.token} | (data or {})
        return self.client.post(address, data=fields, files=files, headers={"Origin": LOCAL} | headers)

    def work(self, address: str, data: dict) -> str:
        """Send a form that begins a job; return where its result is."""
        answer = self.post(address, data)
        assert answer.status_code == 303, answer.text
        end = time.monotonic() + 120
        while (job := self.json(answer.headers["location"]))["state"] not in ("done", "failed"):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert job["error"] == ""
        assert self.get(answer.headers["location"]).headers["location"] == job["result"]
        return str(job["result"])


@pytest.fixture
def visitor(explore):
    """Somebody who visits the explorer of a folder."""
    return lambda path: Visitor(explore(path))


@pytest.fixture
def serve(explore):
    """Serve the explorer of a folder on a port of this machine; return its address."""
    servers = []

    def begin(path: Path) -> str:
        bound = bind("127.0.0.1", None)
        server = uvicorn.Server(uvicorn.Config(explore(path).app(), log_level="warning", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        servers.append((server, thread, bound))
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    yield begin
    for server, thread, bound in servers:
        server.should_exit = True
        thread.join(10)
        bound.close()


@pytest.fixture(scope="session")
def picture_file():
    """The bytes of a picture file of any size and format."""

    def make(width: int = 60, height: int = 40, form: str = "PNG", mode: str = "RGB", seed: int = 0) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(stream, form)
        return stream.getvalue()

    return make
