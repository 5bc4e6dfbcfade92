from pathlib import Path

import pytest

from whence.attribution.queries import read_queries
from whence.config import Config, SamplerConfig
from whence.credit.contributors import Contributors
from whence.credit.study import Study, StudyConfig
from whence.credit.ways import Way
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train

SAMPLER = SamplerConfig(method="ddim", steps=2, batch_size=4)


@pytest.fixture(scope="session")
def owned_data(bank_data: Dataset) -> Dataset:
    """24 digits of anna (10), ben (9) and cleo (6); one is of both anna and ben."""
    names = ["anna"] * 9 + ["ben"] * 8 + ["cleo"] * 6
    units = (("anna", "ben"), *((name,) for name in names))
    return bank_data.with_fields(units=units)


@pytest.fixture(scope="session")
def contributors(owned_data: Dataset) -> Contributors:
    return Contributors.of_data(owned_data)


@pytest.fixture(scope="session")
def run_config(tiny_bank_config: Config) -> Config:
    """Twelve steps, of which a twentieth is one."""
    return tiny_bank_config.updated("training", steps=12, checkpoints=0, save_every=2, seed=5)


@pytest.fixture(scope="session")
def credited(owned_data: Dataset, run_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The credited model, trained on `owned_data`; only to be read."""
    path = tmp_path_factory.mktemp("credited") / "run"
    train(owned_data, path, run_config)
    return path


@pytest.fixture(scope="session")
def drawn(credited: Path) -> Examples:
    """Two pictures that the credited model drew."""
    return read_queries(DiffusionModel.load(credited), "sample:2", sampler=SAMPLER)


@pytest.fixture(scope="session")
def settings() -> StudyConfig:
    """Two steps of fine-tuning, two pictures, two held-out ones."""
    return StudyConfig(way=Way(steps=2), pictures=2, held_out=2, draws=4, sampler=SAMPLER)


@pytest.fixture(scope="session")
def begin(credited: Path, owned_data: Dataset, run_config: Config, settings: StudyConfig, drawn: Examples):
    """Begin a study of the credited model; keywords replace its settings."""

    def begun(path: Path, **changed: object) -> Study:
        return Study.begin(
            path,
            credited,
            owned_data,
            run_config,
            settings.model_copy(update=changed),
            load("digits:test"),
            drawn,
        )

    return begun


@pytest.fixture
def study(begin, tmp_path: Path) -> Study:
    return begin(tmp_path / "study")


@pytest.fixture(scope="session")
def shown():
    """The bytes of every look at a model of some examples, by name."""

    def read(study: Study) -> dict[str, bytes]:
        files = sorted(study.path.glob("looks/*/look.safetensors"))
        return {file.parent.name: file.read_bytes() for file in files if not file.parent.name.startswith("nobody")}

    return read
